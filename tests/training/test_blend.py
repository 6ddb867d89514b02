"""Shares are shares, no blend is worse than the best configuration alone, and what is no number gets nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.training.populations import TASKS

from tidemill.training import blend

NOISES = st.lists(st.floats(0.0, 3.0), min_size=1, max_size=5)
SEEDS = st.integers(0, 2**32 - 1)


def candidates(task: str, noises: list[float], seed: int, rows: int = 150) -> tuple[Any, list[Any]]:
    """A target, and answers to it that miss it by noises of their own."""
    rng = np.random.default_rng(seed)
    if task == "regression":
        y_n = rng.normal(size=rows)
        return y_n, [(y_n + noise * rng.normal(size=rows))[:, None] for noise in noises]
    classes = 2 if task == "binary" else 3
    y_n = rng.integers(0, classes, rows)
    logits = [2 * np.eye(classes)[y_n] + noise * rng.normal(size=(rows, classes)) for noise in noises]
    return y_n, [np.exp(z) / np.exp(z).sum(1, keepdims=True) for z in logits]


def mixed(shares: list[float], answers: list[Any]) -> Any:
    return sum(share * answer for share, answer in zip(shares, answers, strict=True) if share)


@pytest.mark.parametrize("task", TASKS)
@settings(deadline=None)
@given(noises=NOISES, seed=SEEDS)
def test_shares_sum_to_one_and_are_never_worse_than_the_best_alone(task: str, noises: list[float], seed: int) -> None:
    y_n, answers = candidates(task, noises, seed)
    shares = blend.shares_of(task, y_n, answers)
    assert len(shares) == len(answers)
    assert min(shares) >= 0
    assert sum(shares) == pytest.approx(1)
    alone = [blend.loss_of(task, y_n, answer) for answer in answers]
    assert blend.loss_of(task, y_n, mixed(shares, answers)) <= min(alone) * (1 + 1e-12)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("broken", [np.nan, np.inf])
@settings(deadline=None)
@given(noises=NOISES, seed=SEEDS, at=st.integers(0, 5))
def test_what_is_no_number_gets_nothing_and_changes_nothing(
    task: str, broken: float, noises: list[float], seed: int, at: int
) -> None:
    y_n, answers = candidates(task, noises, seed)
    at = min(at, len(answers))
    hurt = answers[0].copy()
    hurt[7] = broken
    shares = blend.shares_of(task, y_n, [*answers[:at], hurt, *answers[at:]])
    assert shares[at] == 0
    assert shares[:at] + shares[at + 1 :] == blend.shares_of(task, y_n, answers)


@pytest.mark.parametrize("task", TASKS)
@settings(deadline=None)
@given(noise=st.floats(0.0, 3.0), seed=SEEDS)
def test_equal_candidates_are_one(task: str, noise: float, seed: int) -> None:
    y_n, answers = candidates(task, [noise], seed)
    assert blend.shares_of(task, y_n, answers * 3) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize("task", TASKS)
def test_on_few_rows_a_plain_model_stays_unless_it_is_beaten_beyond_chance(task: str) -> None:
    few, many = blend.DOUBTED_ROWS - 1, 2 * blend.DOUBTED_ROWS
    stayed = []
    for seed in range(20):
        for rows in (few, many):
            y_n, (plain, *_) = candidates(task, [1.0], seed, rows)
            other = plain + 0.01 * np.random.default_rng(seed).normal(size=plain.shape)
            answers = [plain, np.abs(other) / np.abs(other).sum(1, keepdims=True) if task != "regression" else other]
            if rows == few:
                stayed.append(blend.shares_of(task, y_n, answers, plain=[0]) == [1.0, 0.0])
            else:
                assert blend.shares_of(task, y_n, answers, plain=[0]) == blend.shares_of(task, y_n, answers)
        y_n, answers = candidates(task, [3.0, 0.1], seed, few)
        assert blend.shares_of(task, y_n, answers, plain=[0])[1] > 0.5, "clearly better"
    assert sum(stayed) >= 12, stayed


@pytest.mark.parametrize("task", TASKS)
@settings(deadline=None)
@given(noises=NOISES, seed=SEEDS, rows=st.integers(1, blend.FEW_ROWS - 1))
def test_few_rows_choose_the_best_alone(task: str, noises: list[float], seed: int, rows: int) -> None:
    y_n, answers = candidates(task, noises, seed, rows)
    alone = [blend.loss_of(task, y_n, answer) for answer in answers]
    assert blend.shares_of(task, y_n, answers) == [float(at == int(np.argmin(alone))) for at in range(len(alone))]


def test_two_that_err_independently_are_worth_more_together() -> None:
    y_n, answers = candidates("regression", [1.0, 1.0, 50.0], 0, rows=2000)
    shares = blend.shares_of("regression", y_n, answers)
    assert shares[:2] == pytest.approx([0.5, 0.5], abs=0.05)
    assert shares[2] == 0
    alone = min(blend.loss_of("regression", y_n, answer) for answer in answers)
    assert blend.loss_of("regression", y_n, mixed(shares, answers)) == pytest.approx(alone / 2**0.5, rel=0.05)


def test_without_a_candidate_of_numbers_there_is_no_blend() -> None:
    with pytest.raises(ValueError, match="no configuration"):
        blend.shares_of("binary", np.zeros(200, int), [np.full((200, 2), np.nan)])


@settings(deadline=None)
@given(noises=NOISES, seed=SEEDS, loss=st.sampled_from(["mse", "mae", "huber"]))
def test_shares_are_chosen_by_what_is_watched(noises: list[float], seed: int, loss: str) -> None:
    y_n, answers = candidates("regression", noises, seed)
    weight_n = np.random.default_rng(seed).uniform(0.1, 3, len(y_n))
    shares = blend.shares_of("regression", y_n, answers, loss, weight_n)
    alone = [blend.loss_of("regression", y_n, answer, loss, weight_n) for answer in answers]
    assert blend.loss_of("regression", y_n, mixed(shares, answers), loss, weight_n) <= min(alone) * (1 + 1e-12)


def test_the_loss_is_what_the_record_calls_it() -> None:
    y_n, answer_nk = np.array([1.0, 2.0, 3.0]), np.array([[1.0], [2.0], [9.0]])
    assert blend.loss_of("regression", y_n, answer_nk) == pytest.approx(12**0.5)
    assert blend.loss_of("regression", y_n, answer_nk, "mae") == pytest.approx(2)
    assert blend.loss_of("regression", y_n, answer_nk, "mse", np.array([0.0, 1.0, 1.0])) == pytest.approx(18**0.5)
    p_nk = np.array([[0.5, 0.5], [0.25, 0.75]])
    told = -np.log([0.5, 0.75])
    assert blend.loss_of("binary", np.array([0, 1]), p_nk) == pytest.approx(told.mean())
    assert blend.loss_of("binary", np.array([0, 1]), p_nk, "softmax", np.array([3, 1])) == pytest.approx(
        (3 * told[0] + told[1]) / 4
    )
    assert blend.loss_of("binary", np.array([0, 1]), p_nk * np.nan) == np.inf
