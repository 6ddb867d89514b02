"""What Promote does when told of a broken limit or of time over: it looks for itself, and acts once."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from tests.core.test_registry import by_gate, running, three_versions
from tests.serving import bundle_factory as factory
from tests.serving.test_gate import bundle, truth_of

from tidemill.core import health
from tidemill.core.registry import Item, Registry
from tidemill.core.spec import Canary, Spec
from tidemill.core.storage import Storage
from tidemill.serving.outcome import settle
from tidemill.serving.promotion import decide

pytestmark = pytest.mark.stack
BROKEN = {"requests": 100, "errors": 60}
GOOD = {"requests": 100, "errors": 0}


class Told:
    """A bus that remembers."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Item]] = []

    def tell(self, name: str, detail: Item) -> None:
        self.events.append((name, detail))


class World:
    """A model whose second version serves and whose third may challenge."""

    def __init__(self, registry: Registry, model: str) -> None:
        self.registry, self.model, self.bus = registry, model, Told()
        three_versions(registry, model)
        assert by_gate(registry, model, 1) and by_gate(registry, model, 2)

    def alias(self) -> Item:
        alias = self.registry.alias(self.model)
        assert alias is not None
        return alias

    def canary(self, minutes: int = 0) -> int:
        """The third version challenges as its run's specification says; the challenger's revision."""
        running(self.registry, self.model, "r4", order="4")
        spec = {"canary": {"share": 0.2, "minutes": minutes}}
        self.registry.advance(self.model, "r4", "RUNNING", allowed=["RUNNING"], spec=spec)
        seen = self.alias()["rev"]
        alias, stands = self.registry.challenge_by_gate(self.model, 3, "4", "Not worse.", seen_rev=seen, run="r4")
        assert stands and alias
        return int(alias["rev"])

    def counted(self, alias: str, rev: int, counts: Item, window: str = health.ALL) -> None:
        key = {"pk": health.partition(self.model), "sk": health.key(alias, rev, window)}
        self.registry.table.put({**key, **counts})

    def told(self, event: str, alias: str, rev: int, window: str = health.ALL) -> Item | None:
        detail = {"model": self.model, "alias": alias, "version": 0, "rev": rev, "window": window}
        return settle(event, detail, self.registry, self.bus)  # type: ignore[arg-type]


def test_the_gate_makes_a_challenger_where_the_specification_asks_for_a_canary(
    registry: Registry, artifacts: Storage, new_model: Any, tmp_path: Path
) -> None:
    model, bus = new_model(), Told()
    spec = Spec(canary=Canary(share=0.2)).to_json()
    table = factory.columns(200, seed=9)
    truth = truth_of(factory.make(tmp_path / "truth"), table)
    for number in (1, 2):
        run, prefix = f"r{number}", f"bundles/{model}/r{number}/"
        artifacts.write_folder(bundle(tmp_path / run, truth=truth, table=table, weaken=1 - 0.01 * number), prefix)
        registry.receive(model, run, str(number), {"key": "k", "etag": run})
        registry.advance(model, run, "PREPARED", allowed=["RECEIVED"], spec=spec)
        registry.lease(model, run, "job", "attempt")
        registry.register(model, run, 1, f"f{number}", {"bundle": prefix, "order": str(number), "task": "binary"})
        for _ in range(2):
            decision = decide(model, run, registry, artifacts, bus)["decision"]  # type: ignore[arg-type]
    alias = registry.alias(model)
    assert alias and alias["version"] == 1, "the first version has nobody to challenge"
    assert (decision["promoted"], decision["code"]) == (False, "CANARY") and "20%" in decision["message"]
    challenger = alias["challenger"]
    assert (challenger["version"], challenger["share"], challenger["decides"], challenger["live"]) == (
        2,
        0.2,
        "r2",
        True,
    )
    assert [name for name, _ in bus.events] == ["ModelPromoted"] * 2 + ["ModelChallenged"] * 2
    assert len(registry.moves(model)) == 2


@pytest.fixture
def world(registry: Registry, new_model: Any) -> World:
    return World(registry, new_model())


