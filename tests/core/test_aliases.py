"""Champion and challenger on the deployed table: who may move them when, and what is remembered of it."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

import pytest
from tests.core.test_registry import by_gate, running, three_versions, together

from tidemill.core.aliases import HEALTH, live_challenger
from tidemill.core.errors import Conflict, NoChampion, NotFound, UnknownModel
from tidemill.core.history import serving_at, told
from tidemill.core.registry import Registry

pytestmark = pytest.mark.stack


@pytest.fixture
def model(registry: Registry, new_model: Any) -> str:
    """A model with three versions; the second serves, put there by the gate after the first."""
    name: str = new_model()
    three_versions(registry, name)
    assert by_gate(registry, name, 1) and by_gate(registry, name, 2)
    return name


def champion(registry: Registry, model: str) -> Any:
    alias = registry.alias(model)
    assert alias is not None
    return alias


def test_a_challenger_stands_beside_the_champion_and_is_carried_along(registry: Registry, model: str) -> None:
    alias = registry.challenge(model, 3, share=0.1, shadow=False, by="ann", why="new recipe")
    assert (alias["version"], alias["by"]) == (2, "gate"), "the champion is told of as before"
    challenger = live_challenger(alias)
    assert challenger and (challenger["version"], challenger["bundle"]) == (3, f"bundles/{model}/r3/")
    registry.promote(model, 1, by="ann", why="calmer", pin=False)
    assert live_challenger(champion(registry, model)) == challenger


def test_a_challenger_that_becomes_champion_challenges_no_more(registry: Registry, model: str) -> None:
    registry.challenge(model, 3, share=0.1, shadow=False, by="ann", why="")
    assert by_gate(registry, model, 3)
    assert live_challenger(champion(registry, model)) is None


def test_a_later_upload_that_becomes_champion_ends_an_earlier_challenger(registry: Registry, model: str) -> None:
    registry.challenge(model, 1, share=0.1, shadow=False, by="ann", why="")
    assert by_gate(registry, model, 3)
    ended = champion(registry, model)["challenger"]
    assert (ended["live"], ended["by"]) == (False, "gate") and "Version 3" in ended["why"]


def test_asking_twice_for_a_canary_or_its_end_changes_nothing(registry: Registry, model: str) -> None:
    for _ in range(3):
        registry.challenge(model, 3, share=0.1, shadow=False, by="ann", why="try")
    for _ in range(3):
        registry.stop_challenger(model, by="ann", why="enough")
    assert [told(move)["alias"] for move in registry.moves(model)] == ["challenger"] * 2 + ["champion"] * 2
    assert [told(move)["why"] for move in registry.moves(model)[:2]] == ["enough", "try"]


def test_what_cannot_challenge_is_refused_with_its_reason(registry: Registry, model: str, new_model: Any) -> None:
    asked: dict[str, Any] = {"share": 0.1, "shadow": False, "by": "ann", "why": ""}
    with pytest.raises(Conflict, match="Version 2 is the champion"):
        registry.challenge(model, 2, **asked)
    with pytest.raises(NotFound, match="no version 9"):
        registry.challenge(model, 9, **asked)
    with pytest.raises(UnknownModel):
        registry.challenge(new_model(), 1, **asked)
    with pytest.raises(Conflict, match="no challenger"):
        registry.stop_challenger(model, by="ann", why="")
    other = new_model()
    three_versions(registry, other)
    with pytest.raises(NoChampion):
        registry.challenge(other, 1, **asked)


def test_of_sixteen_people_who_want_a_canary_the_last_one_has_it_and_no_move_is_lost(
    registry: Registry, model: str
) -> None:
    def one(index: int) -> Any:
        return registry.challenge(model, 3, share=index / 100, shadow=False, by=f"person {index}", why="")

    assert not [item for item in together(8, one) if isinstance(item, Exception)]
    moves = registry.moves(model)
    assert [move["rev"] for move in moves] == list(range(10, 0, -1))
    assert {told(move)["by"] for move in moves[:8]} == {f"person {index}" for index in range(8)}
    assert told(moves[0])["by"] == champion(registry, model)["challenger"]["by"]


def test_a_new_champion_is_watched_and_one_that_a_person_pinned_is_not(registry: Registry, model: str) -> None:
    watch = champion(registry, model)["watch"]
    assert watch["instead"]["version"] == 1 and watch["limits"]["min_requests"] == 50
    registry.promote(model, 3, by="ann", why="")
    assert "watch" not in champion(registry, model)


def test_health_takes_a_watched_champion_back_once_and_never_again(registry: Registry, model: str) -> None:
    rev = champion(registry, model)["watch"]["rev"]
    for _ in range(3):
        back = registry.take_back(model, rev, "It failed.")
        assert back and (back["version"], back["by"], back["pinned"], back["why"]) == (1, HEALTH, False, "It failed.")
    assert [move["version"] for move in registry.moves(model)] == [1, 2, 1]
    assert not by_gate(registry, model, 2), "the upload that broke does not come back by itself"
    with pytest.raises(Conflict, match="no earlier version"):
        registry.rollback(model, by="ann", why="")
    assert by_gate(registry, model, 3), "a later one may"
    assert registry.take_back(model, rev, "It failed.") is None


def test_health_does_not_move_what_a_person_pinned(registry: Registry, model: str) -> None:
    rev = champion(registry, model)["watch"]["rev"]
    registry.promote(model, 2, by="ann", why="I know")
    assert registry.take_back(model, rev, "It failed.") is None
    assert champion(registry, model)["version"] == 2


def test_a_challenger_by_the_gate_has_the_share_its_specification_names(registry: Registry, model: str) -> None:
    running(registry, model, "r4", order="4")
    registry.advance(model, "r4", "RUNNING", allowed=["RUNNING"], spec={"canary": {"share": 0.2, "minutes": 5}})
    rev = champion(registry, model)["rev"]
    for _ in range(2):
        alias, stands = registry.challenge_by_gate(model, 3, "4", "Not worse.", seen_rev=rev, run="r4")
        assert stands and alias and alias["challenger"]["share"] == 0.2 and alias["challenger"]["promotes"]
    assert not registry.challenge_by_gate(model, 1, "2.5", "", seen_rev=rev + 1, run="r1")[1], "an earlier upload"


def test_a_move_whose_writer_ended_before_the_journal_is_journalled_by_the_next(
    registry: Registry, artifacts: Any, model: str
) -> None:
    class Killed(Exception):
        """The process is gone."""

    class Dying:
        """Writes one item, and not the next."""

        def __init__(self) -> None:
            self.writes = [artifacts.write_json]

        def write_json(self, key: str, value: Any) -> None:
            if not self.writes:
                raise Killed
            self.writes.pop()(key, value)

    for journal, wanted in ((Dying(), pytest.raises(Killed)), (artifacts, nullcontext())):
        registry.journal = journal
        with wanted:
            registry.promote(model, 1, by="ann", why="")
    kept = [artifacts.read_json(f"registry/models/{model}/aliases/{rev:06d}.json") for rev in (1, 2, 3, 4)]
    assert kept == registry.moves(model)[::-1]


def test_the_history_says_what_stood_at_every_moment(registry: Registry, model: str) -> None:
    registry.challenge(model, 3, share=0.1, shadow=False, by="ann", why="look")
    registry.promote(model, 2, by="bob", why="stay")
    registry.stop_challenger(model, by="ann", why="seen")
    moves = registry.moves(model)
    times = [told(move)["at"] for move in moves]
    assert serving_at(moves, "2020-01-01T00:00:00.000Z") == {"champion": None, "challenger": None}
    now = serving_at(moves, times[0])
    assert now["challenger"] is None
    assert (now["champion"]["version"], now["champion"]["by"], now["champion"]["pinned"]) == (2, "gate", True)
    assert now["champion"]["since"] == told(moves[3])["at"], "the pin moved nothing"
    before = serving_at(moves, times[2])
    assert (before["champion"]["pinned"], before["challenger"]["version"]) == (False, 3)
    assert serving_at(moves, times[-1])["champion"]["version"] == 1
