"""A model's clocks are what its champion asks for, under one switch, however often they are set."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.doubles.plane import MemoryTable

from tidemill.core.schedules import keep, name_of, pause, schedule_of
from tidemill.core.settings import Settings
from tidemill.core.spec import Spec

SETTINGS = Settings(
    schedule_group="tidemill",
    scheduler_role="arn:role",
    schedule_dead_letters="arn:dead",
    monitor_queue="arn:monitor",
    retrain_queue="arn:retrain",
)


class Clocks:
    """EventBridge Scheduler, as far as it is used."""

    def __init__(self) -> None:
        self.held: dict[str, dict[str, Any]] = {}
        self.calls: list[str] = []

    def get_schedule(self, GroupName: str, Name: str) -> dict[str, Any]:  # noqa: N803
        assert GroupName == "tidemill"
        if Name not in self.held:
            raise ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSchedule")
        return self.held[Name]

    def create_schedule(self, **wanted: Any) -> None:
        self.calls.append("create")
        if wanted["Name"] in self.held:
            raise ClientError({"Error": {"Code": "ConflictException"}}, "CreateSchedule")
        self.held[wanted["Name"]] = wanted

    def update_schedule(self, **wanted: Any) -> None:
        self.calls.append("update")
        self.held[wanted["Name"]] = wanted

    def delete_schedule(self, GroupName: str, Name: str) -> None:  # noqa: N803
        self.calls.append("delete")
        del self.held[Name]


class World:
    """A model whose champion has a specification, and its clocks."""

    def __init__(self, **said: Any) -> None:
        self.clocks = Clocks()
        self.alias: Any = {"version": 1, "run": "r-1", "rev": 1}
        self.spec: Any = {"schedule": said}
        self.registry: Any = SimpleNamespace(
            table=MemoryTable(), journal=None, alias=lambda _: self.alias, run=lambda *_: {"spec": self.spec}
        )

    def keep(self, settings: Settings = SETTINGS) -> dict[str, dict[str, Any]]:
        self.clocks.calls.clear()
        keep("income", self.registry, settings, self.clocks)
        return self.clocks.held


def test_a_clock_wakes_its_function_with_the_name_of_the_model() -> None:
    held = World(retrain="rate(7 days)").keep()
    assert {name: item["ScheduleExpression"] for name, item in held.items()} == {
        **{"monitor-income": "rate(1 day)", "retrain-income": "rate(7 days)"}
    }
    target = held["retrain-income"]["Target"]
    assert (target["Arn"], target["RoleArn"], target["DeadLetterConfig"]["Arn"]) == (
        "arn:retrain",
        "arn:role",
        "arn:dead",
    )
    assert json.loads(target["Input"]) == {"wake": "retrain", "model": "income", "why": "schedule"}
    assert json.loads(held["monitor-income"]["Target"]["Input"]) == {"wake": "monitor", "model": "income"}
    assert target["RetryPolicy"]["MaximumRetryAttempts"] > 0


def test_set_again_nothing_is_touched_for_a_changed_clock_counts_anew() -> None:
    world = World(retrain="rate(7 days)")
    world.keep()
    world.keep()
    assert world.clocks.calls == []


def test_clocks_follow_the_version_that_serves() -> None:
    world = World(retrain="rate(7 days)")
    world.keep()
    world.spec = {"schedule": {"retrain": "rate(1 day)", "monitor": ""}}
    assert {name: item["ScheduleExpression"] for name, item in world.keep().items()} == {
        "retrain-income": "rate(1 day)"
    }
    assert sorted(world.clocks.calls) == ["delete", "update"]
    world.alias = None
    assert world.keep() == {}, "without a version in service nothing ticks"
    world.keep()
    assert world.clocks.calls == []


def test_a_run_from_before_there_were_clocks_is_watched_daily_and_never_trained_again_by_one() -> None:
    world = World()
    world.spec = {"data": {"target": "y"}}
    assert list(world.keep()) == ["monitor-income"]


def test_the_switch_stops_every_clock_and_beats_the_specification() -> None:
    world = World(retrain="rate(7 days)", paused=True)
    assert {item["State"] for item in world.keep().values()} == {"DISABLED"}
    pause("income", world.registry, paused=False, by="key 1")
    assert {item["State"] for item in world.keep().values()} == {"ENABLED"}
    pause("income", world.registry, paused=True, by="key 1")
    assert {item["State"] for item in world.keep().values()} == {"DISABLED"}
    said = schedule_of("income", world.registry)
    assert (
        said is not None
        and said.paused
        and said == Spec.from_json({"schedule": {"retrain": "rate(7 days)", "paused": True}}).schedule
    )


def test_where_there_is_no_monitor_there_is_no_clock_for_it() -> None:
    settings = Settings(schedule_group="tidemill", retrain_queue="arn:retrain")
    assert list(World(retrain="rate(7 days)").keep(settings)) == ["retrain-income"]


def test_two_deliveries_at_once_make_one_clock() -> None:
    world = World(retrain="rate(7 days)", monitor="")
    found = world.clocks.get_schedule
    world.keep()
    answers = iter([ClientError({"Error": {"Code": "ResourceNotFoundException"}}, "GetSchedule")])

    def late(**asked: Any) -> dict[str, Any]:
        for error in answers:
            raise error
        return found(**asked)

    world.clocks.get_schedule = late  # type: ignore[method-assign]
    keep("income", world.registry, Settings(schedule_group="tidemill", retrain_queue="arn:2"), world.clocks)
    assert world.clocks.held["retrain-income"]["Target"]["Arn"] in ("arn:2", "arn:retrain")


@pytest.mark.parametrize("length", [1, 55, 56, 57, 63])
def test_names_fit_and_differ(length: int) -> None:
    one, other = "m" * length, "m" * (length - 1) + "n"
    names = {name_of(clock, model) for clock in ("monitor", "retrain") for model in (one, other)}
    assert len(names) == 4 and all(len(name) <= 64 for name in names)


def test_the_sweep_can_see_which_move_the_clocks_follow() -> None:
    world = World(retrain="rate(7 days)")
    world.alias["rev"] = 7
    world.keep()
    assert world.registry.table.get("MODEL#income", "CLOCKS")["rev"] == 7
