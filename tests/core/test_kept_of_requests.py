"""What is kept of requests: what [monitor] says, and never a column in which personal data was recognised."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.ingest import kept_of_requests
from tidemill.core.prepare import prepare
from tidemill.core.spec import Monitor, Spec


def test_columns_with_personal_data_are_private_without_being_named(tmp_path: Path) -> None:
    lines = [f"{at % 70 + 1},p{at}@example.org,{'yes' if at % 3 else 'no'},{at % 7}" for at in range(300)]
    (tmp_path / "people.csv").write_text("\n".join(["age,mail,bought,visits", *lines]))
    spec = Spec(monitor=Monitor(sample=0.5, private=("visits",)))
    prepared = prepare(tmp_path / "people.csv", "people.csv", spec, tmp_path / "out", model="m")
    kept = kept_of_requests(spec, prepared)
    assert kept == {"enabled": True, "sample": 0.5, "rows": 100, "private": ["mail", "visits"]}
