"""Sizes of error are positive, follow the answer, and are the same in NumPy, in JAX and in the exported file."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.training import export, spread
from tidemill.training.spread import Spread

SEEDS = st.integers(0, 2**32 - 1)
ROWS = st.integers(1, 600)


def errors(seed: int, rows: int, slope: float = 0.3) -> tuple[Any, Any]:
    """Answers and errors that grow with them."""
    rng = np.random.default_rng(seed)
    value_n = rng.uniform(10, 100, rows)
    return value_n, slope * value_n * rng.normal(size=rows)


@settings(deadline=None)
@given(seed=SEEDS, rows=ROWS)
def test_sizes_are_positive_and_no_larger_than_the_largest_error(seed: int, rows: int) -> None:
    value_n, error_n = errors(seed, rows)
    fitted = spread.fit(value_n, error_n)
    sizes = fitted.of(np.linspace(-1e4, 1e4, 201))
    assert sizes.min() > 0
    assert sizes.max() <= np.abs(error_n).max() * (1 + 1e-9)
    assert (np.diff(fitted.answers) > 0).all()


@settings(deadline=None)
@given(seed=SEEDS, rows=ROWS, factor=st.floats(1e-3, 1e3), shift=st.floats(-1e3, 1e3))
def test_sizes_have_the_targets_unit(seed: int, rows: int, factor: float, shift: float) -> None:
    value_n, error_n = errors(seed, rows)
    at_n = np.linspace(0, 120, 7)
    here = spread.fit(value_n, error_n).of(at_n)
    there = spread.fit(factor * value_n + shift, factor * error_n).of(factor * at_n + shift)
    assert there == pytest.approx(factor * here, rel=1e-4)


@settings(deadline=None, max_examples=50)
@given(seed=SEEDS, rows=st.integers(200, 600))
def test_numpy_and_jax_give_the_same_sizes(seed: int, rows: int) -> None:
    value_n, error_n = errors(seed, rows)
    fitted = spread.fit(value_n, error_n)
    at_b = np.random.default_rng(seed).uniform(-50, 200, 64).astype(np.float32)
    assert np.allclose(np.asarray(fitted.apply(at_b[:, None]))[:, 0], fitted.of(at_b), rtol=1e-4)


def test_the_exported_sizes_are_the_same_too() -> None:
    fitted = spread.fit(*errors(0, 500))
    assert len(fitted.answers) > 2
    model = export.to_onnx(fitted.apply, {"value": "batch, 1"}, ("spread",))
    for size in (1, 3, 64):
        value_b1 = np.linspace(-50, 200, size, dtype=np.float32)[:, None]
        assert export.difference(model, fitted.apply, [value_b1])["spread"] <= 1e-4


def test_dear_things_are_missed_by_more() -> None:
    value_n, error_n = errors(1, 20_000, slope=0.2)
    fitted = spread.fit(value_n, error_n)
    for value in (25.0, 50.0, 85.0):
        mean_absolute = 0.2 * value * (2 / np.pi) ** 0.5
        assert float(fitted.of(np.array([value]))[0]) == pytest.approx(mean_absolute, rel=0.15)
    assert (np.diff(fitted.sizes) > 0).all()


def test_even_errors_have_an_even_size() -> None:
    rng = np.random.default_rng(0)
    fitted = spread.fit(rng.uniform(size=20_000), rng.normal(size=20_000))
    assert max(fitted.sizes) / min(fitted.sizes) < 1.1


def test_beyond_the_answers_seen_the_size_stays_as_at_the_end() -> None:
    fitted = Spread((1.0, 2.0, 4.0), (0.5, 1.0, 3.0))
    assert fitted.of(np.array([-9.0, 1.0, 1.5, 2.0, 3.0, 4.0, 99.0])).tolist() == [0.5, 0.5, 0.75, 1, 2, 3, 3]


def test_equal_answers_and_errors_of_nothing_have_a_size() -> None:
    flat = spread.fit(np.full(500, 7.0), np.ones(500))
    assert (flat.answers, flat.sizes) == ((7.0,), (1.0,))
    assert np.asarray(flat.apply(np.zeros((3, 1), np.float32))).tolist() == [[1.0]] * 3
    assert min(spread.fit(np.arange(100.0), np.zeros(100)).sizes) > 0


def test_a_piece_without_errors_is_not_believed() -> None:
    value_n = np.arange(400.0)
    fitted = spread.fit(value_n, np.where(value_n < 200, 0.0, 10.0))
    assert min(fitted.sizes) >= spread.LEAST * 5
