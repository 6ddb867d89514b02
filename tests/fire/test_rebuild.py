"""A registry of 1,000 versions whose table is deleted, made again from S3: equal to before, within a minute."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tidemill.core import attempts, keys, reports, schedules
from tidemill.core.rebuild import rebuild
from tidemill.core.registry import LIVE, Item, Registry
from tidemill.core.scorings import Scorings
from tidemill.core.storage import Storage
from tidemill.core.table import plain
from tidemill.core.uploads import Upload

pytestmark = [pytest.mark.fire, pytest.mark.stack, pytest.mark.timeout(1200)]
MODELS, VERSIONS = 8, 125
BOUND_S = 60.0
PASSING = ("lease_until", "progress", "pending", "tries")  # what is not journalled: a heartbeat, an unsent announcement


@pytest.fixture
def bucket(stack: Any) -> Storage:
    """A bucket of artefacts that no other test writes to."""
    s3, name = stack.client("s3"), f"rebuilt-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=name)
    return Storage(name, s3)


@pytest.fixture
def empty_table(resource: Any) -> Iterator[Callable[[], str]]:
    """Makes tables; they are deleted afterwards."""
    made: list[str] = []

    def make() -> str:
        made.append(f"rebuilt-{uuid.uuid4().hex[:8]}")
        create(resource.meta.client, made[-1])
        return made[-1]

    yield make
    for name in made:
        resource.meta.client.delete_table(TableName=name)


def create(client: Any, name: str) -> None:
    """A table with the keys of the registry's."""
    kinds = (("pk", "HASH"), ("sk", "RANGE"))
    client.create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in kinds],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in kinds],
        BillingMode="PAY_PER_REQUEST",
    )


def upload_of(model: str, number: int) -> Upload:
    at = f"2026-01-01T{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}.000Z"
    return Upload("data", f"uploads/{model}/u{number}/t.csv", 1, f"e{number}", "0A", at)


def version(registry: Registry, model: str, number: int, last: Item | None) -> Item | None:
    """An upload that became a version; nine in ten took the alias. The alias as it is then."""
    upload = upload_of(model, number)
    run = upload.run
    registry.receive(model, run, upload.order, upload.to_json())
    made = {"dataset": f"d-{number}", "fingerprint": f"f-{number}", "rows": {"read": 9, "used": 9, "quarantined": 0}}
    registry.advance(model, run, "PREPARED", allowed=["RECEIVED"], spec={"train": {"lr": 0.125}}, **made)
    taken = registry.lease(model, run, f"job-{number}", f"job-{number}/1")
    assert taken is not None
    fields = {"bundle": f"bundles/{model}/{run}/", "order": upload.order, "task": "binary", "target": "y"}
    which = registry.register(model, run, taken["epoch"], f"f-{number}", fields)
    moved = number % 10 != 3
    if moved:
        seen = None if last is None else last["rev"]
        last, _ = registry.promote_by_gate(model, which, upload.order, "better", seen_rev=seen)
    registry.decide(model, run, which, {"promoted": moved, "code": "BETTER" if moved else "WORSE", "message": "m"})
    return last


def beside(registry: Registry, model: str) -> None:
    """What else a model has: a canary, a pin, runs on their way and badly ended, scorings, retrains, reports."""
    registry.challenge(model, 3, share=0.1, shadow=True, by="ann", why="look")
    registry.promote(model, 2, by="ann", why="because")
    for index, state in enumerate((*LIVE[:2], "REJECTED")):
        upload = upload_of(model, 5000 + index)
        run = registry.receive(model, upload.run, upload.order, upload.to_json())["run"]
        if state == "PREPARED":
            registry.advance(model, run, state, allowed=["RECEIVED"], fingerprint="f", spec={}, dataset="d")
        elif state == "REJECTED":
            registry.advance(model, run, state, allowed=["RECEIVED"], reason={"code": "BAD_TABLE", "message": "m"})
    scorings = Scorings(registry)
    for index in range(10):
        made = scorings.receive(upload_of(model, 6000 + index))
        scorings.begin(model, made["scoring"], version=index + 1)
        if index:
            scorings.end(model, made["scoring"], "DONE", rows={"in": 3, "out": 3, "rejected": 0})
    for index in range(5):
        attempts.started(model, registry, "drift", f"u{index}", base=f"d-{index}")
        attempts.refused(model, registry, "hand", {"code": "NOTHING_NEW", "message": "m"}, ask=f"a-{index}")
    seen = None
    for index in range(5):
        item: Item = {"model": model, "time": f"2026-02-0{index + 1}T00:00:00.000Z", "until": str(index)}
        item |= {"version": 2, "drifted": ["age"]}
        assert reports.record(registry, item, seen, None)
        seen = item["time"]
    schedules.pause(model, registry, paused=True, by="ann")


def copied(registry: Registry, bucket: Storage, model: str, others: list[str]) -> None:
    """The same, table and journal, under other names: a thousand true histories take four minutes to write."""
    items = [{"pk": pk, "sk": sk, **item} for (pk, sk), item in contents(registry, ()).items()]
    journal = {entry["Key"]: bucket.read_bytes(entry["Key"]).decode() for entry in bucket.keys("registry/")}
    for other in others:
        registry.table.put_all(json.loads(json.dumps(plain(items)).replace(model, other)))
        renamed = {key.replace(model, other): text.replace(model, other) for key, text in journal.items()}
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda item: bucket.write_bytes(item[0], item[1].encode()), renamed.items()))


def contents(registry: Registry, passing: tuple[str, ...] = PASSING) -> dict[tuple[str, str], Item]:
    """Every item of the table by its keys, without what passes."""
    found: dict[tuple[str, str], Item] = {}
    scanned = registry.table.table.meta.client.get_paginator("scan").paginate(TableName=registry.table.name)
    for page in scanned:
        for item in page["Items"]:
            found[item["pk"], item["sk"]] = {name: value for name, value in item.items() if name not in passing}
    return found


def test_a_registry_of_a_thousand_versions_comes_back_equal_within_a_minute(
    fire: Any, bucket: Storage, resource: Any, empty_table: Callable[[], str]
) -> None:
    registry = Registry(empty_table(), bucket, resource)
    alias = None
    for number in range(1, VERSIONS + 1):
        alias = version(registry, "m-0", number, alias)
    beside(registry, "m-0")
    copied(registry, bucket, "m-0", [f"m-{index}" for index in range(1, MODELS)])
    for role in ("predict", "operate"):
        key = keys.new_key(role, "a key")
        registry.put_key(key.digest, key.item)
    before = contents(registry)
    with fire("rebuild", f"{MODELS * VERSIONS} versions, {len(before)} items", count=1) as case:
        resource.meta.client.delete_table(TableName=registry.table.name)
        begun = time.monotonic()
        create(resource.meta.client, registry.table.name)
        counts, unfinished = rebuild(Registry(registry.table.name, None, resource), bucket)
        case.seconds = time.monotonic() - begun
        case.notes = dict(counts)
        after = contents(registry)
        assert after.keys() == before.keys()
        differing = {key: (before[key], after[key]) for key in before if before[key] != after[key]}
        assert not differing, list(differing.items())[:3]
        assert counts["version"] == MODELS * VERSIONS and len(unfinished) == 2 * MODELS
        assert case.seconds <= BOUND_S
