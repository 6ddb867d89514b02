"""Honest answers: calibrated ones are Calibration's own, and no average of folds is believed to be perfect."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from tests.training.populations import LABELS, Problem, near

from tidemill.core.outputs import Outputs
from tidemill.core.spec import Decision, Spec
from tidemill.training import honest
from tidemill.training.blend import loss_of
from tidemill.training.evaluate import Model, Part
from tidemill.training.families import linear
from tidemill.training.loop import Kind
from tidemill.training.losses import Scale
from tidemill.training.search import Found, Pool

Make = Callable[..., Problem]


def data_of(case: Problem) -> Any:
    """As much of a dataset as is looked at: the schema, and the features of rows nobody trained on."""
    x_nf = np.random.default_rng(9).normal(size=(50, case.x_nf.shape[1])).astype(np.float32)
    task = case.config.task
    return SimpleNamespace(schema={"task": task, "labels": LABELS[task]}, test=SimpleNamespace(x_n=x_nf))


def completed(case: Problem, found: Found, **more: Any) -> tuple[Model, Outputs]:
    return honest.complete(found, case.pool, data_of(case), Spec(**more))


@pytest.fixture(scope="module", params=["binary", "multiclass"])
def classes(request: Any, make_problem: Make) -> tuple[Problem, Found]:
    """A model that is far too sure of itself: its answers are sharpened after the search."""
    case = make_problem(request.param).changed(families=("linear",))
    found = case.found()
    wrong_n = np.random.default_rng(0).random(len(found.held_n)) < 0.3
    said_n = (case.y_n[found.held_n] + wrong_n) % case.config.outputs
    sure_nk = np.exp(8 * np.eye(case.config.outputs)[said_n])
    return case, Found(found.parts, found.scale, found.held_n, sure_nk / sure_nk.sum(1, keepdims=True), found.record)


def test_the_models_answers_are_the_calibrations_of_its_raw_ones(classes: tuple[Problem, Found]) -> None:
    model, outputs = completed(*classes)
    assert model.calibration.method != "none"
    assert outputs.calibration == model.calibration
    x_nf = classes[0].x_nf
    raw_nk = model.raw_answers(x_nf)
    assert near(model.answers(x_nf), model.calibration.apply(raw_nk))
    assert near(jax.jit(model.predict)(x_nf), model.calibration.apply(raw_nk))
    assert not near(model.answers(x_nf), raw_nk)


def test_calibrated_held_out_answers_lose_less(classes: tuple[Problem, Found]) -> None:
    case, found = classes
    model, _ = completed(case, found)
    y_n = case.y_n[found.held_n]
    before = loss_of(case.config.task, y_n, found.answer_nk)
    assert loss_of(case.config.task, y_n, model.calibrated(found.answer_nk)) < before


def test_a_decision_is_learned_from_costs(classes: tuple[Problem, Found]) -> None:
    case, found = classes
    if case.config.task == "multiclass":
        return
    _, outputs = completed(case, found, decision=Decision(false_positive=1.0, false_negative=3.0, positive="b"))
    assert outputs.decision is not None
    assert outputs.decision.positive == "b"


@pytest.fixture(scope="module")
def numbers(make_problem: Make) -> tuple[Problem, Found]:
    case = make_problem("regression").changed(families=("linear",), folds=3)
    return case, case.found()


def test_numbers_get_a_size_of_error_that_held_out_rows_bear_out(numbers: tuple[Problem, Found]) -> None:
    case, found = numbers
    model, outputs = completed(case, found)
    value_n, y_n = found.answer_nk[:, 0], case.y_n[found.held_n]
    assert model.spread is not None
    sizes = model.spread.of(value_n)
    error = float(np.abs(y_n - value_n).mean())
    assert honest.LEAST_SHRINK * error * 0.9 <= sizes.mean() <= error * 1.1
    assert outputs.calibration.method == "none"


def test_folds_shrink_errors_a_little_and_one_split_not_at_all(numbers: tuple[Problem, Found]) -> None:
    case, found = numbers
    model, _ = completed(case, found)
    squared = float(np.square(case.y_n[found.held_n] - found.answer_nk[:, 0]).mean())
    x_nf = data_of(case).test.x_n
    assert honest.LEAST_SHRINK <= honest._shrink(model, case.pool, x_nf, squared) <= 1
    one = Pool(case.x_nf, case.y_n, case.pool.folds[:1])
    assert honest._shrink(model, one, x_nf, squared) == 1


@pytest.mark.parametrize(("noise", "own"), [(0.0, 1.0), (0.3, 1.0), (0.8, 1.0)])
def test_the_shrinking_is_what_independent_folds_really_gain(noise: float, own: float) -> None:
    """Folds answer f + e_g: the mean of G errs by E + V / G where one errs by E + V."""
    folds, features = 10, 40
    rng = np.random.default_rng(0)
    kernel = noise / features**0.5 * rng.normal(size=(folds, features, 1)).astype(np.float32)
    weights = {"out": {"kernel": kernel, "bias": np.zeros((folds, 1), np.float32)}}
    scale = Scale(*map(np.float32, (0, 1, -1e6, 1e6)))
    part = Part("linear-1", Kind(linear.net(features, 1, None), "regression", False), weights)
    pool = Pool(np.zeros((1, features)), np.zeros(1), [(np.arange(1), np.arange(1))] * folds)
    x_nf = rng.normal(size=(4000, features)).astype(np.float32)
    found = honest._shrink(Model((part,), scale, 1.0), pool, x_nf, own + noise**2)
    truth = ((own + noise**2 / folds) / (own + noise**2)) ** 0.5
    assert found == pytest.approx(max(truth, honest.LEAST_SHRINK), rel=0.05)


def test_no_average_is_believed_to_be_much_better_than_its_parts() -> None:
    test_the_shrinking_is_what_independent_folds_really_gain(5.0, 0.01)