def test_a_champion_that_broke_a_limit_is_taken_back_and_everybody_is_told(world: World) -> None:
    rev = world.alias()["watch"]["rev"]
    world.counted("champion", rev, BROKEN)
    for _ in range(2):
        moved = world.told("HealthBroken", "champion", rev)
        assert moved and (moved["version"], moved["by"]) == (1, "health") and "60 of 100" in moved["why"]
    assert len(world.registry.moves(world.model)) == 3
    assert {name for name, _ in world.bus.events} == {"ModelRolledBack"}
    detail = world.bus.events[0][1]
    assert (detail["version"], detail["to"]) == (2, 1) and "60 of 100" in detail["why"]
    decision = world.registry.version(world.model, 2)["decision"]
    assert (decision["promoted"], decision["code"]) == (False, "ROLLED_BACK")


def test_a_bad_minute_is_enough(world: World) -> None:
    rev = world.alias()["watch"]["rev"]
    world.counted("champion", rev, {"requests": 1_000_000, "errors": 60})
    world.counted("champion", rev, BROKEN, "2026-11-22T21:30")
    assert world.told("HealthBroken", "champion", rev) is None
    assert world.told("HealthBroken", "champion", rev, "2026-11-22T21:30")


@pytest.mark.parametrize("event", ["HealthBroken", "CanaryEnded"])
def test_an_event_that_the_counts_do_not_bear_out_moves_nothing(world: World, event: str) -> None:
    rev = world.canary(minutes=60)
    world.counted("challenger", rev, GOOD)
    before = world.alias()
    assert world.told(event, "challenger", rev) is None
    assert world.told("HealthBroken", "champion", before["watch"]["rev"]) is None
    assert world.alias() == before and not world.bus.events


def test_a_challenger_that_broke_a_limit_is_stopped_and_its_run_says_why(world: World) -> None:
    rev = world.canary()
    world.counted("challenger", rev, BROKEN)
    for _ in range(2):
        alias = world.told("HealthBroken", "challenger", rev)
        assert alias and alias["version"] == 2 and not alias["challenger"]["live"]
    decision = world.registry.run(world.model, "r4")["decision"]
    assert (decision["promoted"], decision["code"]) == (False, "CANARY_BROKEN") and "60 of 100" in decision["message"]
    assert world.told("CanaryEnded", "challenger", rev) is None, "too late"
    assert len(world.registry.moves(world.model)) == 4


def test_a_challenger_that_lasted_becomes_champion_and_is_watched_again(world: World) -> None:
    rev = world.canary()
    world.counted("challenger", rev, GOOD)
    for _ in range(2):
        alias = world.told("CanaryEnded", "challenger", rev)
        assert alias and (alias["version"], alias["by"], alias["order"]) == (3, "canary", "4")
    assert alias["challenger"]["live"] is False
    assert world.registry.run(world.model, "r4")["decision"]["code"] == "CANARY_PASSED"
    assert {name for name, _ in world.bus.events} == {"ModelPromoted"}
    assert len(world.registry.moves(world.model)) == 4


def test_a_pin_keeps_the_challenger_out_and_ends_it(world: World) -> None:
    rev = world.canary()
    world.counted("challenger", rev, GOOD)
    world.registry.promote(world.model, 2, by="ann", why="audit")
    alias = world.told("CanaryEnded", "challenger", rev)
    assert alias and alias["version"] == 2 and not alias["challenger"]["live"]
    assert "ann pinned" in alias["challenger"]["why"]


def test_a_challenger_before_its_time_or_without_enough_requests_waits(world: World) -> None:
    rev = world.canary()
    world.counted("challenger", rev, {"requests": 49, "errors": 0})
    assert world.told("CanaryEnded", "challenger", rev) is None
    assert world.alias()["challenger"]["live"] and world.alias()["challenger"]["until"] <= time.time()


def test_a_challenger_that_a_person_stopped_is_not_said_to_be_broken(world: World) -> None:
    rev = world.canary()
    world.counted("challenger", rev, BROKEN)
    world.registry.stop_challenger(world.model, by="ann", why="mine")
    assert world.told("HealthBroken", "challenger", rev) is None and not world.bus.events
