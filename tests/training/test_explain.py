"""Explanations add up, are exact where models are lines, ignore what models ignore, and agree with Shapley values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from tests.training.explained import BACKGROUND, explained, model_of, part_of, shapley
from tests.training.populations import Problem

from tidemill.core.calibration import Calibration
from tidemill.training import explain, losses, paths
from tidemill.training.evaluate import Model, Part

Make = Callable[..., Problem]
PLATT = Calibration("platt", 2.0, 0.4)
BLENDS = ["tabm", "folds", "blend", "value", "logarithm", "calibrated"]


@pytest.fixture(scope="module")
def models(make_problem: Make) -> dict[str, tuple[Problem, Model]]:
    """One model of each sort that a search may end with."""
    binary, multiclass, value = (make_problem(task) for task in ("binary", "multiclass", "regression"))
    skewed = replace(value.changed(log1p=True), y_n=np.exp(value.y_n / 30 - 3))
    mixed = [part_of(multiclass, "mlp", share=0.5), part_of(multiclass, "tabm", share=0.3)]
    some = [part_of(binary, "linear", share=0.6, moved=1.5), part_of(binary, "tabm", folds=2, share=0.4)]
    return {
        "tabm": (multiclass, model_of(multiclass, part_of(multiclass, "tabm"))),
        "folds": (binary, model_of(binary, part_of(binary, "tabm", folds=5))),
        "blend": (multiclass, model_of(multiclass, *mixed, part_of(multiclass, "mlp", 1, share=0.2))),
        "value": (value, model_of(value, part_of(value, "mlp", folds=2, share=0.7), part_of(value, "tabm", share=0.3))),
        "logarithm": (skewed, model_of(skewed, part_of(skewed, "tabm", share=0.5), part_of(skewed, "mlp", share=0.5))),
        "calibrated": (binary, model_of(binary, *some, calibration=PLATT)),
    }


def turns(model: Model, rows: int) -> Any:
    """A target for each row: the classes by turns, or the value."""
    return np.eye(model.outputs, dtype=np.float32)[np.arange(rows) % model.outputs]


@pytest.mark.parametrize("name", BLENDS)
def test_contributions_nearly_add_up_before_and_do_after_spreading(models: Any, name: str) -> None:
    case, model = models[name]
    raw = explained(case, model, case.x_nf[:64], turns(model, 64))
    missed = explain.completeness(raw, model.unit)
    assert missed["p50"] < 0.15  # these nets have learned a few rows by heart: they bend sharply
    assert explain.completeness(explain.spread(raw), model.unit)["p99"] < 1e-4


@pytest.mark.parametrize("name", BLENDS)
def test_prediction_and_baseline_are_the_models_own_answers(models: Any, name: str) -> None:
    case, model = models[name]
    x_nf, target_nk = case.x_nf[:9], turns(model, 9)
    _, prediction_n, baseline_n = explained(case, model, x_nf, target_nk)
    assert np.allclose(prediction_n, (model.answers(x_nf) * target_nk).sum(1), atol=2e-6 * model.unit, rtol=1e-5)
    expected_n = target_nk @ model.answers(case.x_nf[BACKGROUND]).mean(0)
    assert np.allclose(baseline_n, expected_n, atol=2e-6 * model.unit, rtol=1e-5)


@pytest.mark.parametrize("name", BLENDS)
def test_they_agree_with_shapley_values_of_the_same_background(models: Any, name: str) -> None:
    case, model = models[name]
    background, rows = case.x_nf[BACKGROUND], case.x_nf[:16]
    target_nk = explain.targets_of(model.answers(rows))
    found_nf = explain.spread(explained(case, model, rows, target_nk))[0]
    truth_nf = np.stack([shapley(model, x, t, background) for x, t in zip(rows, target_nk, strict=True)])
    assert np.corrcoef(np.ravel(found_nf), truth_nf.ravel())[0, 1] > 0.92


def lined(case: Problem, slope_f: Any, share: float = 1.0) -> Part:
    """A linear part of a number with chosen slopes."""
    part = part_of(case, "linear", share=share)
    return replace(part, weights={"out": {"kernel": slope_f[None, :, None], "bias": np.zeros((1, 1), np.float32)}})


def test_a_linear_model_is_explained_by_its_slopes(make_problem: Make) -> None:
    case = make_problem("regression")
    slope_f = np.arange(1.0, 6.0, dtype=np.float32)
    wide = losses.Scale(*map(np.float32, (0, 1, -1e6, 1e6)))
    model = Model((lined(case, slope_f, 0.5), lined(case, -3 * slope_f, 0.5)), wide, 1.0)
    background = case.x_nf[BACKGROUND]
    contribution_nf = explained(case, model, case.x_nf[:5], np.ones((5, 1), np.float32))[0]
    assert np.allclose(contribution_nf, -slope_f * (case.x_nf[:5] - background.mean(0)), atol=1e-4)


def test_a_feature_that_no_net_looks_at_adds_exactly_nothing(models: Any) -> None:
    case, model = models["blend"]
    parts = []
    for part in model.parts:
        weights = jax.tree.map(np.array, part.weights)
        for name in ("line", "pieces"):
            if name in weights:
                weights[name][:, 3] = 0
        if "skip" in weights:
            weights["skip"]["kernel"][:, 3] = weights["hidden"][0]["kernel"][:, 3] = 0
        parts.append(replace(part, weights=weights))
    raw = explained(case, replace(model, parts=tuple(parts)), case.x_nf[:8], turns(model, 8))
    contribution_nf = explain.spread(raw)[0]
    assert not contribution_nf[:, 3].any()
    assert np.abs(contribution_nf).max(0)[[0, 1, 2, 4]].min() > 0


def test_a_blend_is_explained_as_its_parts_are_on_average(models: Any) -> None:
    case, model = models["blend"]
    given = case.x_nf[:16], turns(model, 16)
    alone = [explained(case, replace(model, parts=(replace(part, share=1.0),)), *given)[0] for part in model.parts]
    expected_nf = sum(part.share * found for part, found in zip(model.parts, alone, strict=True))
    assert np.allclose(explained(case, model, *given)[0], expected_nf, atol=0.02)


def test_calibration_stretches_the_way_from_a_row_to_the_row_explained(models: Any) -> None:
    case, model = models["calibrated"]
    one, target_nk = range(100, 101), turns(model, 24)
    plain = replace(model, calibration=Calibration())
    raw_nf, raw_n, raw_base_n = explained(case, plain, case.x_nf[:24], target_nk, one)
    found_nf, found_n, base_n = explained(case, model, case.x_nf[:24], target_nk, one)
    far_n = np.abs(raw_n - raw_base_n) > explain.NEAR
    ratio_n = np.clip((found_n - base_n)[far_n] / (raw_n - raw_base_n)[far_n], *explain.STRETCH)
    assert far_n.sum() > 12
    assert np.std(ratio_n) > 0.05
    assert np.allclose(found_nf[far_n], raw_nf[far_n] * ratio_n[:, None], atol=1e-5)


@pytest.mark.parametrize("target", [0, 1])
def test_what_speaks_for_one_of_two_classes_speaks_against_the_other(models: Any, target: int) -> None:
    case, model = models["calibrated"]
    both = [np.tile(np.eye(2, dtype=np.float32)[some], (12, 1)) for some in (target, 1 - target)]
    one_nf, other_nf = (explained(case, model, case.x_nf[:12], some)[0] for some in both)
    assert np.allclose(one_nf, -other_nf, atol=1e-5)


@pytest.mark.parametrize("name", BLENDS)
def test_nets_of_a_kind_start_from_every_background_row_equally_often(models: Any, name: str) -> None:
    case, model = models[name]
    for some in paths.paths_of(model, case.x_nf[BACKGROUND]):
        counts = np.bincount(some.nets.start_us.ravel(), minlength=32)
        assert counts.min() >= 1
        assert counts.max() - counts.min() <= 1
        assert ((some.nets.place_ustj > 0) & (some.nets.place_ustj < 1)).all()
        assert np.isclose(some.nets.place_ustj.mean(), 0.5, atol=0.01)


def test_parts_that_count_more_get_more_starts(models: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    case, model = models["calibrated"]
    monkeypatch.setattr(paths, "STARTS", 64)
    large = replace(model, parts=(model.parts[0], replace(model.parts[1], share=4.0)))
    few, more = (paths.paths_of(some, case.x_nf[BACKGROUND])[1].nets.start_us.shape[1] for some in (model, large))
    assert few < more <= 32


def test_rows_are_explained_alike_in_any_company(models: Any) -> None:
    case, model = models["tabm"]
    target_nk = turns(model, 21)
    together = explained(case, model, case.x_nf[:21], target_nk)[0]
    alone = explained(case, model, case.x_nf[20:21], target_nk[20:21])[0]
    assert np.array_equal(together[20:], alone)
