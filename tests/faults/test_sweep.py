"""Every event dropped, messages and jobs lost: the sweep alone brings uploads and runs to their end."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.faults.test_crashes import SPEC, check, handle, table, waiting
from tests.faults.world import Crash, World

from tidemill.core import clients
from tidemill.core.clock import seconds
from tidemill.core.settings import Settings
from tidemill.core.sweep import Sweep
from tidemill.core.uploads import Upload, notification_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
MINUTES = 20  # between two sweeps, so that each finds what the one before has done to be late
SWEEPS = 14


@pytest.fixture(autouse=True)
def _only_this_test(world: World) -> Iterator[None]:
    """No runs and uploads of other tests."""
    forget(world)
    yield
    forget(world)


def forget(world: World) -> None:
    """Empty the bucket and the list of models."""
    s3, bucket, table = world.uploads.client, world.uploads.bucket, world.registry.table
    for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
        for item in [*page.get("Versions", []), *page.get("DeleteMarkers", [])]:
            s3.delete_object(Bucket=bucket, Key=item["Key"], VersionId=item["VersionId"])
    for item in table.query("MODELS"):
        table.table.delete_item(Key={"pk": "MODELS", "sk": item["sk"]})
    table.table.delete_item(Key={"pk": "SWEEP", "sk": "META"})


def upload(world: World, model: str, seed: int = 0) -> Upload:
    """A table in the bucket, and what S3 would have said of it if anybody had listened."""
    key = f"uploads/{model}/u{seed}/table.csv"
    world.uploads.write_bytes(f"uploads/{model}/tidemill.toml", SPEC)
    world.uploads.write_bytes(key, table(seed=seed))
    head = world.uploads.client.head_object(Bucket=world.uploads.bucket, Key=key)
    stamp = head["LastModified"].isoformat(timespec="milliseconds").replace("+00:00", "Z")
    etag = head["ETag"].strip('"')
    return Upload(world.uploads.bucket, key, head["ContentLength"], etag, "0A", stamp, head["VersionId"])


def sweep(world: World, at: datetime) -> dict[str, int]:
    settings, clients_ = Settings.from_environment(), (clients.client("sqs"), clients.client("batch"))
    return dict(Sweep(world.registry, world.uploads, world.artifacts, settings, *clients_, at=at).run())


def deliver(world: World, exit_codes: list[int]) -> None:
    """Hand out what the sweep sent and let jobs run; every event is dropped, that of a job's end too."""
    while world.messages or world.jobs:
        messages, world.messages = world.messages, []
        for message in messages:
            if message["stage"] != "retrain":  # the clocks of a model that serves: test_stalled
                handle(message)
        jobs, world.jobs = world.jobs, []
        for job in jobs:
            run_job(world, job, exit_codes)
        world.events = []


def run_job(world: World, job: dict[str, Any], exit_codes: list[int]) -> None:
    """Let a job do its work, or end with the next exit code before it did any."""
    code = exit_codes.pop(0) if exit_codes else 0
    about = world.batch[job["job"]]
    if code == 0:
        handle({"stage": "job", **job})
        about.update(status="SUCCEEDED", container={"exitCode": 0})
    else:
        world.registry.lease(job["model"], job["run"], job["job"], job["job"] + "/1")
        reason = {"statusReason": "Host EC2 (instance i-1) terminated."} if code == 75 else {}
        about.update(status="FAILED", container={"exitCode": code}, **reason)


def sweep_to_the_end(world: World, model: str, exit_codes: list[int] | None = None) -> int:
    """Sweep, every twenty minutes, until the model's run has its end; how many sweeps it took."""
    at = datetime.now(UTC)
    for count in range(1, SWEEPS):
        at += timedelta(minutes=MINUTES)
        sweep(world, at)
        deliver(world, exit_codes if exit_codes is not None else [])
        if is_over(world, model):
            return count
    raise AssertionError(f"after {SWEEPS} sweeps: {world.registry.runs(model)}")


def swept_calls(world: World, model: str, points: list[int]) -> list[list[str]]:
    """Sweep a model to its end, the sweeps killed at these calls one after the other; the calls of each sweep."""
    upload(world, model)
    at, calls, left = datetime.now(UTC), list[list[str]](), list(points)
    while not is_over(world, model):
        at += timedelta(minutes=MINUTES)
        with suppress(Crash), world.crashing(left.pop(0) if left else None, False) as seen:
            sweep(world, at)
        calls.append(seen.seen)
        deliver(world, [])
        assert len(calls) < SWEEPS, world.registry.runs(model)
    return calls


