"""Rounding is no reason to refuse a bundle, a fault is; what a last bit does is measured, and has an upper end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from tests.training.explained import BACKGROUND, model_of, part_of

from tidemill.core.errors import BadBundle
from tidemill.training import attribution, explain, parity
from tidemill.training.evaluate import Model
from tidemill.training.explain import Explainer, Explaining

ROWS = 16
NOTHING = {"p50": 0.0, "p99": 0.0}  # a bound that rounding always breaks


class Runner:
    """Stands for an exported file: explains rows as a model does."""

    def __init__(self, run: Explainer) -> None:
        self.run_it = run

    def run(self, names: Any, feeds: dict[str, Any]) -> list[Any]:
        """Contributions, predictions and baselines, as explain.onnx gives them."""
        raw = explain.explained_in_blocks(self.run_it, feeds["x"], feeds["target"])
        return [np.asarray(part) for part in explain.spread(raw)]


@pytest.fixture(scope="module")
def case(make_problem: Any) -> Any:
    return make_problem("multiclass")


@pytest.fixture(scope="module")
def model(case: Any) -> Model:
    return model_of(case, part_of(case, "mlp"))


def explainer(case: Any, model: Model) -> Explainer:
    return explain.explainer(model, case.x_nf[BACKGROUND])


def scaled(model: Model, by: float) -> Model:
    """The model with every weight larger by a share."""
    parts = tuple(
        replace(part, weights=jax.tree.map(lambda leaf: (leaf * (1 + by)).astype(np.float32), part.weights))
        for part in model.parts
    )
    return replace(model, parts=parts)


def proved(case: Any, model: Model, exported: Model, bounds: dict[str, float], yardstick: Model | None) -> Any:
    nudged = (lambda: explainer(case, yardstick)) if yardstick else None
    explaining = Explaining(explainer(case, model), {}, bounds, nudged)
    runner = Runner(explainer(case, exported))
    return parity._prove_explanations(runner, model, explaining, case.x_nf[:ROWS], (1, 3))["explain"]


def test_a_graph_as_far_off_as_a_last_bit_of_the_weights_is_let_through(case: Any, model: Model) -> None:
    beside = attribution.nudged(model)
    told = proved(case, model, beside, dict(NOTHING), beside)
    assert told["bounds"]["p50"] == pytest.approx(parity.ROUNDINGS * told["rounding"]["p50"])
    assert 0 < told["rounding"]["p50"] < 1e-4


def test_the_same_graph_is_refused_where_nothing_tells_of_rounding(case: Any, model: Model) -> None:
    with pytest.raises(BadBundle, match=r"explain\.onnx \(p50"):
        proved(case, model, attribution.nudged(model), dict(NOTHING), None)


def test_a_graph_with_weights_a_hundredth_off_is_refused(case: Any, model: Model) -> None:
    with pytest.raises(BadBundle, match=r"explain\.onnx"):
        proved(case, model, scaled(model, 0.01), dict(explain.BOUNDS), attribution.nudged(model))


def test_no_yardstick_is_long_enough_for_explanations_that_look_different(case: Any, model: Model) -> None:
    far = scaled(model, 0.3)
    with pytest.raises(BadBundle) as refused:
        proved(case, model, far, dict(explain.BOUNDS), far)
    assert refused.value.details["bound"] == parity.AT_ALL["p50"]


def test_within_its_bounds_a_graph_is_not_compared_with_rounding(case: Any, model: Model) -> None:
    def never() -> Explainer:
        raise AssertionError("asked for")

    explaining = Explaining(explainer(case, model), {}, dict(explain.BOUNDS), never)
    runner = Runner(explainer(case, model))
    told = parity._prove_explanations(runner, model, explaining, case.x_nf[:ROWS], (1,))["explain"]
    assert "rounding" not in told
    assert told["bounds"] == explain.BOUNDS


def test_nudged_weights_are_neighbours_and_nearly_all_differ(model: Model) -> None:
    for before, behind in zip(
        jax.tree.leaves([part.weights for part in model.parts]),
        jax.tree.leaves([part.weights for part in attribution.nudged(model).parts]),
        strict=True,
    ):
        gap = np.abs(np.asarray(behind, np.float64) - np.asarray(before, np.float64))
        assert np.array_equal(gap, np.abs(np.nextafter(behind, before) - np.asarray(behind, np.float64)))
        assert (gap > 0).all()
