"""Intervals and sets hold the truth as often as they promise, and promise nothing that too few rows could show."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core import conformal
from tidemill.core.conformal import LEVELS, interval_factors, intervals, set_thresholds, sets

Array = np.ndarray[Any, Any]
REPEATS = 400


def table(rows: int, random: np.random.Generator) -> tuple[Array, Array, Array]:
    """Truth, answer and spread of rows whose noise grows with the answer; the answer is biased, too."""
    value_n = random.uniform(1, 10, rows)
    return value_n + random.standard_t(4, rows) * value_n / 5 + 0.5, value_n, value_n / 3


@pytest.mark.parametrize("rows", [20, 99, 500])
@pytest.mark.parametrize("normalised", [True, False])
def test_intervals_cover_new_rows_as_often_as_they_say(rows: int, normalised: bool) -> None:
    random, hits = np.random.default_rng(rows), dict.fromkeys(LEVELS, 0)
    for _ in range(REPEATS):
        y_n, value_n, spread_n = table(rows + 1, random)
        spread = spread_n if normalised else None
        factors = interval_factors(y_n[:-1], value_n[:-1], None if spread is None else spread[:-1])
        for level, factor in factors.items():
            if factor is not None:
                low_n, high_n = intervals(value_n[-1:], None if spread is None else spread[-1:], factor)
                hits[level] += int(low_n[0] <= y_n[-1] <= high_n[0])
    for level in conformal.offered(factors):
        promised = math.ceil((rows + 1) * level - 1e-9) / (rows + 1)  # exact for errors without ties
        noise = math.sqrt(promised * (1 - promised) / REPEATS)
        assert abs(hits[level] / REPEATS - promised) <= 3.5 * noise + 1e-9, level


@pytest.mark.parametrize("k", [2, 6])
def test_sets_cover_new_rows_as_often_as_they_say(k: int) -> None:
    random, hits = np.random.default_rng(k), dict.fromkeys(LEVELS, 0)
    for _ in range(REPEATS):
        p_nk = random.dirichlet(np.ones(k), 200)
        y_n = (p_nk.cumsum(1) < random.random((200, 1))).sum(1).clip(0, k - 1)
        said_nk = p_nk**3 / (p_nk**3).sum(1, keepdims=True)  # overconfident: the promise must hold nevertheless
        for level, threshold in set_thresholds(y_n[:-1], said_nk[:-1]).items():
            assert threshold is not None
            hits[level] += int(sets(said_nk[-1:], threshold, never_empty=False)[0, y_n[-1]])
    for level in LEVELS:
        promised = math.ceil(200 * level - 1e-9) / 200
        noise = math.sqrt(promised * (1 - promised) / REPEATS)
        assert abs(hits[level] / REPEATS - promised) <= 3.5 * noise + 1e-9, level


def test_few_rows_promise_no_high_levels() -> None:
    y_n, value_n, spread_n = table(60, np.random.default_rng(0))
    for rows, most in ((0, None), (1, 0.5), (3, 0.5), (4, 0.8), (8, 0.8), (9, 0.9), (18, 0.9), (19, 0.95), (60, 0.95)):
        offered = conformal.offered(interval_factors(y_n[:rows], value_n[:rows], spread_n[:rows]))
        assert (offered[-1] if offered else None) == most, rows
    assert conformal.offered(set_thresholds(np.zeros(99, int), np.full((99, 2), 0.5))) == list(LEVELS)


@given(st.integers(1, 300), st.integers(0, 1000))
@settings(max_examples=40, deadline=None)
def test_a_higher_level_is_never_narrower(rows: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    y_n, value_n, spread_n = table(rows, random)
    factors = [factor for factor in interval_factors(y_n, value_n, spread_n).values() if factor is not None]
    assert factors == sorted(factors)
    p_nk = random.dirichlet(np.ones(3), rows)
    kept = [found for found in set_thresholds(random.integers(0, 3, rows), p_nk).values() if found is not None]
    assert kept == sorted(kept, reverse=True)


def test_a_spread_makes_intervals_wide_where_errors_are_large() -> None:
    random = np.random.default_rng(8)
    y_n, value_n, spread_n = table(20_000, random)
    noisy_n = value_n > 9
    covered = []
    for spread in (spread_n, None):
        factor = interval_factors(y_n, value_n, spread)[0.9]
        assert factor is not None
        low_n, high_n = intervals(value_n, spread, factor)
        covered.append(float(((low_n <= y_n) & (y_n <= high_n))[noisy_n].mean()))
    assert covered[0] > covered[1] + 0.05 and covered[0] > 0.85


def test_an_interval_does_not_reach_below_what_cannot_be_nor_leave_its_value_out() -> None:
    low_n, high_n = intervals(np.array([5.0, 1.0, -2.0]), np.array([1.0, 1.0, 1.0]), 3.0, least=0.0)
    assert low_n.tolist() == [2.0, 0.0, -2.0] and high_n.tolist() == [8.0, 4.0, 1.0]


def test_a_set_is_never_empty_unless_asked_to_be() -> None:
    p_nk = np.array([[0.5, 0.3, 0.2], [0.9, 0.06, 0.04]], np.float32)
    assert sets(p_nk, 0.8, never_empty=False).tolist() == [[False] * 3, [True, False, False]]
    assert sets(p_nk, 0.8).tolist() == [[True, False, False]] * 2


def test_a_label_at_the_threshold_is_in_the_set_in_single_precision_too() -> None:
    p_nk = np.random.default_rng(3).dirichlet(np.ones(2), 150).astype(np.float32)
    threshold = set_thresholds(np.zeros(150, int), p_nk)[0.9]
    assert threshold is not None
    assert sets(p_nk, threshold, never_empty=False)[:, 0].sum() == math.ceil(151 * 0.9)


def test_a_spread_of_nothing_divides_nothing() -> None:
    factors = interval_factors(np.array([1.0, 2.0, 3.0]), np.array([1.0, 2.0, 3.0]), np.zeros(3))
    assert factors[0.5] == 0
