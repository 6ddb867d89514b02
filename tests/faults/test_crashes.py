"""Every handler killed before and after every AWS call and given its message again: nothing lost, nothing doubled."""

from __future__ import annotations

import json
import random
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.faults.world import Crash, World

from tidemill.core import manifest
from tidemill.core.uploads import Upload, notification_of, uploads_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
SPEC = b'[train]\nfamily = "mlp"\nepochs = 2\nmembers = 1\n[search]\nconfigurations = 1\nfolds = 1\n'
STAGES = ["preprocess", "train", "job", "promote"]


def table(rows: int = 240, seed: int = 0) -> bytes:
    """A small table with something to learn."""
    draw = random.Random(seed)
    lines = ["age,hours,job,bought"]
    for _ in range(rows):
        age, hours, job = draw.randint(18, 80), draw.randint(1, 60), draw.choice(["clerk", "smith", "cook"])
        bought = age + hours + (20 if job == "cook" else 0) + draw.gauss(0, 8) > 85
        lines.append(f"{age},{hours},{job},{'yes' if bought else 'no'}")
    return "\n".join(lines).encode()


def start(world: World, model: str, seed: int = 0, at: str = "2026-01-01T00:00:00.000Z") -> dict[str, Any]:
    """Put a table in the bucket; the message S3 sends for it."""
    key = f"uploads/{model}/u{seed}/table.csv"
    world.uploads.write_bytes(f"uploads/{model}/tidemill.toml", SPEC)
    world.uploads.write_bytes(key, table(seed=seed))
    etag = world.uploads.client.head_object(Bucket=world.uploads.bucket, Key=key)["ETag"].strip('"')
    upload = Upload(world.uploads.bucket, key, 1, etag, "0A", at)
    return {"stage": "preprocess", "body": notification_of(upload)}


def handle(message: dict[str, Any]) -> None:
    """Give a message to its handler as Lambda or Batch would; raises when the handler asks for it again."""
    import preprocess
    import promote
    import train
    from tidemill.training import job

    if message["stage"] == "job":
        names = {"TIDEMILL_MODEL": message["model"], "TIDEMILL_RUN": message["run"]}
        import os

        code = job.main({**os.environ, **names, "AWS_BATCH_JOB_ID": message["job"]})
        assert code == 0, f"the job ended with {code}"
        return
    record = {"messageId": "1", "receiptHandle": "r", "body": message["body"]}
    handlers = {"preprocess": preprocess.handler, "train": train.handler, "promote": promote.handler}
    answer = handlers[message["stage"]]({"Records": [{**record, "attributes": {"ApproximateReceiveCount": "1"}}]}, None)
    assert answer == {"batchItemFailures": []}


def waiting(world: World) -> list[dict[str, Any]]:
    """What the handled messages caused: events to their queues, jobs to Batch, each taken once from the world."""
    routes = {"DatasetReady": "train", "RunInterrupted": "train", "VersionRegistered": "promote"}
    found = [
        {"stage": routes[event["detail-type"]], "body": json.dumps(event)}
        for event in world.events
        if event["detail-type"] in routes
    ]
    found += [{"stage": "job", **job} for job in world.jobs]
    world.events, world.jobs = [], []
    return found


def job_event(message: dict[str, Any], status: str = "SUCCEEDED") -> dict[str, Any]:
    """What Batch tells of a job's end."""
    names = {"model": message["model"], "run": message["run"]}
    detail = {"jobId": message["job"], "status": status, "parameters": names}
    return {"stage": "promote", "body": json.dumps({"detail-type": "Batch Job State Change", "detail": detail})}


def turn(world: World, queue: list[dict[str, Any]], crash: Callable[[dict[str, Any]], tuple[int, bool] | None]) -> int:
    """Deliver until nothing is left; a crashed message comes back. Returns how many crashes there were."""
    crashes = 0
    while queue:
        message = queue.pop(0)
        point = crash(message)
        try:
            with world.crashing(*(point or (None, False))):
                handle(message)
        except Crash:
            crashes += 1
            queue.insert(0, message)
            queue += waiting(world)
            continue
        queue += waiting(world)
        if message["stage"] == "job":
            queue.append(job_event(message))
    return crashes


