"""The arithmetic of the comparison of searches: compiling is told apart, medians rule, nobody is flattered."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.benchmarks.searching.costs import (
    AT,
    OURS,
    Taken,
    compiling,
    cost,
    loss,
    ratio,
    times,
    verdict,
    with_compiling,
)
from tests.benchmarks.searching.problem import MOST, settings

BENCHMARKS = Path(__file__).parent
SECONDS = st.floats(1e-3, 1e3)
TURNS = st.lists(SECONDS, min_size=1, max_size=7)


def taken(way: str, count: int, *cpu_s: float) -> list[Taken]:
    """A way's turns, the warm-up first."""
    return [Taken(way, count, turn, spent) for turn, spent in enumerate(cpu_s)]


@given(SECONDS, SECONDS, TURNS)
def test_the_warm_up_changes_no_cost(one: float, other: float, later: list[float]) -> None:
    assert cost(taken(OURS, 8, one, *later), OURS, 8) == cost(taken(OURS, 8, other, *later), OURS, 8)


@given(SECONDS, TURNS)
def test_a_cost_lies_between_the_cheapest_and_the_dearest_turn(first: float, later: list[float]) -> None:
    found = cost(taken(OURS, 8, first, *later), OURS, 8)
    assert found is not None
    assert min(later) / 8 <= found <= max(later) / 8


@given(SECONDS, TURNS, st.integers(1, 200))
def test_a_first_search_costs_its_first_turn_unless_that_was_the_cheaper(
    first: float, later: list[float], count: int
) -> None:
    turns = taken(OURS, count, first, *later)
    warm, whole = cost(turns, OURS, count), with_compiling(turns, OURS, count)
    assert warm is not None
    assert whole == pytest.approx(max(first / count, warm))


def test_a_single_odd_turn_does_not_rule() -> None:
    assert cost(taken(OURS, 1, 9.0, 2.0, 2.0, 500.0), OURS, 1) == 2.0


def test_one_configuration_after_the_other_costs_the_same_for_every_k() -> None:
    turns = taken("loop", 4, 9.0, 8.0)
    assert cost(turns, "loop", 1) == cost(turns, "loop", 128) == 2.0


def test_a_population_has_no_cost_for_a_k_that_was_not_measured() -> None:
    turns = taken(OURS, 8, 9.0, 8.0) + taken(OURS, 32, 9.0, 8.0)
    assert cost(turns, OURS, 128) is None
    assert compiling(turns, OURS, 128) is None
    assert with_compiling(turns, OURS, 128) is None


def test_a_warm_up_alone_measures_nothing() -> None:
    turns = taken(OURS, AT, 9.0)
    assert cost(turns, OURS, AT) is None
    assert compiling(turns, OURS, AT) is None


def test_compiling_is_told_for_all_configurations_together() -> None:
    turns = taken(OURS, 32, 7.0, 1.0, 1.0)
    assert compiling(turns, OURS, 32) == 6.0
    assert with_compiling(turns, OURS, 32) == pytest.approx(7.0 / 32)


def test_times_compares_cost_per_configuration_not_per_turn() -> None:
    turns = taken(OURS, AT, 1.0, 1.0) + taken("loop", 4, 1.0, 1.0)
    assert times(turns, OURS, cost(turns, OURS, AT)) == 1.0
    assert times(turns, "loop", cost(turns, OURS, AT)) == AT / 4


def test_nothing_is_compared_with_what_is_missing() -> None:
    assert times([], "loop", 1.0) is None
    assert ratio(1.0, None) is None


def test_losses_are_compared_on_the_same_configurations() -> None:
    few = Taken("loop", 2, 1, 1.0, (0.1, 0.1))
    many = Taken("loop", 5, 1, 1.0, (0.4, 0.5, 0.6, 0.5, 9.0))
    assert loss([few, many], "loop", 4) == pytest.approx(0.5)
    assert loss([few], "loop", 4) is None


def test_a_target_met_exactly_is_met_and_one_not_measured_is_not() -> None:
    assert "; met" in verdict("cost", 0.03, 0.03, at_most=True)
    assert "; met" in verdict("times", 40.0, 40.0, at_most=False)
    assert "MISSED" in verdict("cost", 0.031, 0.03, at_most=True)
    assert "MISSED" in verdict("times", 39.0, 40.0, at_most=False)
    assert "not measured" in verdict("times", None, 40.0, at_most=False)


@given(st.integers(0, MOST), st.integers(0, MOST))
def test_a_smaller_search_tries_the_first_configurations_of_a_larger_one(one: int, other: int) -> None:
    few, many = sorted((one, other))
    assert settings(many)[:few] == settings(few)


@pytest.mark.slow
def test_the_benchmark_trains_by_the_code_that_is_shipped() -> None:
    """In a process of its own, as the benchmark does: a change of the training loop must not be found out there."""
    command = [sys.executable, "-c", "from searching import ours; print(len(ours.together(2)()))"]
    folders = [BENCHMARKS, *(BENCHMARKS.parents[1] / name for name in ("layers/core", "layers/training"))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, folders))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "2"), done.stderr[-2000:]
