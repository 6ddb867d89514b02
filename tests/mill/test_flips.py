"""Fifty moves of the alias under a load of predictions, on the deployed stack: nobody is failed, nobody gets a mixture.

Every answer of twenty rows is compared with what each version says of them alone; a rollback is visible to requests
that begin 5 s after it was answered.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving import bundle_factory as factory

from tidemill.core.clock import now
from tidemill.core.keys import new_key
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage
from tidemill.serving.predictor import Predictor

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(1800)]
FLIPS = 50
CLIENTS = 3
VISIBLE_S = 5.0
ROWS = factory.rows_of(factory.columns(20, seed=9))


@dataclass
class Load:
    """Clients that predict without a pause, and every answer they got: when asked, status, version, and whose rows."""

    url: str
    key: str
    alone: dict[int, Any]
    model: str
    answers: list[tuple[float, int, int, bool]] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    ended: threading.Event = field(default_factory=threading.Event)
    headers: dict[str, str] = field(default_factory=dict)

    def client(self, number: int) -> None:
        """Ask until the story is over; with a key that changes with every request."""
        with httpx.Client(base_url=self.url, headers={"x-api-key": self.key}, timeout=60, trust_env=False) as http:
            for asked in range(10_000_000):
                if self.ended.is_set():
                    return
                began = time.monotonic()
                key = {"x-tidemill-key": f"{number}-{asked}"}
                answer = http.post(f"/models/{self.model}/predict", json={"rows": ROWS}, headers=key)
                body = answer.json() if answer.status_code == 200 else {}
                if not body:
                    self.said.append(answer.text[:300])
                version = int(body.get("version", 0))
                whole = bool(body) and body["predictions"] == self.alone[version]
                self.answers.append((began, answer.status_code, version, whole))

    def __enter__(self) -> Load:
        self.threads = [threading.Thread(target=self.client, args=(number,)) for number in range(CLIENTS)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.ended.set()
        for thread in self.threads:
            thread.join()

    def late(self, moved: float, version: int, until: float) -> float:
        """Seconds after a move at which a request still began that another version answered."""
        others = [
            began - moved for began, _, found, _ in list(self.answers) if moved <= began < until and found != version
        ]
        return max(others, default=0.0)


@pytest.fixture(scope="module")
def operate(stack: Any, resource: Any) -> Iterator[httpx.Client]:
    """A client with an operate key."""
    key = new_key("operate", "flips")
    Registry(stack.outputs["TableName"], None, resource).put_key(key.digest, key.item)
    with httpx.Client(base_url=stack.api_url, headers={"x-api-key": key.secret}, timeout=60, trust_env=False) as made:
        yield made


@pytest.fixture
def load(
    operate: httpx.Client, registry: Registry, artifacts: Storage, new_model: Callable[[], str], tmp_path: Path
) -> Load:
    """A model with two versions that answer differently, the second in service, and a load for it."""
    name, alone = new_model(), {}
    for number in (1, 2):
        run, order = f"r-{number:012x}", f"2026-01-0{number}"
        registry.receive(name, run, order, {"key": f"uploads/{name}/u{number}/a.csv", "time": now()})
        registry.advance(name, run, "PREPARED", allowed=["RECEIVED"], dataset="d-1", spec={}, fingerprint=f"f{number}")
        registry.lease(name, run, "job", "attempt")
        bundle = f"bundles/{name}/{run}/"
        fields = {"bundle": bundle, "dataset": "d-1", "order": order, "task": "binary", "target": "income"}
        registry.register(name, run, 1, f"f{number}", fields)
        folder = factory.make(tmp_path / run, seed=number)
        artifacts.write_folder(folder, bundle)
        alone[number] = Predictor.load(folder).predict(ROWS)
        registry.promote(name, number, by="test", why="to begin with")
    assert alone[1] != alone[2]
    return Load(str(operate.base_url), operate.headers["x-api-key"], alone, name)


def check(load: Load) -> None:
    """Nobody was failed, and no answer mixed versions."""
    statuses = Counter(status for _, status, _, _ in load.answers)
    assert set(statuses) == {200}, (statuses, load.said[:3])
    mixed = [version for _, _, version, whole in load.answers if not whole]
    assert not mixed, f"{len(mixed)} answers are of no version alone"


def test_fifty_rollbacks_under_load_fail_nobody_mix_nothing_and_are_seen_within_five_seconds(
    operate: httpx.Client, load: Load
) -> None:
    lags, stood = [], []
    with load:
        time.sleep(2)
        for flip in range(FLIPS):
            wanted = 1 if flip % 2 == 0 else 2
            answer = operate.post(f"/models/{load.model}/rollback", json={"why": f"flip {flip}", "from": 3 - wanted})
            moved = time.monotonic()
            assert (answer.status_code, answer.json()["version"]) == (200, wanted), answer.text
            time.sleep(VISIBLE_S + 0.2)
            lags.append(load.late(moved, wanted, time.monotonic()))
            stood.append((now(), wanted))
    check(load)
    print(
        f"\n{FLIPS} rollbacks, {len(load.answers)} requests of {len(ROWS)} rows by {CLIENTS} clients: "
        "0 failed, 0 mixed; "
        f"the old version last answered a request that began {statistics.median(lags):.1f} s (median), "
        f"{max(lags):.1f} s (most) after a rollback"
    )
    assert max(lags) <= VISIBLE_S, lags
    seen = Counter(version for _, _, version, _ in load.answers)
    assert min(seen[1], seen[2]) > len(load.answers) / 4
    for at, version in stood[:: FLIPS // 10]:
        told = operate.get(f"/models/{load.model}/history", params={"at": at}).json()
        assert told["champion"]["version"] == version, (at, told["champion"])
    assert len(told["moves"]) == FLIPS + 2


def test_a_canary_that_comes_and_goes_under_load_divides_whole_requests(operate: httpx.Client, load: Load) -> None:
    with load:
        for share in (0.1, 0.5, 1.0):
            began = operate.post(f"/models/{load.model}/canary", json={"version": 1, "share": share, "why": "load"})
            assert began.status_code == 200, began.text
            time.sleep(VISIBLE_S)
            since = len(load.answers)
            time.sleep(5)
            found = [version for _, _, version, _ in load.answers[since:]]
            assert found.count(1) / len(found) == pytest.approx(share, abs=0.15), (share, len(found))
            assert operate.post(f"/models/{load.model}/canary/stop", json={}).status_code == 200
        time.sleep(VISIBLE_S)
        since = len(load.answers)
        time.sleep(2)
        assert {version for _, _, version, _ in load.answers[since:]} == {2}
    check(load)
