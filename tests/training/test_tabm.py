"""Numbers become codes that grow, join without a jump, go on in lines, and are what NumPy says they are."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.training.families import bins, tabm
from tidemill.training.families.tabm import BEYOND, LARGE, encode, look

SLOTS = 6  # bins that the arrays have room for
NUMBERS = 8  # numbers encoded at once: one shape for all examples
STEPS = st.lists(st.floats(0.125, 50.0, width=32), min_size=1, max_size=SLOTS)
FIRST = st.floats(-50.0, 50.0, width=32)
X = st.lists(st.floats(-400.0, 400.0, width=32), min_size=NUMBERS, max_size=NUMBERS)


def edges_of(first: float, steps: list[float]) -> Any:
    return np.cumsum([first, *steps]).astype(np.float32)


def encoded(x: Any, edges: Any) -> Any:
    """The codes [b, t] of numbers, for the bins that are real."""
    filled = np.full((1, SLOTS + 1), BEYOND, np.float32)
    filled[0, : len(edges)] = edges
    code_bmt = np.asarray(encode(np.asarray(x, np.float32)[:, None], filled))
    assert not code_bmt[:, 0, len(edges) - 1 :].any()
    return code_bmt[:, 0, : len(edges) - 1]


def by_hand(x: float, edges: Any) -> list[float]:
    """The definition: the place within each bin, held to 0 and 1 but for the open ends."""
    edges, last = edges.astype(float), len(edges) - 2
    places = [(x - low) / (high - low) for low, high in pairwise(edges)]
    return [
        min(max(place, -LARGE if at == 0 else 0.0), LARGE if at == last else 1.0) for at, place in enumerate(places)
    ]


@settings(deadline=None)
@given(x=X, first=FIRST, steps=STEPS)
def test_codes_are_what_numpy_says(x: list[float], first: float, steps: list[float]) -> None:
    edges = edges_of(first, steps)
    assert np.allclose(encoded(x, edges), [by_hand(value, edges) for value in x], rtol=1e-3, atol=1e-3)


@settings(deadline=None)
@given(x=X, first=FIRST, steps=STEPS)
def test_codes_never_fall_as_numbers_grow(x: list[float], first: float, steps: list[float]) -> None:
    code_bt = encoded(sorted(x), edges_of(first, steps))
    assert (np.diff(code_bt, axis=0) >= 0).all()


@settings(deadline=None)
@given(first=FIRST, steps=STEPS)
def test_at_an_edge_the_code_is_a_thermometer(first: float, steps: list[float]) -> None:
    edges = edges_of(first, steps)
    at = np.resize(np.arange(len(edges)), NUMBERS)
    below_bt = at[:, None] > np.arange(len(edges) - 1)
    assert np.allclose(encoded(edges[at], edges), below_bt, atol=1e-3)


@settings(deadline=None)
@given(first=FIRST, steps=STEPS)
def test_codes_join_without_a_jump(first: float, steps: list[float]) -> None:
    edges = edges_of(first, steps)
    at = edges[np.resize(np.arange(len(edges)), NUMBERS)]
    near_bt = encoded(at + 1e-3, edges) - encoded(at - 1e-3, edges)
    assert np.abs(near_bt).max() <= 3e-3 / np.diff(edges).min() + 1e-4


def test_far_out_numbers_go_on_in_lines_on_both_sides() -> None:
    edges = np.array([0.0, 1.0, 3.0], np.float32)
    code_bt = encoded([-10, -20, -30, 0, 3, 13, 23, 33], edges)
    assert code_bt[:, 0].tolist() == [-10, -20, -30, 0, 1, 1, 1, 1]
    assert code_bt[:, 1].tolist() == [0, 0, 0, 0, 1, 6, 11, 16]


def test_even_the_farthest_numbers_have_finite_codes() -> None:
    code_bt = encoded([3e38, -3e38, 1e30, -1e30, 0, 1, 2, 3], np.array([0.0, 1.0, 3.0], np.float32))
    assert np.isfinite(code_bt).all()
    assert np.abs(code_bt).max() == LARGE


def test_flags_and_levels_are_no_numbers() -> None:
    rng = np.random.default_rng(0)
    level, number = rng.integers(0, tabm.FEW, 300), rng.normal(size=300)
    x_nf = np.stack([level, number, np.zeros(300), number > 0, number**3], 1).astype(np.float32)
    seen = look(x_nf, None, 2)
    assert seen.numbers == (1, 4)
    assert seen.edges_mt.shape == (2, tabm.BINS + 1)


def test_edges_rise_from_the_least_to_the_greatest_row_and_are_filled_up_with_none() -> None:
    rng = np.random.default_rng(0)
    x_nf = np.stack([rng.normal(size=400), rng.integers(0, 6, 400), rng.exponential(size=400) ** 4], 1)
    x_nf = x_nf.astype(np.float32)
    y_n = (x_nf[:, 0] > 0.3).astype(int)
    for target_n in (None, y_n):
        for edges, x_n in zip(look(x_nf, target_n, 2).edges_mt, x_nf.T, strict=True):
            real = edges[edges < BEYOND]
            assert (np.diff(real) > 0).all()
            assert (real[0], real[-1]) == (x_n.min(), x_n.max())
            assert set(edges[len(real) :].tolist()) <= {BEYOND}
            assert 2 <= len(real) <= len(edges)


def test_a_table_without_numbers_is_seen_too() -> None:
    seen = look(np.zeros((50, 3), np.float32), None, 2)
    assert seen.numbers == ()
    assert tabm.net(3, 2, seen, 2, 8).init(np.random.default_rng(0), 8, seen)["edges"].shape == (0, tabm.BINS + 1)


# --- where numbers are cut --------------------------------------------------------------------------------------------


@settings(deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(20, 400), most=st.sampled_from([2, 8, 32]))
def test_there_are_never_more_edges_than_room(seed: int, rows: int, most: int) -> None:
    rng = np.random.default_rng(seed)
    x_n = np.round(rng.normal(size=rows), int(rng.integers(0, 4))).astype(np.float32)
    for y_n, classes in ((None, 2), (rng.integers(0, 3, rows), 3), (rng.normal(size=rows), 1)):
        edges = bins.edges(x_n, y_n, classes, most)
        assert len(edges) <= most + 1
        assert (np.diff(edges) > 0).all()
        assert (edges[0], edges[-1]) == (x_n.min(), x_n.max())


@pytest.mark.parametrize("classes", [1, 2, 3])
def test_a_step_of_the_target_is_cut_where_it_is(classes: int) -> None:
    x_n = np.random.default_rng(0).uniform(0, 1, 1000).astype(np.float32)
    step_n = (x_n > 0.3137).astype(int)
    y_n = step_n * (classes - 1) if classes > 1 else 5.0 + step_n
    assert np.abs(bins.target_cuts(x_n, y_n, classes, 8) - 0.3137).min() < 0.01


@pytest.mark.parametrize("classes", [1, 2])
def test_a_target_that_does_not_change_gets_no_cut(classes: int) -> None:
    x_n = np.random.default_rng(0).uniform(0, 1, 1000).astype(np.float32)
    y_n = np.zeros(1000, int) if classes > 1 else np.full(1000, 7.0)
    assert len(bins.target_cuts(x_n, y_n, classes, 8)) == 0
    assert np.array_equal(bins.edges(x_n, y_n, classes, 8), bins.quantiles(x_n, 8))


def test_a_class_of_few_rows_known_by_a_threshold_far_out_gets_its_cut() -> None:
    """Beside a common class with many steps of its own, which would use up all cuts by rows alone."""
    rng = np.random.default_rng(0)
    x_n = rng.uniform(0, 1, 8000).astype(np.float32)
    y_n = (np.floor(x_n * 12) % 2).astype(int)
    y_n[x_n > 0.9973] = 2
    assert np.sum(y_n == 2) < 30
    assert np.abs(bins.target_cuts(x_n, y_n, 3, 4) - 0.9973).min() < 0.001


def test_classes_of_fewer_rows_than_a_leaf_weigh_nothing() -> None:
    x_n = np.arange(60, dtype=np.float32)
    assert len(bins.target_cuts(x_n, np.arange(60) // (bins.LEAF_ROWS - 1), 9, 8)) == 0
