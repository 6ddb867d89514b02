"""Files to be scored and clocks whose events are lost: the sweep sends what they wait for, and sends it once."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.faults.test_sweep import forget, sweep, sweep_to_the_end, upload
from tests.faults.world import World

from tidemill.core.scorings import Scorings, scoring_of
from tidemill.core.uploads import Upload, uploads_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
LATER = timedelta(minutes=20)
LONG = timedelta(hours=3)


@pytest.fixture(autouse=True)
def _only_this_test(world: World) -> Iterator[None]:
    forget(world)
    yield
    forget(world)


def sent(world: World, stage: str) -> list[str]:
    """What was sent to one queue since it was last asked for."""
    found = [message["body"] for message in world.messages if message["stage"] == stage]
    world.messages = [message for message in world.messages if message["stage"] != stage]
    return found


def begun(world: World, model: str) -> dict[str, Any]:
    """A file under requests/ whose event came, and which somebody began to score."""
    registry = world.registry
    registry.table.put({"pk": "MODELS", "sk": model})
    world.uploads.write_bytes(f"requests/{model}/rows.csv", b"a\n1\n")
    sweep(world, datetime.now(UTC) + LATER)
    (request,) = uploads_of(sent(world, "score")[0])
    scoring = Scorings(registry).receive(request)
    return Scorings(registry).begin(model, scoring["scoring"], version=1)


def test_a_file_whose_event_was_lost_is_announced_until_a_scoring_knows_it(world: World, new_model: Any) -> None:
    model, at = new_model(), datetime.now(UTC)
    world.uploads.write_bytes(f"requests/{model}/rows 1.csv", b"a\n1\n")
    sweep(world, at)
    assert sent(world, "score") == [], "it is young: its event may still come"
    for later in (LATER, 2 * LATER):
        sweep(world, at + later)
        (request,) = uploads_of(sent(world, "score")[0])
        assert request.key == f"requests/{model}/rows 1.csv"
    Scorings(world.registry).receive(request)
    sweep(world, at + 3 * LATER)
    assert sent(world, "score") == []


def test_a_swept_file_and_its_late_event_are_one_scoring(world: World, new_model: Any) -> None:
    model = new_model()
    key = f"requests/{model}/rows.csv"
    world.uploads.write_bytes(key, b"a\n1\n")
    sweep(world, datetime.now(UTC) + LATER)
    (swept,) = uploads_of(sent(world, "score")[0])
    head = world.uploads.client.head_object(Bucket=world.uploads.bucket, Key=key)
    late = Upload(world.uploads.bucket, key, 4, head["ETag"].strip('"'), "0A", "2026-01-01", head["VersionId"])
    assert scoring_of(swept) == scoring_of(late)


def test_a_file_in_a_folder_that_cannot_name_a_model_is_announced_until_it_is_refused(world: World) -> None:
    world.uploads.write_bytes("requests/Not_A_Name/rows.csv", b"a\n1\n")
    at = datetime.now(UTC) + LATER
    sweep(world, at)
    (request,) = uploads_of(sent(world, "score")[0])
    world.artifacts.write_json(f"results/_unnamed/{scoring_of(request)}/REJECTED.json", {})
    sweep(world, at + LATER)
    assert sent(world, "score") == []


def test_a_scoring_that_nobody_hears_of_is_sent_again_but_not_every_time(world: World, new_model: Any) -> None:
    begun(world, new_model())
    at = datetime.now(UTC)
    sweep(world, at + LATER)
    assert sent(world, "score") == [], "its function may still be at it"
    sweep(world, at + LONG)
    assert len(sent(world, "score")) == 1
    sweep(world, at + LONG + LATER)
    assert sent(world, "score") == [], "that it was sent again counts as heard of"


@pytest.mark.parametrize(("status", "expected"), [("RUNNING", None), ("FAILED", "FAILED"), (None, "FAILED")])
def test_the_end_of_a_scoring_s_job_is_told_where_nobody_told_it(
    world: World, new_model: Any, status: str | None, expected: str | None
) -> None:
    item = begun(world, new_model())
    Scorings(world.registry).hand_over(item["model"], item["scoring"], "job-1")
    if status:
        world.batch["job-1"] = {"jobId": "job-1", "jobName": "n", "jobQueue": "q", "status": status, "createdAt": 0}
    sweep(world, datetime.now(UTC) + LATER)
    told = [json.loads(body) for body in sent(world, "score")]
    assert [message["detail"]["status"] for message in told] == ([expected] if expected else [])
    for message in told:
        assert (
            message["detail"]["jobId"] == "job-1" and message["detail"]["statusReason" if status is None else "jobId"]
        )
        assert message["detail"]["parameters"] == {"model": item["model"], "scoring": item["scoring"]}


def test_the_clocks_of_a_model_are_wound_until_they_follow_the_version_in_service(world: World, new_model: Any) -> None:
    model = new_model()
    upload(world, model)
    sweep_to_the_end(world, model)
    at = datetime.now(UTC) + LONG
    for turn in range(2):
        sent(world, "retrain")
        sweep(world, at + turn * LATER)
        assert sent(world, "retrain") == [json.dumps({"wake": "clocks", "model": model})]
    alias = world.registry.alias(model)
    assert alias is not None
    world.registry.table.put({"pk": f"MODEL#{model}", "sk": "CLOCKS", "rev": alias["rev"]})
    sweep(world, at + 3 * LATER)
    assert sent(world, "retrain") == []
