"""Families that are solved: their answer is the best there is, is found once, and survives interruptions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse, special
from sklearn.linear_model import LogisticRegression, Ridge
from tests.training.populations import Problem
from tests.training.sentences import Sentences, sentences
from tests.training.test_resume import Lost, StopAt, check_equal, keeper

from tidemill.training import blend, solving
from tidemill.training.checkpoint import Interrupted
from tidemill.training.families import ngrams
from tidemill.training.search import Found
from tidemill.training.trials import BLENDED, KEPT_ON, STOPPED


@pytest.fixture(scope="module")
def text() -> Sentences:
    return sentences("binary", rows=blend.DOUBTED_ROWS + 10)


@pytest.fixture(scope="module")
def case(text: Sentences) -> Problem:
    """Four configurations in three folds, with and without log-count ratios; a family with steps behind it."""
    return text.case.changed(
        families=("linear", "fasttext"), folds=3, configurations=4, epochs=3, fixed=(("width", 8),)
    )


@pytest.fixture(scope="module")
def straight(case: Problem) -> tuple[Found, int]:
    stop = StopAt()
    return case.found(stop=stop), stop.asked


# --- the answer -------------------------------------------------------------------------------------------------------


def table(rows: int = 60, columns: int = 4, classes: int = 3) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    x_nv = rng.normal(size=(rows, columns)) * [1, 10, 0.1, 1]
    first_n, second_n = x_nv[:, 0] + 0.1 * x_nv[:, 1] + rng.normal(0, 0.5, rows) > 0, x_nv[:, 3] > 1
    return x_nv, first_n.astype(int) + second_n


@pytest.mark.parametrize("strength", [0.01, 1.0, 10.0])
def test_classes_are_solved_as_scikit_learn_solves_them(strength: float) -> None:
    x_nv, y_n = table()
    peer = LogisticRegression(C=1 / strength, tol=1e-6, max_iter=2000).fit(x_nv, y_n)
    w_vk, b_k = solving.solved(x_nv, np.eye(3)[y_n], np.ones(len(y_n)), strength / len(y_n), True)
    mine = np.exp(x_nv @ w_vk + b_k)
    assert np.allclose(mine / mine.sum(1, keepdims=True), peer.predict_proba(x_nv), atol=2e-3)


@pytest.mark.parametrize("classes", [2, 3])
def test_where_it_ends_nothing_pulls_any_weight_of_any_class(classes: int) -> None:
    """The slope of what is said to be minimised, with one column of weights a class, vanishes."""
    x_nv, y_n = table()
    target_nk, weight_n = np.eye(classes)[np.minimum(y_n, classes - 1)], np.linspace(1, 2, len(y_n))
    w_vk, b_k = solving.solved(x_nv, target_nk, weight_n, 0.01, True)
    share_nk = special.softmax(x_nv @ w_vk + b_k, axis=1)
    apart_nk = (share_nk - target_nk) * (weight_n / weight_n.sum())[:, None]
    assert w_vk.shape == (4, classes)
    assert np.abs(x_nv.T @ apart_nk + 0.01 * w_vk).max() <= 100 * solving.ENOUGH  # or it stops as steps hardly tell
    assert np.abs(apart_nk.sum(0)).max() <= 100 * solving.ENOUGH  # or it stops as steps hardly tell


@pytest.mark.parametrize("classes", [2, 3])
def test_sparse_rows_are_solved_to_the_same_bits_on_any_number_of_cores(
    classes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    x_nv, y_n = table()
    target_nk, weight_n = np.eye(classes)[np.minimum(y_n, classes - 1)], np.ones(len(y_n))
    found = []
    for cores in ("1", "3", "100"):
        monkeypatch.setenv("OMP_NUM_THREADS", cores)
        found.append(solving.solved(sparse.csr_matrix(x_nv), target_nk, weight_n, 0.01, True))
    dense_vk, _ = solving.solved(x_nv, target_nk, weight_n, 0.01, True)
    assert all(np.array_equal(found[0][0], w_vk) and np.array_equal(found[0][1], b_k) for w_vk, b_k in found)
    assert np.allclose(found[0][0], dense_vk, atol=1e-6)


def test_numbers_are_solved_as_a_ridge() -> None:
    x_nv, y_n = table()
    peer = Ridge(alpha=2.0).fit(x_nv, y_n)
    w_vk, b_k = solving.solved(x_nv, y_n[:, None].astype(float), np.ones(len(y_n)), 2.0 / len(y_n), False)
    assert np.allclose((x_nv @ w_vk + b_k)[:, 0], peer.predict(x_nv), atol=1e-3)


def test_standardising_is_told_for_the_columns_as_they_are_and_a_constant_column_says_nothing() -> None:
    x_nv, y_n = table()
    x_nv[:, 2] = 7.0
    target_nk, weight_n = np.eye(3)[y_n], np.ones(len(y_n))
    w_vk, b_k = solving.on_standardised(x_nv, target_nk, weight_n, 0.1, True)
    assert not w_vk[2].any()
    unit_v = np.where(np.arange(4) == 2, 1, x_nv.std(0))
    straight_vk, at_mean_k = solving.solved((x_nv - x_nv.mean(0)) / unit_v, target_nk, weight_n, 0.1, True)
    assert np.allclose(x_nv @ w_vk + b_k, (x_nv - x_nv.mean(0)) / unit_v @ straight_vk + at_mean_k, atol=1e-6)


def test_rows_that_weigh_twice_count_as_two() -> None:
    x_nv, y_n = table()
    weight_n = np.where(np.arange(len(y_n)) < 20, 2.0, 1.0)
    twice = np.concatenate([np.arange(len(y_n)), np.arange(20)])
    target_nk = np.eye(3)[y_n]
    weighed = solving.solved(x_nv, target_nk, weight_n, 0.1, True)
    doubled = solving.solved(x_nv[twice], target_nk[twice], np.ones(len(twice)), 0.1, True)
    assert np.allclose(weighed[0], doubled[0], atol=1e-3)


# --- the search -------------------------------------------------------------------------------------------------------


def test_all_are_solved_once_and_the_better_ones_in_every_fold(straight: tuple[Found, int]) -> None:
    trials = [trial for trial in straight[0].record["trials"] if trial["family"] == "linear"]
    assert len(trials) == 4
    going = [trial for trial in trials if trial["state"] in (BLENDED, KEPT_ON)]
    assert len(going) == 2
    assert all(trial["curve"] == [] and trial["loss"] is not None for trial in trials)
    worst = max(trial["loss"] for trial in going)
    assert all(trial["loss"] >= worst * 0.9 for trial in trials if trial["state"] == STOPPED)


def test_on_few_rows_all_are_solved_in_every_fold_and_the_default_stays_unless_beaten_beyond_chance() -> None:
    few = sentences("binary", rows=60).case.changed(families=("linear",), folds=3, configurations=4)
    stayed = 0
    for seed in range(4):
        flipped_n = np.random.default_rng(seed).random(len(few.y_n)) < 0.15
        found = replace(few, y_n=np.where(flipped_n, 1 - few.y_n, few.y_n)).found()
        default, *others = found.record["trials"]
        assert all(trial["state"] in (BLENDED, KEPT_ON) for trial in (default, *others))
        stayed += default["share"] == 1 and default["loss"] > min(trial["loss"] for trial in others)
    assert stayed, "another is better by chance at least once, and does not answer"


def test_what_answers_is_solved_on_all_rows(case: Problem, straight: tuple[Found, int]) -> None:
    part = next(part for part in straight[0].parts if part.id.startswith("linear"))
    trial = next(trial for trial in straight[0].record["trials"] if trial["id"] == part.id)
    settings = {**trial["settings"], "slots": case.config.features[0]}
    target_nk = np.eye(case.config.outputs)[case.y_n]
    expected = ngrams.solve(case.x_nf, target_nk, np.ones(len(case.y_n)), settings, True)
    assert np.allclose(part.weights["table"], expected["table"][None], atol=1e-4)


@pytest.mark.parametrize("turn", range(4))
def test_interrupted_anywhere_and_resumed_it_ends_the_same(
    case: Problem, straight: tuple[Found, int], tmp_path: Path, turn: int
) -> None:
    expected, asked = straight
    at = [0, 2, 6, asked - 1][turn]
    with pytest.raises(Interrupted):
        case.found(keeper=keeper(tmp_path), stop=StopAt(at))
    check_equal(case.found(keeper=keeper(tmp_path)), expected)


def test_interrupted_at_every_chance_it_still_ends(case: Problem, straight: tuple[Found, int], tmp_path: Path) -> None:
    expected, asked = straight
    for _ in range(asked - 1):
        with pytest.raises(Interrupted):
            case.found(keeper=keeper(tmp_path), stop=StopAt(1))
    check_equal(case.found(keeper=keeper(tmp_path), stop=StopAt(1)), expected)


def test_what_was_solved_before_the_machine_went_away_is_not_solved_again(
    case: Problem, straight: tuple[Found, int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[dict[str, float]] = []
    own = ngrams.solve

    def counted(x: Any, target_nk: Any, weight_n: Any, settings: dict[str, float], classes: bool) -> Any:
        calls.append(settings)
        return own(x, target_nk, weight_n, settings, classes)

    monkeypatch.setattr(ngrams, "solve", counted)
    with pytest.raises(Lost):
        case.found(keeper=keeper(tmp_path, every_s=0.0), stop=StopAt(5, Lost))
    assert len(calls) == 5
    check_equal(case.found(keeper=keeper(tmp_path)), straight[0])
    assert len(calls) == 4 + 2 * 2 + 2


def test_progress_of_what_is_solved_is_told_and_never_goes_back(case: Problem) -> None:
    told: list[Any] = []
    case.changed(families=("linear",)).found(report=told.append)
    training = [report for report in told if report.stage == "training"]
    assert [report.step for report in training] == sorted(report.step for report in training)
    assert len(training) == 4 + 2 * 2 + 2
    assert all(report.message.startswith("linear: linear-") for report in training)
    assert all("validation log loss" in report.message for report in training)
