"""Twenty windows of flights from the months a model was trained on, and the windows after them: what Monitor says."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.core.prepare.conftest import as_csv
from tests.pipeline.test_seasons import NUMBERS, SPEC, flights
from tests.serving.test_monitoring import Mill

from tidemill.core.prepare import prepare
from tidemill.core.registry import Registry
from tidemill.core.spec import Spec
from tidemill.core.storage import Storage
from tidemill.serving.predictor import Predictor
from tidemill.serving.traffic import Seen, Traffic

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(600)]
TRAINED, ROWS, WINDOWS = 3_000, 200, 20
OPEN = {"enabled": True, "sample": 1.0, "rows": 1_000, "private": []}


class Line(Mill):
    """A model of flights in service."""

    def fly(self, rows: list[dict[str, Any]]) -> set[str]:
        """Ask for these flights and watch; the columns in which Monitor sees drift."""
        self.asked += 1
        asked = [self._asked(row) for row in rows]
        answers = Predictor.load(self.folder).predict(asked)
        note = {"request": f"req-{self.asked}", "model": self.model, "version": 1, "route": "predict", "status": 200}
        log = Traffic(self, self.artifacts.bucket)
        log.keep({**note, "ms": 1.0, "rows": len(rows)}, Seen(OPEN, "champion", tuple(asked[0]), asked, answers))
        done = self.watch()
        assert done["done"] == "report", done
        return set(done["drifted"])

    @staticmethod
    def _asked(row: dict[str, str]) -> dict[str, Any]:
        values = {name: value for name, value in row.items() if name not in ("late", "month", "day")}
        return {**values, **{name: float(row[name]) if row[name] else None for name in NUMBERS}}


@pytest.fixture
def line(registry: Registry, artifacts: Storage, new_model: Callable[[], str], tmp_path: Path) -> Line:
    """The model of the first 3,000 flights of January to June, its bundle made by the job's own code."""
    from tidemill.training.fit import fit_bundle

    early, _ = flights()
    text, spec = as_csv(early[0], [row.values() for row in early[:TRAINED]]), Spec.from_toml(SPEC)
    prepare(io.BytesIO(text.encode()), "flights.csv", spec, tmp_path / "dataset", model="flights")
    fit_bundle(tmp_path / "dataset", spec, tmp_path / "bundle", run={"model": "flights", "run": "r-1"})
    name, run = new_model(), "r-000000000001"
    registry.receive(name, run, "1", {"key": f"uploads/{name}/u/flights.csv", "time": "t"})
    registry.advance(name, run, "PREPARED", allowed=["RECEIVED"], dataset="d", spec={}, fingerprint="f")
    registry.lease(name, run, "job", "attempt")
    fields = {"bundle": f"bundles/{name}/{run}/", "dataset": "d", "order": "1", "task": "binary", "target": "late"}
    registry.register(name, run, 1, "f", {**fields, "monitor": OPEN})
    artifacts.write_folder(tmp_path / "bundle", fields["bundle"])
    registry.promote(name, 1, by="test", why="", pin=False)
    return Line(name, tmp_path / "bundle", registry, artifacts)


def test_twenty_quiet_windows_of_flights_raise_at_most_one_alarm_and_summer_raises_one(line: Line) -> None:
    early, late = flights()
    quiet = [line.fly(early[TRAINED + at * ROWS : TRAINED + (at + 1) * ROWS]) for at in range(WINDOWS)]
    assert sum(map(bool, quiet)) <= 1, quiet
    summer = line.fly(late[:ROWS])
    print(f"\nquiet windows with drift: {[names for names in quiet if names]} of {WINDOWS}; July: {sorted(summer)}")
    assert {"temp", "humid"} <= summer
