"""Monitor dies at every AWS call it makes: the next wake-up ends the same, no row counts twice, drift is told."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterator
from typing import Any

import pytest
from tests.faults.world import Crash, World, connected
from tests.serving.test_monitoring import Mill, made, mill, people

from tidemill.core import reports
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.serving import monitoring

__all__ = ["made", "mill"]
pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(600)]
ROWS = 250


@pytest.fixture
def world(
    stack: Any, mill: Mill, uploads: Storage, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A world that can end at any call of the handler."""
    import monitor

    found = World(mill.registry, uploads, mill.artifacts)
    environment = {
        **stack.credentials,
        "TIDEMILL_DATA_BUCKET": settings.data_bucket,
        "TIDEMILL_ARTIFACTS_BUCKET": settings.artifacts_bucket,
        "TIDEMILL_TABLE": settings.table,
        "TIDEMILL_BUS": settings.bus,
        "TIDEMILL_QUEUE_URL": "http://queue.invalid/1/q",
    }
    monkeypatch.setattr(monitor, "watch", functools.partial(monitoring.watch, settle_s=0))
    with connected(found, environment, monkeypatch.setenv):
        yield found


def wake(mill: Mill) -> None:
    """Give the message to the handler as Lambda would."""
    import monitor

    record = {"messageId": "1", "receiptHandle": "r", "attributes": {"ApproximateReceiveCount": "1"}}
    body = json.dumps({"wake": "monitor", "model": mill.model})
    assert monitor.handler({"Records": [{**record, "body": body}]}, None) == {"batchItemFailures": []}


def died_at(world: World, mill: Mill, at: int, after: bool) -> bool:
    """Wake a Monitor that dies before or after its call number `at`; False where it made fewer calls."""
    with world.crashing(at, after):
        try:
            wake(mill)
        except Crash:
            return True
    return False


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_monitor_may_die_at_any_call(world: World, mill: Mill, after: bool) -> None:
    at, died = 1, True
    while died:
        mill.ask(people(8_000 + at, rows=ROWS, shift=9.0))
        died = died_at(world, mill, at, after)
        wake(mill)
        found = reports.listed(mill.registry, mill.model)
        assert len(found) == at and found[0]["rows"] == ROWS and "hours" in found[0]["drifted"], (at, found)
        told = [event["detail"]["report"] for event in world.events if event["detail-type"] == "DriftDetected"]
        assert set(told) == {item["time"] for item in found}, at
        assert len(told) <= len(found) + 2, "twice only where it died between telling and writing that down"
        mill.registry.table.update(f"MODEL#{mill.model}", reports.SK, "SET drifting = :none", {":none": []})
        at += 1
    assert at > 12
