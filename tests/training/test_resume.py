"""A search interrupted anywhere and gone on with ends with the very bits of one that was not."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tests.training.populations import Problem, same

from tidemill.training import batches
from tidemill.training.checkpoint import Interrupted, Keeper
from tidemill.training.search import Found

Make = Callable[..., Problem]
MOMENTS = 12


class StopAt:
    """stop() that counts how often it was asked, and says yes from a number on."""

    def __init__(self, at: float = float("inf"), error: type[Exception] | None = None) -> None:
        self.asked, self.at, self.error = 0, at, error

    def __call__(self) -> bool:
        self.asked += 1
        if self.asked > self.at and self.error:
            raise self.error
        return self.asked > self.at


class Lost(Exception):
    """The machine goes away without a word."""


def keeper(folder: Path, every_s: float = 1e9) -> Keeper:
    return Keeper(folder, "search", every_s)


def check_equal(left: Found, right: Found) -> None:
    assert [(part.id, part.kind, part.share) for part in left.parts] == [
        (part.id, part.kind, part.share) for part in right.parts
    ]
    assert same([part.weights for part in left.parts], [part.weights for part in right.parts])
    assert left.answer_nk.tobytes() == right.answer_nk.tobytes()
    assert left.record == right.record


@pytest.fixture(scope="module")
def case(make_problem: Make) -> Problem:
    """All families, rungs, dropout."""
    fixed = (("width", 8), ("dropout", 0.2))
    return make_problem("binary").changed(epochs=6, patience=6, rung_epochs=2, fixed=fixed)


@pytest.fixture(scope="module")
def folded(case: Problem) -> Problem:
    """Folds: the second rung begins anew in all of them."""
    return case.changed(folds=3, families=("linear", "tabm"), epochs=4)


@pytest.fixture(scope="module")
def straight(case: Problem) -> tuple[Found, int]:
    stop = StopAt()
    return case.found(stop=stop), stop.asked


@pytest.fixture(scope="module")
def straight_folded(folded: Problem) -> tuple[Found, int]:
    stop = StopAt()
    return folded.found(stop=stop), stop.asked


def test_there_are_moments_enough_to_choose_from(straight: tuple[Found, int]) -> None:
    assert straight[1] >= MOMENTS


@pytest.mark.parametrize("turn", range(MOMENTS))
def test_interrupted_at_any_moment_and_resumed_it_ends_the_same(
    case: Problem, straight: tuple[Found, int], tmp_path: Path, turn: int
) -> None:
    expected, asked = straight
    at = random.Random(0).sample(range(asked), MOMENTS)[turn]
    with pytest.raises(Interrupted) as caught:
        case.found(keeper=keeper(tmp_path), stop=StopAt(at))
    assert caught.value.folder is not None
    check_equal(case.found(keeper=keeper(tmp_path)), expected)


@pytest.mark.parametrize("turn", range(4))
def test_interrupted_between_and_within_folds_it_ends_the_same(
    folded: Problem, straight_folded: tuple[Found, int], tmp_path: Path, turn: int
) -> None:
    expected, asked = straight_folded
    at = random.Random(1).sample(range(asked), 4)[turn]
    with pytest.raises(Interrupted):
        folded.found(keeper=keeper(tmp_path), stop=StopAt(at))
    check_equal(folded.found(keeper=keeper(tmp_path)), expected)


def test_interrupted_at_every_chance_it_ends_the_same(
    folded: Problem, straight_folded: tuple[Found, int], tmp_path: Path
) -> None:
    expected, asked = straight_folded
    for _ in range(asked - 1):
        with pytest.raises(Interrupted):
            folded.found(keeper=keeper(tmp_path), stop=StopAt(1))
    check_equal(folded.found(keeper=keeper(tmp_path), stop=StopAt(1)), expected)


@pytest.mark.parametrize("turn", range(4))
def test_lost_without_a_word_it_goes_on_from_what_was_saved_last(
    case: Problem, straight: tuple[Found, int], tmp_path: Path, turn: int
) -> None:
    expected, asked = straight
    at = random.Random(2).sample(range(3, asked), 4)[turn]
    with pytest.raises(Lost):
        case.found(keeper=keeper(tmp_path, every_s=0.0), stop=StopAt(at, Lost))
    again = StopAt()
    check_equal(case.found(keeper=keeper(tmp_path), stop=again), expected)
    assert again.asked == asked - at


def test_interrupted_within_an_epoch_it_ends_the_same(
    make_problem: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "CHUNK_WORK", 1.0)
    case = make_problem("binary").changed(families=("linear",), epochs=2, rung_epochs=2)
    stop = StopAt()
    expected = case.found(stop=stop)
    steps = stop.asked // 2
    assert steps > 2
    for at in (1, steps - 1, steps + 2):
        folder = tmp_path / str(at)
        with pytest.raises(Interrupted):
            case.found(keeper=keeper(folder), stop=StopAt(at))
        check_equal(case.found(keeper=keeper(folder)), expected)


def test_a_finished_search_goes_on_from_its_end(case: Problem, straight: tuple[Found, int], tmp_path: Path) -> None:
    case.found(keeper=keeper(tmp_path, every_s=0.0))
    again = StopAt()
    check_equal(case.found(keeper=keeper(tmp_path), stop=again), straight[0])
    assert again.asked == 0


def test_another_configuration_does_not_go_on_from_these(case: Problem, tmp_path: Path) -> None:
    some = case.changed(families=("linear",))
    some.found(keeper=Keeper(tmp_path, some.config.fingerprint(), 0.0))
    other = some.changed(seed=1)
    stop: Any = StopAt()
    other.found(keeper=Keeper(tmp_path, other.config.fingerprint(), 0.0), stop=stop)
    assert stop.asked == 6
