"""Explanations add up, are exact for a linear model, and agree with Shapley values."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest

from tidemill.training import explain, losses
from tidemill.training.evaluate import Model
from tidemill.training.loop import Kind


def model_of(case: Any, **more: Any) -> Model:
    state = case.changed(epochs=30, patience=30, learning_rate=1e-2, **more).train()
    scale = losses.scale_of(case.y_n, log1p=case.config.log1p)
    return Model(case.kind, state.best, scale, float(case.y_n.std()) if case.config.task == "regression" else 1.0)


@pytest.fixture(scope="module")
def multiclass(make_problem: Any) -> tuple[Any, Model]:
    case = make_problem("multiclass")
    return case, model_of(case)


def explained(model: Model, x_nf: Any, target_nk: Any, background: Any) -> explain.Explained:
    return explain.explained_in_blocks(explain.explainer(model, background), x_nf, target_nk)


def test_contributions_add_up_almost_before_and_exactly_after_spreading(multiclass: tuple[Any, Model]) -> None:
    case, model = multiclass
    x_nf, target_nk = case.x_nf[:100], np.eye(3, dtype=np.float32)[np.arange(100) % 3]
    raw = explained(model, x_nf, target_nk, case.x_nf[100:116])
    missed = explain.completeness(raw, 1.0)
    assert missed["p50"] < 0.005
    assert missed["p99"] < 0.05  # this net has learned its few rows by heart: it bends sharply
    assert explain.completeness(explain.spread(raw), 1.0)["p99"] < 1e-5


def test_prediction_and_baseline_are_the_models_own_answers(multiclass: tuple[Any, Model]) -> None:
    case, model = multiclass
    x_nf, target_nk = case.x_nf[:9], np.eye(3, dtype=np.float32)[np.arange(9) % 3]
    _, prediction_n, baseline_n = explained(model, x_nf, target_nk, case.x_nf[100:116])
    assert np.allclose(prediction_n, (model.answers(x_nf) * target_nk).sum(1), atol=1e-6)
    assert np.allclose(baseline_n, target_nk @ model.answers(case.x_nf[100:116]).mean(0), atol=1e-6)


def test_they_agree_with_shapley_values_of_the_same_background(multiclass: tuple[Any, Model]) -> None:
    case, model = multiclass
    background, rows = case.x_nf[100:116], case.x_nf[:12]
    target_nk = explain.targets_of(model.answers(rows))
    found_nf = explain.spread(explained(model, rows, target_nk, background))[0]
    truth_nf = np.stack([shapley(model, x, t, background) for x, t in zip(rows, target_nk, strict=True)])
    assert np.corrcoef(found_nf.ravel(), truth_nf.ravel())[0, 1] > 0.9


def shapley(model: Model, x_f: Any, target_k: Any, background: Any) -> Any:
    """Exact Shapley values over all subsets, absent features taken from the background."""
    f = len(x_f)
    subsets = list(itertools.product([0, 1], repeat=f))
    mixed = np.concatenate([np.where(np.array(s, bool), x_f, background) for s in subsets]).astype(np.float32)
    worth = dict(zip(subsets, (model.answers(mixed) @ target_k).reshape(len(subsets), -1).mean(1), strict=True))
    value_f = np.zeros(f)
    for s, feature in itertools.product(subsets, range(f)):
        if not s[feature]:
            weight = math.factorial(sum(s)) * math.factorial(f - sum(s) - 1) / math.factorial(f)
            value_f[feature] += weight * (worth[(*s[:feature], 1, *s[feature + 1 :])] - worth[s])
    return value_f


def test_a_linear_model_is_explained_by_its_weights(make_problem: Any) -> None:
    case = make_problem("regression")
    weights = case.kind.net.init(np.random.default_rng(0))
    slope_f = np.arange(1.0, 6.0, dtype=np.float32)
    weights["out"]["kernel"] *= 0
    weights["skip"]["kernel"] = slope_f[:, None]
    wide = losses.Scale(*map(np.float32, (0, 1, -1e6, 1e6)))
    model = Model(case.kind, {k: stacked(v) for k, v in weights.items()}, wide, 1.0)
    background = case.x_nf[100:116]
    contribution_nf = explained(model, case.x_nf[:5], np.ones((5, 1), np.float32), background)[0]
    assert np.allclose(contribution_nf, slope_f * (case.x_nf[:5] - background.mean(0)), atol=1e-4)


def stacked(tree: Any) -> Any:
    return {k: stacked(v) for k, v in tree.items()} if isinstance(tree, dict) else tree[None]


def test_the_background_has_the_mean_answer_of_all_rows() -> None:
    rng = np.random.default_rng(0)
    x_nf, answer_nk = rng.normal(size=(2000, 4)).astype(np.float32), rng.random((2000, 1))
    answer_nk = (answer_nk + x_nf[:, :1]).astype(np.float32)
    chosen = explain.background(np.c_[x_nf, answer_nk], answer_nk, seed=0)
    assert len(chosen) == explain.BACKGROUND
    assert abs(chosen[:, -1].mean() - answer_nk.mean()) < 0.1 * answer_nk.std()
    assert np.array_equal(chosen, explain.background(np.c_[x_nf, answer_nk], answer_nk, seed=0))


def test_few_rows_are_all_background() -> None:
    x_nf = np.ones((3, 2), np.float32)
    assert explain.background(x_nf, x_nf, seed=0) is x_nf


def test_kinds_are_hashable_so_that_programs_are_shared(make_problem: Any) -> None:
    first, second = make_problem("binary").kind, make_problem("binary", seed=3).kind
    assert isinstance(first, Kind)
    assert hash(first) == hash(second)
