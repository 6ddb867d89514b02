"""Score killed at every AWS call, handed to a job, overtaken by a new version: one result, and all its rows in it."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tests.faults.world import Crash, World, connected
from tests.serving import bundle_factory
from tests.serving.scoring_factory import SCHEMA, csv_of, people

from tidemill.core.limits import LIMITS, Limit
from tidemill.core.rebuild import rebuild
from tidemill.core.registry import Registry
from tidemill.core.scorings import Scorings, is_request, scoring_of
from tidemill.core.stalled import message_of
from tidemill.core.storage import Storage
from tidemill.core.uploads import Upload, notification_of
from tidemill.serving import scoring_job

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
ROWS = 90
Context = SimpleNamespace


@pytest.fixture
def world(
    stack: Any, registry: Registry, artifacts: Storage, settings: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[World]:
    """A world whose requests lie in a bucket that wakes nobody but the test; fifty rows a part."""
    import score

    s3 = stack.client("s3")
    bucket = "quiet-requests"
    if bucket not in [item["Name"] for item in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=bucket)
    made = World(registry, Storage(bucket, s3), artifacts)
    environment = {
        **stack.credentials,
        "TIDEMILL_DATA_BUCKET": bucket,
        "TIDEMILL_ARTIFACTS_BUCKET": settings.artifacts_bucket,
        "TIDEMILL_TABLE": settings.table,
        "TIDEMILL_BUS": settings.bus,
        "TIDEMILL_QUEUE_URL": "http://queue.invalid/1/q",
        "TIDEMILL_JOB_QUEUE": "tidemill-scoring",
        "TIDEMILL_JOB_DEFINITION": "tidemill-scoring",
        "TIDEMILL_WORK_DIR": str(tmp_path),
        "TIDEMILL_CACHE_DIR": str(tmp_path),
    }
    monkeypatch.setitem(LIMITS, "score_rows", Limit(50, "rows", "test"))
    with connected(made, environment, monkeypatch.setenv):
        score._scorer.cache_clear()
        yield made
    score._scorer.cache_clear()


@pytest.fixture
def model(world: World, new_model: Callable[[], str], tmp_path: Path) -> str:
    """A model whose version 1 serves."""
    name = new_model()
    put_version(world, name, 1, tmp_path / "bundle-1")
    world.registry.promote(name, 1, by="test", why="test")
    return name


def put_version(world: World, model: str, number: int, folder: Path) -> None:
    """Register a version with other weights than the others."""
    run = f"r-{number:012x}"
    world.registry.receive(model, run, f"2026-01-0{number}", {"key": f"uploads/{model}/u/a.csv"})
    prepared = {"dataset": "d-1", "spec": {}, "fingerprint": f"f{number}"}
    world.registry.advance(model, run, "PREPARED", allowed=["RECEIVED"], **prepared)
    world.registry.lease(model, run, "job", "attempt")
    fields = {"bundle": f"bundles/{model}/{run}/", "dataset": "d-1", "order": f"2026-01-0{number}"}
    world.registry.register(model, run, 1, f"f{number}", fields)
    world.artifacts.write_folder(bundle_factory.make(folder, seed=number), fields["bundle"])
    world.artifacts.write_json(f"datasets/{model}/d-1/schema.json", SCHEMA)


def request(world: World, model: str, content: bytes = b"", name: str = "people.csv", sequencer: str = "0A") -> Upload:
    """Lay a file under requests/; what S3 tells of it."""
    key = f"requests/{model}/u1/{name}"
    content = content or csv_of(people(ROWS))
    world.uploads.write_bytes(key, content)
    etag = world.uploads.client.head_object(Bucket=world.uploads.bucket, Key=key)["ETag"].strip('"')
    return Upload(world.uploads.bucket, key, len(content), etag, sequencer, "2026-02-01T00:00:00.000Z")


def deliver(body: str, left_ms: int = 900_000) -> None:
    """Give a message to the function as Lambda would; raises when the function asks for it again."""
    import score

    record = {"messageId": "1", "receiptHandle": "r", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
    context = Context(get_remaining_time_in_millis=lambda: left_ms)
    assert score.handler({"Records": [record]}, context) == {"batchItemFailures": []}


def state(world: World, upload: Upload) -> dict[str, Any]:
    return Scorings(world.registry).get(upload.model, scoring_of(upload))


def predictions(world: World, upload: Upload) -> bytes:
    return world.artifacts.read_bytes(f"results/{upload.model}/{scoring_of(upload)}/predictions.csv")


def check(world: World, upload: Upload, expected: bytes) -> None:
    """The invariants of a scoring that has ended well."""
    item = state(world, upload)
    assert item["state"] == "DONE" and item["rows"] == {"in": ROWS, "out": ROWS, "rejected": 0}, item
    told = world.artifacts.read_json(f"results/{upload.model}/{scoring_of(upload)}/MANIFEST.json")
    assert told["files"] == item["files"] and told["version"] == item["version"] == 1
    assert predictions(world, upload) == expected


def test_score_killed_at_any_call_and_given_its_message_again_ends_with_the_same_bytes(
    world: World, model: str
) -> None:
    whole = request(world, model)
    deliver(notification_of(whole))  # which opens the bundle, too
    expected = predictions(world, whole)
    with world.crashing(None, False) as calls:
        deliver(notification_of(replace(whole, sequencer="0B")))
    names = calls.seen
    assert names.count("PutObject") >= 8 and "PutEvents" in names
    for number in range(1, len(names) + 1):
        upload = replace(whole, sequencer=f"1{number:03X}")
        with pytest.raises(Crash), world.crashing(number, False):
            deliver(notification_of(upload))
        deliver(notification_of(upload))
        check(world, upload, expected)
    assert {event["detail-type"] for event in world.events} == {"ScoringFinished"}
    print(f"\nscore: {len(names)} calls, {len(names)} crashes")


def test_the_version_is_pinned_by_the_first_begin_whatever_the_alias_does_then(
    world: World, model: str, tmp_path: Path
) -> None:
    whole = request(world, model)
    deliver(notification_of(whole))
    expected, upload = predictions(world, whole), replace(whole, sequencer="0B")
    with world.crashing(None, False) as calls:
        deliver(notification_of(replace(whole, sequencer="0C")))
    first_part = calls.seen.index("ListObjectsV2") + 5
    with pytest.raises(Crash), world.crashing(first_part, False):
        deliver(notification_of(upload))
    put_version(world, model, 2, tmp_path / "bundle-2")
    world.registry.promote(model, 2, by="test", why="in the middle of a scoring")
    deliver(notification_of(upload))
    check(world, upload, expected)
    later = replace(whole, sequencer="0D")
    deliver(notification_of(later))
    assert state(world, later)["version"] == 2 and predictions(world, later) != expected
    found = csv.DictReader(io.StringIO(predictions(world, later).decode()))
    assert {row["version"] for row in found} == {"2"}


@pytest.mark.parametrize("why", ["too large", "out of time"])
def test_what_a_function_has_no_time_for_goes_to_a_job_that_goes_on_at_the_next_part(
    world: World, model: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = request(world, model)
    deliver(notification_of(whole))
    expected, upload = predictions(world, whole), replace(whole, sequencer="0B")
    if why == "too large":
        monkeypatch.setitem(LIMITS, "score_function", Limit(100, "bytes", "test"))
    for _ in range(2):
        deliver(notification_of(upload), left_ms=900_000 if why == "too large" else 10_000)
    (job,) = world.jobs
    assert state(world, upload)["state"] == "RUNNING" and state(world, upload)["job"] == job["job"]
    assert state(world, upload).get("progress", {}).get("parts") == (None if why == "too large" else 1)
    import os

    names = {"TIDEMILL_MODEL": job["model"], "TIDEMILL_SCORING": job["scoring"]}
    with world.crashing(None, False) as calls:
        assert scoring_job.main({**os.environ, **names}) == 0
    check(world, upload, expected)
    parts = [name for name in calls.seen if name == "PutObject"]
    assert len(parts) <= (4 if why == "too large" else 2) + 6, "the part of the function is not made again"


def test_a_job_that_fails_ends_its_scoring_with_a_reason_and_one_of_another_does_not(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(LIMITS, "score_function", Limit(100, "bytes", "test"))
    upload = request(world, model)
    deliver(notification_of(upload))
    parameters = {"model": model, "scoring": scoring_of(upload)}
    for job, expected in (("another", "RUNNING"), (state(world, upload)["job"], "FAILED")):
        detail = {"jobId": job, "status": "FAILED", "parameters": parameters, "container": {"exitCode": 137}}
        deliver(json.dumps({"detail-type": "Batch Job State Change", "detail": detail}))
        assert state(world, upload)["state"] == expected
    assert state(world, upload)["reason"]["code"] == "OUT_OF_MEMORY"
    assert world.events[-1]["detail-type"] == "ScoringFailed"


@pytest.mark.parametrize(
    ("name", "content", "code"),
    [("a.csv", b"age,work\n1,x\n", "FEATURE_MISSING"), ("a.zip", b"PK\x03\x04broken", "ARCHIVE_CORRUPT")],
)
def test_a_file_that_cannot_be_scored_is_rejected_with_a_report(
    world: World, model: str, name: str, content: bytes, code: str
) -> None:
    upload = request(world, model, content, name)
    for _ in range(2):
        deliver(notification_of(upload))
    item = state(world, upload)
    report = world.artifacts.read_json(f"results/{model}/{scoring_of(upload)}/REJECTED.json")
    assert item["state"] == "REJECTED" and item["reason"]["code"] == report["reason"]["code"] == code
    assert item["reason"]["where"].endswith("/REJECTED.json") and report["reason"]["remedy"]
    assert [event["detail-type"] for event in world.events] == ["ScoringRejected"] * 2


def test_without_a_version_in_service_and_for_replaced_or_deleted_files_the_reason_says_so(
    world: World, model: str, new_model: Callable[[], str]
) -> None:
    nobody = request(world, new_model())
    deliver(notification_of(nobody))
    assert state(world, nobody)["reason"]["code"] == "NO_CHAMPION"
    first = request(world, model)
    request(world, model, csv_of(people(ROWS, seed=9)))
    deliver(notification_of(first))
    assert state(world, first)["reason"]["code"] == "REQUEST_REPLACED"
    gone = replace(first, key=f"requests/{model}/u1/gone.csv")
    deliver(notification_of(gone))
    assert state(world, gone)["reason"]["code"] == "REQUEST_GONE"


def test_a_file_that_kills_its_scorer_each_time_fails_at_the_fifth(
    world: World, model: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tidemill.serving import scoring

    def dies(*_: Any) -> None:
        raise Crash("out of memory")

    upload = request(world, model)
    with monkeypatch.context() as patch:
        patch.setattr(scoring, "write_parts", dies)
        for _ in range(4):
            with pytest.raises(Crash):
                deliver(notification_of(upload))
    deliver(notification_of(upload))
    assert state(world, upload)["reason"]["code"] == "NO_PROGRESS"


def test_a_lost_table_gets_its_scorings_back_from_the_journal(world: World, model: str, artifacts: Storage) -> None:
    upload = request(world, model)
    deliver(notification_of(upload))
    before = state(world, upload)
    key = {"pk": f"MODEL#{model}", "sk": f"SCORING#{scoring_of(upload)}"}
    world.registry.table.table.delete_item(Key=key)
    only = SimpleNamespace(
        keys=lambda _: artifacts.keys(f"registry/models/{model}/"), read_json=artifacts.read_json, bucket=""
    )
    counts, _ = rebuild(Registry(world.registry.table.name, None), only)  # type: ignore[arg-type]
    after = state(world, upload)
    assert counts["scoring"] == 1
    assert after == {name: value for name, value in before.items() if name not in ("progress", "tries")}


def test_after_a_kill_of_the_stack_a_scoring_is_found_and_its_own_message_ends_it(world: World, model: str) -> None:
    whole = request(world, model)
    deliver(notification_of(whole))
    expected, upload = predictions(world, whole), replace(whole, sequencer="0B")
    with pytest.raises(Crash), world.crashing(8, False):
        deliver(notification_of(upload))
    found = [message_of(item, None, datetime.now(UTC), hurry=True) for item in Scorings(world.registry).of(model)]
    (body,) = [body for body in found if body]
    deliver(body)
    check(world, upload, expected)
    assert {item["state"] for item in Scorings(world.registry).of(model)} == {"DONE"}


@pytest.mark.parametrize(
    ("key", "expected"),
    [("requests/m/a.csv", True), ("requests/m/", False), ("requests/m/u/tidemill.toml", False), ("uploads/m/a", False)],
)
def test_what_counts_as_a_file_to_be_scored(key: str, expected: bool) -> None:
    assert is_request(Upload("b", key, 1, "e", "0", "t")) is expected
