"""Every family keeps the promises of Net: affine where it enters, honest about what decays, equal when exported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from tests.training.populations import TASKS, Problem, member, members, same

from tidemill.core.errors import BadSpec
from tidemill.training import export
from tidemill.training.families import FAMILIES, family
from tidemill.training.loop import Pace, predict

Make = Callable[..., Problem]
FEATURES = 5
BATCHES = (1, 3, 64)


def net_of(name: str, outputs: int = 3) -> tuple[Any, Any]:
    """A small net and one member's weights."""
    x_nf = rows(1, 200)
    x_nf[:, 2] = x_nf[:, 2] > 0  # a flag: no number
    x_nf[:, [0, 3]] = x_nf[:, [0, 3]] > 0  # flags between numbers
    seen = family(name).look(x_nf, None, outputs)
    net = family(name).net(FEATURES, outputs, seen, 2, 8)
    return net, net.init(np.random.default_rng(0), 8, seen)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_describes_itself_in_a_line(name: str) -> None:
    known = family(name)
    assert name == known.NAME
    assert known.DESCRIPTION.endswith(".")
    assert "\n" not in known.DESCRIPTION


def test_an_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(BadSpec, match="'forest'") as caught:
        family("forest")
    assert all(repr(name) in caught.value.remedy for name in FAMILIES)


def rows(seed: int = 2, count: int = 3) -> Any:
    return np.random.default_rng(seed).normal(size=(count, FEATURES)).astype(np.float32)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_net_is_affine_where_encoded_features_enter(name: str) -> None:
    net, weights = net_of(name)
    a, b = np.asarray(net.encode(weights, rows(2))), np.asarray(net.encode(weights, rows(3)))
    entered = [net.enter(weights, encoded) for encoded in (0.25 * a + 0.75 * b, a, b)]
    for between, left, right in zip(*map(jax.tree.leaves, entered), strict=True):
        assert np.allclose(between, 0.25 * left + 0.75 * right, atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_encoded_column_tells_of_one_feature_and_is_counted_with_it(name: str) -> None:
    net, weights = net_of(name)
    x_bf = rows(count=4)
    encoded = np.asarray(net.encode(weights, x_bf))
    for feature in range(FEATURES):
        moved = x_bf.copy()
        moved[:, feature] += 1.0
        change = np.abs(np.asarray(net.encode(weights, moved)) - encoded)
        counted = np.asarray(net.by_feature(change))
        assert change.max() > 0
        assert (counted[:, feature] > 0).all()
        assert not np.delete(counted, feature, axis=1).any()


@pytest.mark.parametrize("name", FAMILIES)
def test_counting_by_feature_loses_nothing(name: str) -> None:
    net, weights = net_of(name)
    width = np.asarray(net.encode(weights, rows())).shape[1]
    value_be = np.random.default_rng(5).normal(size=(7, width)).astype(np.float32)
    assert np.asarray(net.by_feature(value_be)).shape == (7, FEATURES)
    assert np.allclose(net.by_feature(value_be).sum(1), value_be.sum(1), atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_what_decays_is_told_for_every_leaf_and_is_never_a_bias(name: str) -> None:
    net, weights = net_of(name)
    told = net.decayed(weights)
    assert jax.tree.structure(told) == jax.tree.structure(weights)
    assert all(isinstance(yes, bool) for yes in jax.tree.leaves(told))
    assert any(jax.tree.leaves(told))
    for path, yes in jax.tree_util.tree_leaves_with_path(told):
        kept = ("bias", "edges", "shift", "adapter")
        assert not (yes and any(word in jax.tree_util.keystr(path) for word in kept))


@pytest.mark.parametrize("name", FAMILIES)
def test_equal_sizes_are_equal_nets_so_that_programs_are_shared(name: str) -> None:
    first, second = net_of(name)[0], net_of(name)[0]
    assert (first, hash(first)) == (second, hash(second))
    assert first != net_of(name, 2)[0]


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_are_finite_float32_and_follow_from_the_seed(name: str) -> None:
    weights = net_of(name)[1]
    for leaf in jax.tree.leaves(weights):
        assert leaf.dtype == np.float32
        assert np.isfinite(leaf).all()
    again = net_of(name)[1]
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (weights, again)), strict=True))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("task", TASKS)
def test_the_exported_net_answers_as_the_trained_one_at_every_batch_size(
    make_problem: Make, name: str, task: str
) -> None:
    case = members(make_problem(task), family=name)
    weights = jax.tree.map(lambda leaf: leaf[0], case.start().weights)
    if name == "linear":
        weights = jax.tree.map(lambda leaf: leaf + np.arange(leaf.size).reshape(leaf.shape), weights)

    def answer(x_bf: Any) -> Any:
        return predict(case.kind, weights, case.ground.scale, x_bf)

    model = export.to_onnx(answer, {"x": f"batch, {FEATURES}"}, ("answer",))
    for size in BATCHES:
        x_bf = 3 * np.random.default_rng(size).normal(size=(size, FEATURES)).astype(np.float32)
        unit = float(case.ground.scale.std) if task == "regression" else 1.0
        assert export.difference(model, answer, [x_bf])["answer"] <= 1e-5 * unit


@pytest.fixture(scope="module")
def levelled(make_problem: Make) -> Problem:
    """A table whose second column has few levels: fewer bins than there is room for."""
    case = make_problem("regression")
    x_nf = case.x_nf.copy()
    x_nf[:, 1] = np.digitize(x_nf[:, 1], [-1, -0.3, 0.3, 1])
    return Problem(x_nf, case.y_n, case.config)


@pytest.mark.parametrize("name", FAMILIES)
def test_weights_stay_numbers_in_training(levelled: Problem, name: str) -> None:
    state = members(levelled, family=name, pace=Pace(3, 3)).train()
    trees = {"weights": state.weights, "average": state.average, "best": state.best}
    for path, leaf in jax.tree_util.tree_leaves_with_path(trees):
        assert not np.isnan(leaf).any(), jax.tree_util.keystr(path)


@pytest.mark.parametrize("name", FAMILIES)
def test_without_steps_nothing_moves_in_the_average_either(levelled: Problem, name: str) -> None:
    case = members(levelled, {"learning_rate": 0.0}, family=name, pace=Pace(3, 3))
    assert same(member(case.train().average, 0, 0), member(case.start().average, 0, 0))


def test_a_width_of_ten_is_the_net_for_numbers() -> None:
    from tidemill.training.families.mlp import live_units

    assert live_units(10, (64, 32)) == (10, 20)
    assert live_units(16, (64, 32)) == (16, 8)
    assert live_units(500, (64, 32)) == (64, 32)
    assert live_units(1, (64, 32)) == (1, 1)