def count_calls(world: World, model: str) -> dict[str, list[str]]:
    """The AWS calls each handler makes when nothing goes wrong."""
    counts: dict[str, list[str]] = {}
    queue = [start(world, model)]
    while queue:
        message = queue.pop(0)
        with world.crashing(None, False) as calls:
            handle(message)
        counts.setdefault(message["stage"], calls.seen)
        queue += waiting(world)
        if message["stage"] == "job":
            queue.append(job_event(message))
    return counts


def check(world: World, model: str) -> None:
    """The invariants, after the last message was handled."""
    (run,) = world.registry.runs(model)
    assert run["state"] == "READY", run
    assert run["decision"]["promoted"], run["decision"]
    (version,) = world.registry.versions(model)
    alias = world.registry.alias(model)
    assert alias is not None and alias["version"] == version["version"] == run["version"] == 1
    listed = world.artifacts.read_json(alias["bundle"] + manifest.NAME)
    for entry in listed["files"]:
        assert len(world.artifacts.read_bytes(alias["bundle"] + entry["name"])) == entry["size_bytes"]
    assert world.uploads.read_bytes(run["upload"]["key"]) == table()
    assert run["rows"]["read"] == run["rows"]["used"] + run["rows"]["quarantined"] == 240
    assert [move["rev"] for move in world.registry.moves(model)] == list(range(alias["rev"], 0, -1))


@pytest.mark.parametrize("step", [3, pytest.param(1, marks=pytest.mark.slow)])  # make test-fire kills at every call
@pytest.mark.parametrize("stage", STAGES)
def test_a_handler_killed_at_any_call_loses_nothing_and_doubles_nothing(
    world: World, stage: str, step: int, new_model: Any, record_property: Any
) -> None:
    names = count_calls(world, new_model())[stage]
    assert len(names) >= 4, f"{stage} is expected to talk to AWS"
    # Killed after a call or before the next one, AWS is left the same: only after the last is a moment of its own.
    points = [*((number, False) for number in range(1, len(names) + 1, step)), (len(names), True)]
    for number, after in points:
        model = new_model()
        left = {"crashes": 1}

        def crash(
            message: dict[str, Any], number: int = number, after: bool = after, left: dict[str, int] = left
        ) -> tuple[int, bool] | None:
            if message["stage"] != stage or not left["crashes"]:
                return None
            left["crashes"] -= 1
            return number, after

        assert turn(world, [start(world, model)], crash) == 1, f"{stage} made no call number {number}"
        check(world, model)
    record_property(f"crash points in {stage}", len(points))
    print(f"\n{stage}: {len(names)} calls, {len(points)} crashes: {', '.join(names)}")


@pytest.mark.parametrize("seed", range(6))
def test_crashes_everywhere_at_random_still_end_with_one_version(world: World, new_model: Any, seed: int) -> None:
    draw, model = random.Random(seed), new_model()

    def crash(message: dict[str, Any]) -> tuple[int, bool] | None:
        return (draw.randint(1, 20), draw.random() < 0.5) if draw.random() < 0.6 else None

    turn(world, [start(world, model)], crash)
    check(world, model)


def test_every_message_delivered_twice_makes_one_version(world: World, new_model: Any) -> None:
    model = new_model()
    queue = [start(world, model)]
    while queue:
        message = queue.pop(0)
        handle(message)
        handle(message)
        queue += waiting(world)
        if message["stage"] == "job":
            queue.append(job_event(message))
    check(world, model)


def test_jobs_that_end_in_reverse_order_leave_the_later_upload_serving(world: World, new_model: Any) -> None:
    model = new_model()
    for seed, at in ((1, "2026-01-01T00:00:01.000Z"), (2, "2026-01-01T00:00:02.000Z")):
        handle(start(world, model, seed, at))
    for message in [item for item in waiting(world) if item["stage"] == "train"]:
        handle(message)
    for message in reversed(waiting(world)):
        handle(message)
        handle(job_event(message))
    alias = world.registry.alias(model)
    later = world.registry.runs(model)[0]
    assert alias is not None and alias["run"] == later["run"]
    older = world.registry.runs(model)[1]
    assert older["decision"]["code"] == "OLDER_UPLOAD" and not older["decision"]["promoted"]


