"""A model's clock strikes by itself on the deployed stack: the schedule that Retrain made wakes Retrain."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.faults.test_retrain_crashes import SCHEMA

from tidemill.core.attempts import attempts
from tidemill.core.registry import Registry
from tidemill.core.schedules import pause
from tidemill.core.spec import Spec
from tidemill.core.storage import Storage
from tidemill.core.uploads import Upload

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(400)]


def test_a_minute_later_the_clock_asks_for_a_training_and_paused_it_asks_no_more(
    stack: Any, registry: Registry, artifacts: Storage, uploads: Storage, new_model: Any
) -> None:
    model = new_model()
    upload = Upload(uploads.bucket, f"uploads/{model}/u1/t.csv", 1, "e", "01", "2026-01-01T00:00:00.000Z")
    registry.receive(model, upload.run, upload.order, upload.to_json())
    spec = Spec.from_json({"schedule": {"retrain": "rate(1 minute)"}}).to_json()
    fields = {"dataset": "d-1", "spec": spec, "fingerprint": f"f-{model}", "rows": {"read": 240}}
    registry.advance(model, upload.run, "PREPARED", allowed=["RECEIVED"], **fields)
    taken = registry.lease(model, upload.run, "job", "attempt")
    assert taken is not None
    registry.register(model, upload.run, taken["epoch"], f"f-{model}", {"bundle": f"bundles/{model}/x/"})
    registry.promote(model, 1, by="test", why="", pin=False)
    artifacts.write_json(f"datasets/{model}/d-1/schema.json", SCHEMA)

    events = stack.client("events")  # what Promote tells when the alias has moved
    detail = json.dumps({"model": model, "version": 1})
    entry = {"EventBusName": stack.outputs["EventBusName"], "Source": "tidemill", "DetailType": "ModelPromoted"}
    events.put_events(Entries=[{**entry, "Detail": detail}])
    began = time.monotonic()
    found: list[dict[str, Any]] = []
    while not found and time.monotonic() - began < 180:
        found = attempts(model, registry)
        time.sleep(1)
    assert time.monotonic() - began > 55, "before the minute is over nothing strikes"
    (attempt,) = found
    assert (attempt["why"], attempt["reason"]["code"]) == ("schedule", "NOTHING_NEW")

    pause(model, registry, paused=True, by="test")
    body = json.dumps({"wake": "clocks", "model": model})
    stack.client("sqs").send_message(QueueUrl=stack.outputs["RetrainQueueUrl"], MessageBody=body)
    time.sleep(15)
    before = attempts(model, registry)
    time.sleep(75)
    assert attempts(model, registry) == before
