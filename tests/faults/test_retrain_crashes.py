"""Retrain killed before and after every AWS call and woken again: one upload, one attempt, nothing lost."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.faults.test_crashes import table
from tests.faults.world import Crash, World, connected

from tidemill.core.attempts import attempts
from tidemill.core.registry import Registry
from tidemill.core.spec import Spec
from tidemill.core.storage import Storage
from tidemill.core.uploads import TRIGGER, Upload

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
NUMBERS, WORDS = ("age", "hours"), ("job",)
SCHEMA = {
    **{"target": "bought", "task": "binary", "labels": ["no", "yes"]},
    "columns": [
        *({"name": name, "kind": "number", "role": "feature"} for name in NUMBERS),
        *({"name": name, "kind": "category", "role": "feature", "levels": ["clerk", "cook"]} for name in WORDS),
        {"name": "bought", "kind": "category", "role": "target"},
    ],
}


@pytest.fixture
def world(
    stack: Any, registry: Registry, artifacts: Storage, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A world whose uploads wake nobody, and whose scheduler is not asked."""
    s3 = stack.client("s3")
    bucket = "quiet-retrains"
    if bucket not in [item["Name"] for item in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=bucket)
    made = World(registry, Storage(bucket, s3), artifacts)
    environment = {
        **stack.credentials,
        "TIDEMILL_DATA_BUCKET": bucket,
        "TIDEMILL_ARTIFACTS_BUCKET": settings.artifacts_bucket,
        "TIDEMILL_TABLE": settings.table,
        "TIDEMILL_QUEUE_URL": "http://queue.invalid/1/q",
    }
    with connected(made, environment, monkeypatch.setenv):
        yield made


def model_with_labels(world: World, model: str) -> None:
    """A model that serves, two requests it answered, and what one of them turned out to be."""
    key = f"uploads/{model}/u1/table.csv"
    world.uploads.write_bytes(key, table())
    etag = world.uploads.client.head_object(Bucket=world.uploads.bucket, Key=key)["ETag"].strip('"')
    upload = Upload(world.uploads.bucket, key, len(table()), etag, "01", "2026-01-01T00:00:00.000Z")
    run = world.registry.receive(model, upload.run, upload.order, upload.to_json())["run"]
    fields = {"dataset": "d-1", "spec": Spec().to_json(), "fingerprint": f"f-{model}", "rows": {"read": 240}}
    world.registry.advance(model, run, "PREPARED", allowed=["RECEIVED"], **fields)
    taken = world.registry.lease(model, run, "job", "attempt")
    assert taken is not None
    version = {"bundle": f"bundles/{model}/{run}/", "order": upload.order}
    world.registry.register(model, run, taken["epoch"], f"f-{model}", version)
    world.registry.promote(model, 1, by="test", why="", pin=False)
    world.artifacts.write_json(f"datasets/{model}/d-1/schema.json", SCHEMA)
    columns = {"age": [30, 70], "hours": [5, 50], "job": ["cook", "clerk"]}
    logged = {"request": "q-1", "at": "2026-01-02T00:00:00.000Z", "index": [0, 1], "columns": columns}
    world.artifacts.write_bytes(f"traffic/{model}/2026-01-02/1.jsonl.gz", gzip.compress(json.dumps(logged).encode()))
    said = {"request": "q-1", "row": 1, "label": "yes"}
    world.artifacts.write_bytes(f"labels/{model}/1.jsonl", json.dumps(said).encode())


def wake(model: str) -> None:
    import retrain

    body = json.dumps({"wake": "retrain", "model": model, "why": "hand", "ask": "a-1"})
    record = {"messageId": "1", "receiptHandle": "r", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
    assert retrain.handler({"Records": [record]}, None) == {"batchItemFailures": []}


def check(world: World, model: str) -> None:
    """One upload with its reason, written once, and one attempt that names it."""
    (attempt,) = attempts(model, world.registry)
    assert (attempt["state"], attempt["rows"]["labelled"]) == ("STARTED", 1)
    prefix = f"uploads/{model}/retrain/"
    versions = world.uploads.client.list_object_versions(Bucket=world.uploads.bucket, Prefix=prefix)["Versions"]
    (key,) = [item["Key"] for item in versions if item["Key"].endswith(".parquet")]
    assert key == f"{prefix}{attempt['upload']}/data.parquet"
    about = world.uploads.client.head_object(Bucket=world.uploads.bucket, Key=key)["Metadata"]
    assert json.loads(about[TRIGGER])["base"] == attempt["base"]
    kept = world.artifacts.read_json(f"registry/models/{model}/retrains/{attempt['at']}.json")
    assert kept == attempt, "what is journalled comes back with the table"


def test_killed_at_any_call_retrain_makes_one_upload(world: World, new_model: Any, record_property: Any) -> None:
    model = new_model()
    model_with_labels(world, model)
    with world.crashing(None, False) as calls:
        wake(model)
    check(world, model)
    names = calls.seen
    assert {"GetObject", "PutObject", "PutItem", "Query"} <= set(names)
    for number in range(1, len(names) + 1):
        model = new_model()
        model_with_labels(world, model)
        with pytest.raises(Crash), world.crashing(number, number == len(names)):
            wake(model)
        wake(model)
        wake(model)
        check(world, model)
    record_property("crash points in retrain", len(names))
    print(f"\nretrain: {len(names)} calls: {', '.join(names)}")
