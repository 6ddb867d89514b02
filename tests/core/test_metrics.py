"""The formulas equal scikit-learn's, obey their laws, and every warning is raised where it is due and nowhere else."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from tidemill.core import evaluation, metrics

SEEDS = range(25)
BINARY, LETTERS = ["no", "yes"], ["a", "b", "c", "d", "e"]


def classes(seed: int, k: int, rows: int = 0, decimals: int = 9) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    rows = rows or int(rng.integers(30, 200))
    p_nk = rng.dirichlet(np.ones(k), rows)
    y_n = np.where(rng.random(rows) < 0.5, p_nk.argmax(1), rng.integers(0, k, rows))
    y_n[:k] = np.arange(k)
    if k == 2:
        p_nk = np.round(p_nk, decimals)
    return y_n, p_nk


def numbers(seed: int) -> tuple[Any, Any]:
    rng = np.random.default_rng(seed)
    y_n = rng.normal(rng.normal() * 10, rng.random() * 5 + 0.1, int(rng.integers(5, 200)))
    return y_n, y_n + rng.normal(size=len(y_n))


@pytest.mark.parametrize("seed", SEEDS)
def test_binary_metrics_equal_scikit_learn_ties_included(seed: int) -> None:
    y_n, p_nk = classes(seed, 2, decimals=1 + seed % 3)
    ours, guess_n = metrics.values("binary", y_n, p_nk), p_nk.argmax(1)
    clipped = np.clip(p_nk[:, 1], metrics.EPSILON, 1 - metrics.EPSILON)
    assert ours == pytest.approx(
        {
            "log_loss": reference.log_loss(y_n, clipped),
            "accuracy": reference.accuracy_score(y_n, guess_n),
            "roc_auc": reference.roc_auc_score(y_n, p_nk[:, 1]),
            "precision": reference.precision_score(y_n, guess_n, zero_division=0),
            "recall": reference.recall_score(y_n, guess_n),
            "f1": reference.f1_score(y_n, guess_n),
        },
        abs=2e-6,
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_multiclass_metrics_equal_scikit_learn(seed: int) -> None:
    y_n, p_nk = classes(seed, 5)
    ours, guess_n = metrics.values("multiclass", y_n, p_nk), p_nk.argmax(1)
    macro = {"average": "macro", "zero_division": 0}
    assert ours == pytest.approx(
        {
            "log_loss": reference.log_loss(y_n, p_nk),
            "accuracy": reference.accuracy_score(y_n, guess_n),
            "roc_auc": reference.roc_auc_score(y_n, p_nk, multi_class="ovr", average="macro"),
            "precision": reference.precision_score(y_n, guess_n, **macro),
            "recall": reference.recall_score(y_n, guess_n, **macro),
            "f1": reference.f1_score(y_n, guess_n, **macro),
        }
    )
    assert (metrics.confusion(y_n, guess_n, 5) == reference.confusion_matrix(y_n, guess_n)).all()


@pytest.mark.parametrize("seed", SEEDS)
def test_regression_metrics_equal_scikit_learn(seed: int) -> None:
    y_n, value_n = numbers(seed)
    assert metrics.values("regression", y_n, value_n) == pytest.approx(
        {
            "rmse": reference.root_mean_squared_error(y_n, value_n),
            "mse": reference.mean_squared_error(y_n, value_n),
            "mae": reference.mean_absolute_error(y_n, value_n),
            "r2": reference.r2_score(y_n, value_n),
        }
    )


@pytest.mark.parametrize("seed", SEEDS)
def test_weights_count_a_row_as_often_as_repeating_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for task, (y_n, scores) in {"multiclass": classes(seed, 5), "regression": numbers(seed)}.items():
        times = rng.integers(0, 4, len(y_n))
        repeated = metrics.values(task, np.repeat(y_n, times), np.repeat(scores, times, axis=0))
        for metric in metrics.metrics_of(task):
            assert metric.formula(y_n, scores, times[None].astype(float))[0] == pytest.approx(repeated[metric.name])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 5]))
def test_the_order_of_the_rows_does_not_matter(seed: int, k: int) -> None:
    y_n, p_nk = classes(seed, k)
    order = np.random.default_rng(seed + 1).permutation(len(y_n))
    task = "binary" if k == 2 else "multiclass"
    assert metrics.values(task, y_n[order], p_nk[order]) == pytest.approx(metrics.values(task, y_n, p_nk))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000))
def test_auc_sees_only_the_order_and_turns_over_with_the_scores(seed: int) -> None:
    y_n, p_nk = classes(seed, 2, decimals=2)
    bent = np.stack([1 - p_nk[:, 1] ** 3, p_nk[:, 1] ** 3], 1)
    auc = metrics.values("binary", y_n, p_nk)["roc_auc"]
    assert metrics.values("binary", y_n, bent)["roc_auc"] == pytest.approx(auc)
    assert metrics.values("binary", y_n, p_nk[:, ::-1])["roc_auc"] == pytest.approx(1 - auc)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.floats(-1e3, 1e3), st.floats(0.01, 100))
def test_a_change_of_unit_scales_the_errors_and_leaves_r2(seed: int, shift: float, scale: float) -> None:
    y_n, value_n = numbers(seed)
    before, after = (metrics.values("regression", scale * a + b, scale * c + b) for a, b, c in
                     ((y_n, 0.0, value_n), (y_n, shift, value_n)))  # fmt: skip
    plain = metrics.values("regression", y_n, value_n)
    assert before["rmse"] == pytest.approx(scale * plain["rmse"])
    assert after["rmse"] == pytest.approx(before["rmse"], rel=1e-6)
    assert after["mae"] == pytest.approx(before["mae"], rel=1e-6)
    assert after["r2"] == pytest.approx(plain["r2"], rel=1e-4, abs=1e-6)


def test_auc_of_one_class_is_not_a_number_and_null_in_the_report() -> None:
    y_n, p_nk = np.zeros(20, int), np.tile([0.3, 0.7], (20, 1))
    assert np.isnan(metrics.values("binary", y_n, p_nk)["roc_auc"])
    report = evaluation.evaluate("binary", BINARY, y_n, p_nk, baseline=np.array([0.9, 0.1]))
    assert report["metrics"]["roc_auc"]["value"] is None
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_the_report_is_the_same_twice_and_its_intervals_hold_the_value(task: str) -> None:
    labels = {"binary": BINARY, "multiclass": LETTERS, "regression": []}[task]
    y_n, scores = numbers(1) if task == "regression" else classes(1, len(labels))
    baseline = metrics.baseline_of(task, y_n, len(labels))
    first, second = (evaluation.evaluate(task, labels, y_n, scores, baseline=baseline, seed=3) for _ in range(2))
    assert first == second
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    assert all(entry["low"] <= entry["value"] <= entry["high"] for entry in first["metrics"].values())


def test_label_strings_and_class_numbers_give_the_same_report() -> None:
    y_n, p_nk = classes(5, 5)
    named = np.array([LETTERS[y] for y in y_n], object)
    baseline = metrics.baseline_of("multiclass", y_n, 5)
    by_number = evaluation.evaluate("multiclass", LETTERS, y_n, p_nk, baseline=baseline)
    assert evaluation.evaluate("multiclass", LETTERS, named, p_nk, baseline=baseline) == by_number


def test_the_bootstrap_interval_has_the_width_theory_gives() -> None:
    rng = np.random.default_rng(0)
    y_n = rng.integers(0, 2, 2000)
    right = rng.random(2000) < 0.8
    p_n = np.where(right == (y_n == 1), 0.9, 0.1)
    numbers_of = evaluation.evaluate("binary", BINARY, y_n, np.stack([1 - p_n, p_n], 1), baseline=np.array([0.5, 0.5]))[
        "metrics"
    ]["accuracy"]
    width = 2 * 1.96 * np.sqrt(0.8 * 0.2 / 2000)
    assert numbers_of["high"] - numbers_of["low"] == pytest.approx(width, rel=0.15)


def test_curves_start_and_end_where_they_must() -> None:
    y_n, p_nk = classes(2, 2, rows=700)
    drawn = evaluation.curves(y_n, p_nk)
    assert (drawn["roc"]["fpr"][0], drawn["roc"]["tpr"][0]) == (0, 0)
    assert (drawn["roc"]["fpr"][-1], drawn["roc"]["tpr"][-1]) == (1, 1)
    assert np.all(np.diff(drawn["roc"]["fpr"]) >= 0)
    assert np.all(np.diff(drawn["roc"]["tpr"]) >= 0)
    assert sum(drawn["calibration"]["rows"]) == 700
    area = np.trapezoid(drawn["roc"]["tpr"], drawn["roc"]["fpr"])
    assert area == pytest.approx(metrics.values("binary", y_n, p_nk)["roc_auc"], abs=0.01)


def codes(report: dict[str, Any]) -> set[str]:
    return {warning["code"] for warning in report["warnings"]}


def test_a_good_model_on_enough_rows_raises_no_warning() -> None:
    y_n, p_nk = classes(3, 2, rows=1000)
    good = np.clip(np.eye(2)[y_n] * 0.8 + 0.1, 0, 1)
    assert codes(evaluation.evaluate("binary", BINARY, y_n, good, baseline=np.array([0.6, 0.4]))) == set()
    assert p_nk.shape == good.shape


def test_a_rare_class_is_named_with_the_accuracy_of_never_answering_it() -> None:
    rng = np.random.default_rng(0)
    y_n = (rng.random(1000) < 0.08).astype(int)
    p_n = np.clip(0.08 + 0.5 * y_n + 0.1 * rng.random(1000), 0, 1)
    report = evaluation.evaluate("binary", BINARY, y_n, np.stack([1 - p_n, p_n], 1), baseline=np.array([0.92, 0.08]))
    message = next(w["message"] for w in report["warnings"] if w["code"] == "RARE_CLASS")
    assert "'yes' (8.0%)" in message
    assert "always answers 'no' scores 0.92" in message
    assert "AUC and recall" in message


def test_even_classes_are_not_rare_however_many() -> None:
    y_n, p_nk = classes(0, 5, rows=500)
    report = evaluation.evaluate("multiclass", LETTERS, y_n, p_nk, baseline=np.full(5, 0.2))
    assert "RARE_CLASS" not in codes(report)


def test_noise_is_not_better_than_the_baseline_and_few_rows_are_few() -> None:
    rng = np.random.default_rng(0)
    y_n = rng.normal(size=50)
    report = evaluation.evaluate("regression", [], y_n, rng.normal(size=50), baseline=np.zeros(2))
    assert codes(report) == {"NOT_BETTER_THAN_BASELINE", "FEW_TEST_ROWS"}


def test_learning_by_heart_is_called_overfitting_and_a_small_gap_is_not() -> None:
    rng = np.random.default_rng(0)
    y_n = rng.normal(size=500) * 3
    arguments: Any = ("regression", [], y_n, y_n + rng.normal(size=500))
    assert "OVERFIT" in codes(evaluation.evaluate(*arguments, baseline=np.zeros(2), train_value=0.2))
    assert "OVERFIT" not in codes(evaluation.evaluate(*arguments, baseline=np.zeros(2), train_value=0.9))


def test_warnings_write_large_numbers_as_people_do() -> None:
    rng = np.random.default_rng(0)
    y_n = 11_210.4 * rng.normal(size=400)
    report = evaluation.evaluate("regression", [], y_n, 0.5 * rng.permutation(y_n), baseline=np.zeros(2))
    message = next(w["message"] for w in report["warnings"] if w["code"] == "NOT_BETTER_THAN_BASELINE")
    assert "e+" not in message
    rmse = report["metrics"]["rmse"]["value"]
    assert f"RMSE {round(rmse, -1):,.0f} is not" in message


def test_few_training_rows_are_told_where_their_number_is_known() -> None:
    y_n, p_nk = classes(3, 2, rows=1000)
    for rows, told in ((None, False), (499, True), (500, False)):
        report = evaluation.evaluate("binary", BINARY, y_n, p_nk, baseline=np.array([0.5, 0.5]), train_rows=rows)
        assert ("FEW_TRAIN_ROWS" in codes(report)) is told