def is_over(world: World, model: str) -> bool:
    runs = world.registry.runs(model)
    return bool(runs) and all(
        run["state"] not in ("RECEIVED", "PREPARED", "SUBMITTED", "RUNNING")
        and (run["state"] != "READY" or "decision" in run)
        for run in runs
    )


def test_with_every_event_dropped_the_sweep_alone_reaches_the_same_end(world: World, new_model: Any) -> None:
    model = new_model()
    upload(world, model)
    count = sweep_to_the_end(world, model)
    check(world, model)
    print(f"\n{count} sweeps")


def test_a_swept_upload_and_its_late_event_are_one_run_in_either_order(world: World, new_model: Any) -> None:
    late, early = new_model(), new_model()
    events = {model: {"stage": "preprocess", "body": notification_of(upload(world, model))} for model in (late, early)}
    handle(events[early])
    world.events = []
    sweep_to_the_end(world, late)
    handle(events[late])
    for model in (late, early):
        assert len(world.registry.runs(model)) == 1
    sweep_to_the_end(world, early)
    check(world, early)
    check(world, late)


def test_a_newer_version_of_the_same_key_is_a_later_upload(world: World, new_model: Any) -> None:
    model = new_model()
    first = upload(world, model)
    handle({"stage": "preprocess", "body": notification_of(first)})
    upload(world, model)  # the same bytes again: another version of the object, and its event is lost
    world.events = []
    sweep(world, datetime.now(UTC) + timedelta(minutes=MINUTES))
    later, earlier = world.registry.runs(model)
    assert earlier["run"] == first.run and later["order"] > earlier["order"]


def test_an_upload_that_is_only_young_is_left_to_its_event(world: World, new_model: Any) -> None:
    model = new_model()
    upload(world, model)
    assert sweep(world, datetime.now(UTC)) == {} and world.messages == []


def test_an_upload_whose_folder_cannot_name_a_model_is_refused_once(world: World) -> None:
    world.uploads.write_bytes("uploads/Not_A_Name/u/table.csv", table())
    at = datetime.now(UTC) + timedelta(minutes=MINUTES)
    assert sweep(world, at)
    deliver(world, [])
    assert sweep(world, at + timedelta(minutes=MINUTES)) == {}


@pytest.mark.parametrize("step", [6, pytest.param(1, marks=pytest.mark.slow)])
def test_a_sweep_killed_at_any_call_loses_nothing_and_doubles_nothing(world: World, new_model: Any, step: int) -> None:
    """Each of a run's sweeps is killed once at every call it makes; the next sweep comes at its usual time."""
    calls = swept_calls(world, new_model(), [])
    assert len(calls) >= 3 and all(len(names) >= 4 for names in calls), calls
    for turn in range(0, max(map(len, calls)), step):
        forget(world)
        model = new_model()
        points = [1 + turn % len(names) for names in calls]
        swept_calls(world, model, points)
        check(world, model)
    print(f"\n{len(calls)} sweeps, {sum(map(len, calls))} calls: {calls}")


@pytest.mark.parametrize("seed", range(3))
def test_a_handler_killed_whose_message_is_lost_too_is_made_good_by_the_sweep(
    world: World, new_model: Any, seed: int
) -> None:
    """Half of all handlers and jobs die at a random call, and what they were given and had sent is gone."""
    draw, model, crashes = random.Random(seed), new_model(), 0
    queue: list[dict[str, Any]] = [{"stage": "preprocess", "body": notification_of(upload(world, model))}]
    while queue:
        message = queue.pop(0)
        point = (draw.randint(1, 9), draw.random() < 0.5) if draw.random() < 0.5 else (None, False)
        try:
            with world.crashing(*point):
                handle(message)
        except Crash:
            crashes += 1
            world.events, world.jobs = [], []
            end_all_jobs(world)
            continue
        queue += waiting(world)
    if not is_over(world, model):
        sweep_to_the_end(world, model)
    check(world, model)
    assert crashes


def end_all_jobs(world: World) -> None:
    """The machines are gone, and Batch knows it."""
    for job in world.batch.values():
        job.update(status="FAILED", statusReason="Host EC2 (instance i-1) terminated.")


