"""Promote killed before every write and after the last while it ends a watch, and told again: the same end."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.faults.world import Crash, World, connected
from tests.serving.test_outcome import BROKEN, GOOD
from tests.serving.test_outcome import World as Watched

from tidemill.core.registry import Item, Registry
from tidemill.core.storage import Storage
from tidemill.core.table import stored

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
ENDS = {
    "champion broken": ("HealthBroken", "champion", BROKEN, "ModelRolledBack"),
    "challenger broken": ("HealthBroken", "challenger", BROKEN, "ModelRolledBack"),
    "challenger passed": ("CanaryEnded", "challenger", GOOD, "ModelPromoted"),
}


@pytest.fixture
def world(stack: Any, registry: Registry, artifacts: Storage, settings: Any, monkeypatch: Any) -> Iterator[World]:
    made = World(registry, Storage(settings.data_bucket, stack.client("s3")), artifacts)
    environment = {
        **stack.credentials,
        "TIDEMILL_ARTIFACTS_BUCKET": settings.artifacts_bucket,
        "TIDEMILL_TABLE": settings.table,
        "TIDEMILL_BUS": settings.bus,
        "TIDEMILL_QUEUE_URL": "http://queue.invalid/1/q",
    }
    with connected(made, environment, monkeypatch.setenv):
        yield made


def due(registry: Registry, model: str, end: str) -> tuple[list[Item], Item]:
    """A model whose watch is due: its items, and what Predict tells of it."""
    event, alias, counts, _ = ENDS[end]
    watched = Watched(registry, model)
    rev = watched.alias()["watch"]["rev"] if alias == "champion" else watched.canary()
    watched.counted(alias, rev, counts)
    detail = {"model": model, "alias": alias, "version": 2, "rev": rev, "window": "all"}
    items = [*registry.table.query(f"MODEL#{model}"), *registry.table.query(f"HEALTH#{model}")]
    return items, {"detail-type": event, "detail": detail}


def copied(registry: Registry, source: tuple[list[Item], Item], old: str, new: str) -> Item:
    """The same under another name; the message for Promote."""
    items, told = json.loads(json.dumps(source).replace(old, new))
    with registry.table.table.batch_writer() as batch:
        for item in items:
            batch.put_item(Item=stored(item))
    record = {"messageId": "1", "receiptHandle": "r", "body": json.dumps(told)}
    return {"Records": [{**record, "attributes": {"ApproximateReceiveCount": "1"}}]}


def after(world: World, registry: Registry, model: str, end: str) -> tuple[Any, ...]:
    """What a watch's end leaves behind."""
    alias = registry.alias(model)
    assert alias is not None
    assert [move["rev"] for move in registry.moves(model)] == list(range(alias["rev"], 0, -1))
    told = [item["detail-type"] for item in world.events]
    assert told and set(told) == {ENDS[end][3]}, told
    assert {item["detail"]["model"] for item in world.events} == {model}
    world.events.clear()
    live = (alias.get("challenger") or {}).get("live")
    return alias["version"], alias["rev"], alias["by"], live, registry.version(model, 2).get("decision", {}).get("code")


@pytest.mark.parametrize("end", ENDS)
def test_a_watch_ends_the_same_wherever_promote_was_killed(
    world: World, registry: Registry, new_model: Any, end: str
) -> None:
    import promote

    first = new_model()
    source = due(registry, first, end)
    sent, model = copied(registry, source, first, first), first
    with world.crashing(None, False) as calls:
        assert promote.handler(sent, None) == {"batchItemFailures": []}
    wanted = after(world, registry, model, end)
    writes = [
        number for number, name in enumerate(calls.seen, start=1) if name != "GetItem"
    ]  # reads leave AWS as it is
    points = [*((number, False) for number in writes), (len(calls.seen), True)]
    for number, late in points:
        model = new_model()
        sent = copied(registry, source, first, model)
        with world.crashing(number, late), pytest.raises(Crash):
            promote.handler(sent, None)
        assert promote.handler(sent, None) == {"batchItemFailures": []}
        assert after(world, registry, model, end) == wanted, f"killed {'after' if late else 'before'} call {number}"
    print(f"\n{end}: {len(calls.seen)} calls, {len(points)} crashes: {', '.join(calls.seen)}")
