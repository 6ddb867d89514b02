"""The judge of the comparison agrees with scikit-learn, and with what the words mean."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics
from tests.benchmarks.tables.scores import area, calibration, log_loss, scores

SEEDS = st.integers(0, 2**32)


def chances(seed: int, n: int, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes, all of which occur, and probabilities, some of them equal."""
    chance = np.random.default_rng(seed)
    y_n = np.concatenate([np.arange(k), chance.integers(0, k, n - k)])
    p_nk = np.round(chance.dirichlet(np.ones(k), n), 1) + 0.05
    return y_n, p_nk / p_nk.sum(1, keepdims=True)


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_binary_errors_are_those_of_scikit_learn(seed: int) -> None:
    y_n, p_nk = chances(seed, 60, 2)
    found = scores("binary", y_n, p_nk)
    assert found["error"] == pytest.approx(1 - metrics.roc_auc_score(y_n, p_nk[:, 1]))
    assert found["log_loss"] == pytest.approx(metrics.log_loss(y_n, p_nk))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(y_n, p_nk.argmax(1)))


@settings(deadline=None, max_examples=30)
@given(SEEDS)
def test_multiclass_and_regression_errors_are_those_of_scikit_learn(seed: int) -> None:
    y_n, p_nk = chances(seed, 60, 4)
    assert scores("multiclass", y_n, p_nk)["error"] == pytest.approx(metrics.log_loss(y_n, p_nk))
    value_n, guess_n = np.random.default_rng(seed).normal(size=(2, 60))
    assert scores("regression", value_n, guess_n)["error"] == pytest.approx(
        metrics.root_mean_squared_error(value_n, guess_n)
    )


def test_a_certain_mistake_costs_much_but_not_endlessly() -> None:
    wrong = np.array([[1.0, 0.0]])
    assert 15 < log_loss(np.array([1]), wrong) < 17
    assert log_loss(np.array([0]), wrong) < 1e-6


def test_probabilities_that_sum_to_something_else_gain_nothing() -> None:
    y_n, p_nk = chances(0, 60, 3)
    assert log_loss(y_n, p_nk) == pytest.approx(log_loss(y_n, p_nk * 0.9))


def test_scores_without_order_have_half_the_area() -> None:
    assert area(np.array([True, False, True]), np.zeros(3)) == 0.5


def test_what_cannot_be_judged_is_refused() -> None:
    with pytest.raises(ValueError, match="one class"):
        area(np.array([True, True]), np.zeros(2))
    with pytest.raises(ValueError, match="no number"):
        scores("regression", np.zeros(2), np.array([0.0, np.nan]))


@settings(deadline=None, max_examples=20)
@given(SEEDS)
def test_probabilities_that_are_right_err_by_the_floor_and_bent_ones_by_more(seed: int) -> None:
    chance = np.random.default_rng(seed)
    p_n = chance.beta(0.7, 1.5, 3000)
    y_n = (chance.random(3000) < p_n).astype(int)
    right = calibration(y_n, np.stack([1 - p_n, p_n], 1), seed)
    bent_n = p_n**3
    bent = calibration(y_n, np.stack([1 - bent_n, bent_n], 1), seed)
    assert right["ece"] < right["ece_floor"] + 0.02
    assert bent["ece"] > bent["ece_floor"] + 0.05
