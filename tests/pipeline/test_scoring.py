"""A file of rows through the doors as they are deployed: form, event, Score with its own rights, and the job."""

from __future__ import annotations

import csv
import io
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.pipeline.conftest import Service
from tests.serving import bundle_factory
from tests.serving.scoring_factory import SCHEMA, csv_of, people

from tidemill.core.registry import Registry
from tidemill.core.scorings import Scorings, job_of, scoring_of
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.core.uploads import Upload

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def ended(read: Callable[[], dict[str, Any]], patience_s: float = 90) -> dict[str, Any]:
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        item = read()
        if item.get("state") in ("DONE", "REJECTED", "FAILED"):
            return item
        time.sleep(0.2)
    raise AssertionError(f"the scoring did not end: {item}")


@pytest.fixture
def model(registry: Registry, artifacts: Storage, new_model: Callable[[], str], tmp_path: Path) -> str:
    """A model in service."""
    name, run = new_model(), "r-000000000001"
    registry.receive(name, run, "2026-01-01", {"key": f"uploads/{name}/u1/a.csv"})
    registry.advance(name, run, "PREPARED", allowed=["RECEIVED"], dataset="d-1", spec={}, fingerprint="f1")
    registry.lease(name, run, "job", "attempt")
    fields = {"bundle": f"bundles/{name}/{run}/", "dataset": "d-1", "order": "2026-01-01"}
    registry.register(name, run, 1, "f1", fields)
    artifacts.write_folder(bundle_factory.make(tmp_path / "bundle"), fields["bundle"])
    artifacts.write_json(f"datasets/{name}/d-1/schema.json", SCHEMA)
    registry.promote(name, 1, by="test", why="test")
    return name


def test_a_file_is_sent_scored_and_fetched_and_a_job_makes_the_same_of_it(
    service: Service, model: str, stack: Any, registry: Registry, artifacts: Storage, settings: Settings
) -> None:
    http, headers = service.http, service.predict
    body = {"model": model, "filename": "people.csv", "purpose": "score"}
    form = http.post("/uploads", headers=headers, json=body).json()
    sent = httpx.post(form["url"], data=form["fields"], files={"file": csv_of(people(300))}, trust_env=False)
    assert sent.status_code in (200, 201, 204), sent.text

    def listed() -> dict[str, Any]:
        query = {"upload": form["upload"]}
        found = http.get(f"/models/{model}/scorings", headers=headers, params=query).json()["scorings"]
        return dict(found[0]) if found else {}

    item = ended(listed)
    assert item["state"] == "DONE" and item["rows"] == {"in": 300, "out": 300, "rejected": 0}, item
    shown = http.get(f"/models/{model}/scorings/{item['scoring']}", headers=headers).json()
    fetched = httpx.get(shown["files"][0]["url"], trust_env=False)
    assert fetched.status_code == 200 and len(list(csv.DictReader(io.StringIO(fetched.text)))) == 300

    again = replace(Upload(**item["request"]), sequencer="0A")  # the same file, as a scoring of its own for the job
    scorings = Scorings(registry)
    scorings.receive(again)
    names = replace(settings, job_queue="tidemill-scoring", job_definition="tidemill-scoring")
    job_of(scorings.get(model, scoring_of(again)), names, stack.client("batch"))
    assert ended(lambda: scorings.get(model, scoring_of(again)))["state"] == "DONE"
    assert artifacts.read_bytes(f"results/{model}/{scoring_of(again)}/predictions.csv") == fetched.content