def test_the_same_bytes_uploaded_twice_train_once(world: World, new_model: Any) -> None:
    model = new_model()
    turn(world, [start(world, model)], lambda message: None)
    again = start(world, model)
    (upload,) = uploads_of(again["body"])
    later = Upload(**{**upload.to_json(), "sequencer": "0B", "time": "2026-01-02T00:00:00.000Z"})
    handle({"stage": "preprocess", "body": notification_of(later)})
    for message in waiting(world):
        handle(message)
    assert not world.jobs, "no job for data that has a version"
    for message in waiting(world):
        handle(message)
    assert [version["version"] for version in world.registry.versions(model)] == [1]
    alias = world.registry.alias(model)
    assert alias is not None and alias["order"].startswith("2026-01-02")


def test_an_upload_overwritten_before_it_is_read_is_superseded_and_never_read_as_the_new_one(
    world: World, new_model: Any
) -> None:
    model = new_model()
    (first,) = uploads_of(start(world, model)["body"])
    world.uploads.write_bytes(first.key, table(seed=1))
    etag = world.uploads.client.head_object(Bucket=first.bucket, Key=first.key)["ETag"].strip('"')
    second = replace(first, etag=etag, sequencer="0B", time="2026-01-02T00:00:00.000Z")
    for upload in (first, second, first):  # told twice, it stays what it is
        handle({"stage": "preprocess", "body": notification_of(upload)})
    told = [(event["detail-type"], event["detail"]["run"]) for event in world.events]
    assert told == [("DatasetSuperseded", first.run), ("DatasetReady", second.run), ("DatasetSuperseded", first.run)]
    newer, older = world.registry.runs(model)
    assert (newer["state"], older["state"], older["reason"]["code"]) == ("PREPARED", "SUPERSEDED", "SUPERSEDED")
    assert "dataset" not in older and older["reason"]["where"].endswith(f"{first.run}.json")
    world.events = []


def test_a_job_that_fails_ends_its_run_with_a_reason(world: World, new_model: Any) -> None:
    model = new_model()
    handle(start(world, model))
    (message,) = waiting(world)
    handle(message)
    (job,) = waiting(world)
    event = job_event(job, "FAILED")
    body = json.loads(event["body"])
    body["detail"]["container"] = {"exitCode": 137, "logStreamName": "training/default/1"}
    handle({"stage": "promote", "body": json.dumps(body)})
    (run,) = world.registry.runs(model)
    assert (run["state"], run["reason"]["code"]) == ("FAILED", "OUT_OF_MEMORY")
    assert run["reason"]["remedy"] and run["reason"]["where"] == "training/default/1"


@pytest.mark.parametrize("damage", ["missing", "changed"])
def test_a_damaged_bundle_is_never_promoted(world: World, new_model: Any, damage: str) -> None:
    model = new_model()
    handle(start(world, model))
    (message,) = waiting(world)
    handle(message)
    (job,) = waiting(world)
    handle(job)
    key = f"bundles/{model}/{job['run']}/model.onnx"
    if damage == "missing":
        versions = world.artifacts.client.list_object_versions(Bucket=world.artifacts.bucket, Prefix=key)["Versions"]
        for item in versions:
            world.artifacts.client.delete_object(
                Bucket=world.artifacts.bucket, Key=item["Key"], VersionId=item["VersionId"]
            )
    else:
        world.artifacts.write_bytes(key, world.artifacts.read_bytes(key)[:-1] + b"\0")
    handle(job_event(job))
    (run,) = world.registry.runs(model)
    assert (run["decision"]["promoted"], run["decision"]["code"]) == (False, "INCOMPLETE_BUNDLE")
    assert "model.onnx" in run["decision"]["message"]
    assert world.registry.alias(model) is None


def test_two_jobs_for_one_run_do_the_work_once(world: World, new_model: Any) -> None:
    model = new_model()
    handle(start(world, model))
    (message,) = waiting(world)
    handle(message)
    (job,) = waiting(world)
    results: list[Any] = []

    def run_job(name: str) -> None:
        from tidemill.training import job as module

        stop = threading.Event()
        names = {"AWS_BATCH_JOB_ID": name}
        code = module.work(job["model"], job["run"], world.registry, world.artifacts, stop, environment=names)
        results.append(code)

    threads = [threading.Thread(target=run_job, args=(f"job-{index}",)) for index in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [0] * 4
    handle(job_event(job))
    check(world, model)
