"""The local stack for a whole run without a single event: the sweep, woken by the clock alone, brings it to its end.

Takes a quarter of an hour, because a sweep waits before it believes a thing lost (core/limits: again_*).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill.core.registry import Registry
from tidemill.core.storage import Storage

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(2400)]
TRAIN = b'family = "mlp"\nepochs = 5\nmembers = 2\n'
SPEC = b'[data]\ntarget = "income"\n[train]\n' + TRAIN + b"[search]\nconfigurations = 1\nfolds = 1\n"
RULES = ("DatasetReadyRule", "JobEndedRule", "RunSettledRule")
PATIENCE_S = 2000


@pytest.fixture
def deaf(stack: Any, uploads: Storage) -> Iterator[None]:
    """No notification from the bucket, no rule on any bus; only the clock ticks."""
    events, s3 = stack.client("events"), uploads.client
    told = s3.get_bucket_notification_configuration(Bucket=uploads.bucket)
    told.pop("ResponseMetadata", None)
    rules = [rule_of(stack, name) for name in RULES]
    s3.put_bucket_notification_configuration(Bucket=uploads.bucket, NotificationConfiguration={})
    for rule in rules:
        events.disable_rule(**rule)
    events.enable_rule(**rule_of(stack, "SweepRule"))
    yield
    events.disable_rule(**rule_of(stack, "SweepRule"))
    for rule in rules:
        events.enable_rule(**rule)
    s3.put_bucket_notification_configuration(Bucket=uploads.bucket, NotificationConfiguration=told)


def rule_of(stack: Any, name: str) -> dict[str, str]:
    """A rule's name and bus: jobs and the clock speak on the account's own."""
    own = {} if name in ("JobEndedRule", "SweepRule") else {"EventBusName": stack.outputs["EventBusName"]}
    return {"Name": stack.resources[name], **own}


@pytest.mark.usefixtures("deaf")
def test_with_every_event_dropped_the_clock_alone_brings_a_run_to_its_end(
    stack: Any, uploads: Storage, registry: Registry, root: Path
) -> None:
    model, begun = "unheard", time.monotonic()
    lines = (root / "tests/data/adult-3000.csv").read_bytes().splitlines(keepends=True)
    uploads.write_bytes(f"uploads/{model}/tidemill.toml", SPEC)
    uploads.write_bytes(f"uploads/{model}/u1/adult.csv", b"".join(lines[:801]))
    seen: list[str] = []
    run: dict[str, Any] = {}
    while time.monotonic() - begun < PATIENCE_S and "decision" not in run:
        run = next(iter(registry.runs(model)), {})
        if run and run["state"] not in seen:
            seen.append(run["state"])
            print(f"{time.monotonic() - begun:6.1f} s {run['state']}", flush=True)
        time.sleep(1)
    print(f"{time.monotonic() - begun:6.1f} s {run.get('decision')}", flush=True)
    assert run["decision"]["promoted"], run
    assert [item["version"] for item in registry.versions(model)] == [1]
    alias = registry.alias(model)
    assert alias is not None and alias["run"] == run["run"]
