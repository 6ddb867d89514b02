"""The clocks of a model: schedules of EventBridge Scheduler that put its name on the queues of Monitor and Retrain.

They follow the champion: made when its first version is promoted, changed with a version whose specification says
otherwise, gone where it says nothing. The switch of `tidemill schedule` (MODEL#m | SCHEDULE) beats the specification.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from typing import Any

from botocore.exceptions import ClientError

from tidemill.core import clients
from tidemill.core.clock import now
from tidemill.core.registry import Item, Registry
from tidemill.core.settings import Settings
from tidemill.core.spec import Schedule, Spec

CLOCKS = ("monitor", "retrain")
LONGEST_NAME = 64
RETRY = {"MaximumEventAgeInSeconds": 86_400, "MaximumRetryAttempts": 185}  # a day, as the rules of the bus


def schedule_of(model: str, registry: Registry) -> Schedule | None:
    """What the champion's specification says of its clocks, the switch put over it; None where no version serves."""
    alias = registry.alias(model)
    if alias is None:
        return None
    said = registry.run(model, alias["run"]).get("spec", {}).get("schedule", {})  # older runs said nothing of it
    schedule = Spec.from_json({"schedule": said}).schedule
    switch = registry.table.get(f"MODEL#{model}", "SCHEDULE")
    return schedule if switch is None else dataclasses.replace(schedule, paused=bool(switch["paused"]))


def pause(model: str, registry: Registry, *, paused: bool, by: str) -> Item:
    """Turn the switch: while paused nothing starts by itself, whatever a specification says. The last word counts."""
    switch = {"model": model, "paused": paused, "by": by, "at": now()}
    registry.table.put({"pk": f"MODEL#{model}", "sk": "SCHEDULE", **switch})
    if registry.journal is not None:
        registry.journal.write_json(f"registry/models/{model}/schedules/switch.json", switch)
    return switch


def keep(model: str, registry: Registry, settings: Settings, client: Any = None) -> Schedule | None:
    """Make, change or delete a model's schedules, so that they are what its champion asks for.

    May be called any number of times; a schedule that is right is left alone, for a changed one starts to count anew.
    """
    client = client if client is not None else clients.client("scheduler")
    alias = registry.alias(model)  # before what it says is read: what moves meanwhile is looked after again
    schedule = schedule_of(model, registry)
    for clock, queue in zip(CLOCKS, (settings.monitor_queue, settings.retrain_queue), strict=True):
        time = getattr(schedule, clock) if schedule is not None and queue else ""
        if schedule is None or not time:
            _delete(client, settings.schedule_group, name_of(clock, model))
        else:
            _put(client, _wanted(clock, model, time, queue, schedule.paused, settings))
    if alias is not None:  # for the sweep, which sees by it whether the event of a move was lost
        registry.table.put({"pk": f"MODEL#{model}", "sk": "CLOCKS", "rev": alias["rev"], "at": now()})
    return schedule


def name_of(clock: str, model: str) -> str:
    """A schedule's name; that of a long model ends in a hash, because a name has 64 signs at most."""
    name = f"{clock}-{model}"
    if len(name) <= LONGEST_NAME:
        return name
    digest = hashlib.sha256(model.encode()).hexdigest()[:12]
    return f"{name[: LONGEST_NAME - 14]}--{digest}"


def _wanted(clock: str, model: str, time: str, queue: str, paused: bool, settings: Settings) -> Item:
    message = {"wake": clock, "model": model, **({"why": "schedule"} if clock == "retrain" else {})}
    target = {
        "Arn": queue,
        "RoleArn": settings.scheduler_role,
        "Input": json.dumps(message),
        "RetryPolicy": RETRY,
        "DeadLetterConfig": {"Arn": settings.schedule_dead_letters},
    }
    return {
        "Name": name_of(clock, model),
        "GroupName": settings.schedule_group,
        "ScheduleExpression": time,
        "ScheduleExpressionTimezone": "UTC",
        "FlexibleTimeWindow": {"Mode": "OFF"},
        "State": "DISABLED" if paused else "ENABLED",
        "Target": target,
    }


def _put(client: Any, wanted: Item) -> None:
    found = _found(client, wanted["GroupName"], wanted["Name"])
    if found is not None:
        if any(found.get(name) != value for name, value in wanted.items()):
            client.update_schedule(**wanted)
        return
    try:
        client.create_schedule(**wanted)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ConflictException":
            raise
        client.update_schedule(**wanted)  # another delivery of the same event was quicker


def _found(client: Any, group: str, name: str) -> Item | None:
    try:
        found: Item = client.get_schedule(GroupName=group, Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
        return None
    return found


def _delete(client: Any, group: str, name: str) -> None:
    if _found(client, group, name) is None:
        return
    try:
        client.delete_schedule(GroupName=group, Name=name)
    except ClientError as error:
        if error.response["Error"]["Code"] != "ResourceNotFoundException":
            raise