def test_an_interrupted_job_goes_on_on_demand_and_no_event_is_needed(world: World, new_model: Any) -> None:
    model = new_model()
    upload(world, model)
    sweep_to_the_end(world, model, exit_codes=[75, 75])
    (run,) = world.registry.runs(model)
    assert (run["state"], run["retries"], run["version"]) == ("READY", 2, 1)
    assert run["interrupted"]["why"].endswith("Host EC2 (instance i-1) terminated.")
    queues = [job["jobQueue"] for job in world.batch.values() if job["parameters"]["model"] == model]
    assert queues == ["tidemill-training", "tidemill-training-on-demand", "tidemill-training-on-demand"]


def test_a_run_interrupted_too_often_fails_and_says_so(world: World, new_model: Any) -> None:
    model = new_model()
    upload(world, model)
    sweep_to_the_end(world, model, exit_codes=[75] * 9)
    (run,) = world.registry.runs(model)
    assert (run["state"], run["reason"]["code"], run["retries"]) == ("FAILED", "INTERRUPTED", 3)


def test_a_run_whose_job_batch_has_forgotten_gets_another(world: World, new_model: Any) -> None:
    model = new_model()
    upload(world, model)
    at = datetime.now(UTC) + timedelta(minutes=MINUTES)
    sweep(world, at)
    while not world.jobs:
        at += timedelta(minutes=MINUTES)
        handle(world.messages.pop(0)) if world.messages else sweep(world, at)
    world.jobs, world.batch, world.events = [], {}, []
    sweep_to_the_end(world, model)
    check(world, model)
    assert world.registry.runs(model)[0]["retries"] == 1


def test_jobs_that_no_run_needs_are_ended_and_others_are_left_alone(world: World, new_model: Any) -> None:
    model = new_model()
    upload(world, model)
    sweep_to_the_end(world, model)
    (run,) = world.registry.runs(model)
    old = {"jobQueue": "tidemill-training", "createdAt": (seconds() - 3600) * 1000, "status": "RUNNING"}
    own = {"model": model, "run": run["run"]}
    world.batch = {
        "ended": {**old, "jobId": "ended", "parameters": own},
        "unknown": {**old, "jobId": "unknown", "parameters": {**own, "run": "r-nobody"}},
        "foreign": {**old, "jobId": "foreign", "parameters": {}},
    }
    sweep(world, datetime.now(UTC) + timedelta(minutes=MINUTES))
    assert {name: job["status"] for name, job in world.batch.items()} == {
        **{"ended": "FAILED", "unknown": "FAILED", "foreign": "RUNNING"}
    }
    assert "is READY already" in world.batch["ended"]["statusReason"]


@pytest.mark.parametrize("state", ["RECEIVED", "PREPARED", "SUBMITTED", "RUNNING"])
def test_what_is_overdue_gets_an_end_and_a_reason(world: World, new_model: Any, state: str) -> None:
    model = new_model()
    sent = upload(world, model)
    world.registry.receive(model, sent.run, sent.order, sent.to_json())
    if state != "RECEIVED":
        world.registry.advance(model, sent.run, "PREPARED", allowed=["RECEIVED"], dataset="d", fingerprint="f", spec={})
    if state in ("SUBMITTED", "RUNNING"):
        world.registry.advance(model, sent.run, "SUBMITTED", allowed=["PREPARED"], job="job-1")
        world.batch["job-1"] = {"jobId": "job-1", "status": "RUNNABLE", "jobQueue": "q", "createdAt": 0}
    if state == "RUNNING":
        world.registry.lease(model, sent.run, "job-1", "job-1/1")
    at = datetime.now(UTC)
    for turn in range(60):
        sweep(world, at + timedelta(minutes=55 * turn))
        if is_over(world, model):
            break
    (run,) = world.registry.runs(model)
    assert (run["state"], run["reason"]["code"]) == ("FAILED", "OVERDUE")
    assert run["reason"]["message"] and run["reason"]["remedy"]


def test_no_deadline_runs_while_the_mill_stands_still(world: World, new_model: Any) -> None:
    """A laptop that was shut for a week does not find its runs failed."""
    model = new_model()
    sent = upload(world, model)
    world.registry.receive(model, sent.run, sent.order, sent.to_json())
    at = datetime.now(UTC)
    sweep(world, at + timedelta(minutes=5))
    sweep(world, at + timedelta(days=7))
    assert world.registry.runs(model)[0]["state"] == "RECEIVED" and world.messages
