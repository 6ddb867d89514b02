"""One step of each optimizer is optax's own; decay, L1 and clipping do what they are for; members keep apart."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import combinations
from typing import Any, get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from tidemill.core.errors import BadSpec
from tidemill.core.spec import Train
from tidemill.training.optimizers import FULL_BATCH, RULES, Knobs, Optimizer, optimizer, penalised, rate_scale

RATE, DECAY, MOMENTUM, CLIP = 0.03, 0.2, 0.8, 0.7
KNOBS = Knobs(RATE, DECAY, 0.0, 0.0, MOMENTUM, CLIP)
PLAIN = Knobs(RATE, 0.0, 0.0, 0.0, 0.0, np.inf)
NAMES = list(RULES)


def some_weights(seed: int = 0) -> Any:
    """Two layers as the families hold them: matrices, biases, one scalar."""
    rng = np.random.default_rng(seed)
    shapes = {"hidden": {0: {"kernel": (4, 3), "bias": (3,)}}, "out": {"kernel": (3, 2), "bias": (2,)}, "gain": ()}
    return jax.tree.map(
        lambda shape: rng.normal(size=shape).astype(np.float32), shapes, is_leaf=lambda node: isinstance(node, tuple)
    )


def optax_of(name: str) -> Any:
    """What a user of optax would write for these settings."""
    matrices = partial(jax.tree.map, lambda leaf: leaf.ndim > 1)
    clip, pull = optax.clip_by_global_norm(CLIP), optax.add_decayed_weights(DECAY, matrices)
    rules = {
        "adamw": optax.adamw(RATE, weight_decay=DECAY, mask=matrices),
        "adam": optax.chain(pull, optax.adam(RATE)),
        "momentum": optax.chain(pull, optax.sgd(RATE, MOMENTUM)),
        "sgd": optax.chain(pull, optax.sgd(RATE)),
        "gradient_descent": optax.chain(pull, optax.sgd(RATE)),
    }
    return optax.chain(clip, rules[name])


def walk(step: Callable[..., Any], weights: Any, moments: Any, steps: int = 12) -> list[Any]:
    """The weights after each of some steps down a bent bowl whose gradient is at first long, then short."""
    seen = []
    for number in range(steps):
        gradients = jax.tree.map(lambda w, n=number: (jnp.tanh(w) + 0.1 * w) * 3.0 * 0.5**n, weights)
        weights, moments = step(weights, gradients, moments)
        seen.append(weights)
    return seen


@pytest.mark.parametrize("name", NAMES)
def test_every_step_is_the_step_of_optax(name: str) -> None:
    ours, theirs, weights = optimizer(name), optax_of(name), jax.tree.map(jnp.asarray, some_weights())

    @jax.jit
    def our_step(weights: Any, gradients: Any, moments: Any) -> Any:
        return ours.step(weights, gradients, moments, KNOBS, KNOBS.learning_rate)

    @jax.jit
    def their_step(weights: Any, gradients: Any, state: Any) -> Any:
        updates, state = theirs.update(gradients, state, weights)
        return optax.apply_updates(weights, updates), state

    pairs = zip(
        walk(our_step, weights, ours.init(weights)), walk(their_step, weights, theirs.init(weights)), strict=True
    )
    for ours_now, theirs_now in pairs:
        assert furthest(ours_now, theirs_now) < 1e-6
    assert furthest(weights, ours_now) > 0.1


def test_optimizers_that_should_differ_do() -> None:
    start = jax.tree.map(jnp.asarray, some_weights())
    ends = {name: many(optimizer(name), start, optimizer(name).init(start), KNOBS)[0] for name in NAMES}
    alike = {(a, b) for a, b in combinations(NAMES, 2) if furthest(ends[a], ends[b]) < 1e-3}
    assert alike == {("sgd", "gradient_descent")}  # one rule; they differ in the rows of a step


@pytest.mark.parametrize("name", NAMES)
def test_moments_are_zeros_before_and_keep_their_structure_and_types_after(name: str) -> None:
    weights = some_weights()
    fresh = optimizer(name).init(weights)
    assert shapes(fresh) == shapes(optimizer(name).init(jax.tree.map(jnp.asarray, weights)))
    assert all(isinstance(leaf, np.ndarray) and not leaf.any() for leaf in jax.tree.leaves(fresh))
    assert {leaf.dtype.name for leaf in jax.tree.leaves(fresh)} <= {"float32", "int32"}
    _, later = stepped(optimizer(name), KNOBS, weights, weights, fresh)
    assert shapes(later) == shapes(fresh)


def test_the_names_are_those_of_the_specification() -> None:
    assert list(RULES) == list(get_args(get_type_hints(Train)["optimizer"]))
    assert frozenset({"gradient_descent"}) == FULL_BATCH


def test_an_unknown_name_is_refused_with_the_right_ones() -> None:
    with pytest.raises(BadSpec, match="'adamax'") as caught:
        optimizer("adamax")
    assert all(repr(name) in caught.value.remedy for name in RULES)


# --- decay, L1, clipping --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_biases_and_excluded_leaves_feel_neither_decay_nor_l1(name: str) -> None:
    weights, strong = some_weights(), KNOBS._replace(weight_decay=5.0, l1=5.0)
    no_adapters = jax.tree.map(lambda _: True, weights)
    no_adapters["out"]["kernel"] = False
    still = jax.tree.map(np.zeros_like, weights)
    for decayed in (no_adapters, lambda path: path != "out/kernel"):
        after, _ = optimizer(name).step(weights, still, optimizer(name).init(weights), strong, RATE, decayed)
        moved = jax.tree.map(lambda a, b: not np.array_equal(a, b), after, weights)
        expected = jax.tree.map(lambda _: False, weights)
        expected["hidden"][0]["kernel"] = True
        assert moved == expected


def test_a_predicate_sees_paths_and_never_brings_a_bias_in() -> None:
    weights, seen = some_weights(), []
    chosen = penalised(weights, lambda path: seen.append(path) or True)
    assert sorted(seen) == ["gain", "hidden/0/bias", "hidden/0/kernel", "out/bias", "out/kernel"]
    assert chosen == penalised(weights)
    assert list(jax.tree.leaves(chosen)) == [np.ndim(leaf) > 1 for leaf in jax.tree.leaves(weights)]


@pytest.mark.parametrize("name", NAMES)
def test_l1_makes_the_weights_of_irrelevant_inputs_exactly_zero_and_keeps_the_others(name: str) -> None:
    fitted = linear_fit(name, PLAIN._replace(l1=0.1, momentum=0.9))
    without = linear_fit(name, PLAIN._replace(momentum=0.9))
    assert (fitted[3:] == 0.0).all()
    assert (without[3:] != 0.0).all()
    assert np.allclose(fitted[:3], TRUTH[:3], atol=0.15)
    assert (np.abs(fitted[:3]) < np.abs(without[:3])).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_norm_falls_with_the_strength_of_decay(name: str) -> None:
    strengths = [0.0, 0.03, 0.1, 0.3, 1.0]
    norms = [np.linalg.norm(linear_fit(name, PLAIN._replace(weight_decay=at, momentum=0.9))) for at in strengths]
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 0.8 * norms[0]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "adamw"])
def test_decay_ends_at_ridge_regression(name: str) -> None:
    x_nf, y_n = linear_problem()
    rows, columns = x_nf.shape
    closed = np.linalg.solve(x_nf.T @ x_nf / rows + 0.3 * np.eye(columns), x_nf.T @ y_n / rows)
    assert np.allclose(linear_fit(name, PLAIN._replace(weight_decay=0.3, momentum=0.5)), closed, atol=2e-3)


@pytest.mark.parametrize("name", NAMES)
def test_l1_ends_at_the_lasso_whatever_the_optimizer(name: str) -> None:
    """By the lasso's own condition: the slope is the strength where a weight stands, and less where it is zero."""
    x_nf, y_n = linear_problem()
    lasso = linear_fit(name, PLAIN._replace(l1=0.1, momentum=0.5))
    slope = x_nf.T @ (x_nf @ lasso - y_n) / len(y_n)
    assert np.allclose(slope[lasso != 0], -0.1 * np.sign(lasso[lasso != 0]), atol=2e-3)
    assert (np.abs(slope[lasso == 0]) <= 0.1).all()


@pytest.mark.parametrize("name", ["adam", "adamw"])
def test_where_no_gradient_came_l1_pulls_no_further_than_a_step_of_adam(name: str) -> None:
    weights = {"kernel": np.full((2, 2), 0.5, np.float32)}
    still = jax.tree.map(np.zeros_like, weights)
    after, _ = stepped(optimizer(name), PLAIN._replace(l1=0.01), weights, still, optimizer(name).init(weights))
    assert np.allclose(after["kernel"], 0.5 - RATE)


@pytest.mark.parametrize("length", [0.01, 1.0, 1e4])
def test_a_gradient_longer_than_the_norm_is_shortened_to_it_and_keeps_its_direction(length: float) -> None:
    weights = some_weights()
    gradients = some_weights(1)
    whole = float(optax.tree.norm(gradients))
    gradients = jax.tree.map(lambda g: g * np.float32(length / whole), gradients)
    after, _ = stepped(optimizer("sgd"), PLAIN._replace(clip_norm=0.5), weights, gradients, optax.EmptyState())
    moved = jax.tree.map(lambda a, b: (b - a) / RATE, after, weights)
    expected = jax.tree.map(lambda g: g * min(1.0, 0.5 / length), gradients)
    assert furthest(moved, expected) < 2e-5


@pytest.mark.parametrize("name", NAMES)
def test_every_optimizer_gets_there_with_a_rate_of_adam_times_its_scale(name: str) -> None:
    """And plain steps do not get there with the rate of Adam itself."""
    best, knobs = linear_fit("adam", PLAIN), PLAIN._replace(momentum=0.9, clip_norm=1.0)
    assert np.allclose(linear_fit(name, knobs, 0.01 * rate_scale(name, 0.9)), best, atol=0.02)
    assert np.allclose(linear_fit(name, knobs, 0.01), best, atol=0.02) == (name not in ("sgd", "gradient_descent"))


def test_without_momentum_the_scale_is_that_of_plain_steps() -> None:
    assert rate_scale("momentum", 0.0) == rate_scale("sgd", 0.0)


# --- many members at once -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_members_with_other_settings_get_what_each_alone_gets(name: str) -> None:
    """To 1e-6, not to the bit: XLA may add up the gradient's norm in another order for many members than for one."""
    members = [some_weights(seed) for seed in range(4)]
    strengths = np.float32([0.0, 0.01, 0.1, 0.3])
    knobs = Knobs(0.1 * strengths + 0.01, strengths, strengths[::-1] / 10, strengths, 3 * strengths, strengths + 0.5)
    rule = optimizer(name)
    together = jax.jit(jax.vmap(partial(many, rule)))
    alone = jax.jit(partial(many, rule))
    weights, moments = stacked(members), stacked([rule.init(weights) for weights in members])
    ends, memories = together(weights, moments, knobs)
    for at, member in enumerate(members):
        own = jax.tree.map(lambda values, at=at: values[at], knobs)
        end, memory = alone(member, rule.init(member), own)
        assert furthest(end, jax.tree.map(lambda leaf, at=at: leaf[at], ends)) < 1e-6
        assert furthest(memory, jax.tree.map(lambda leaf, at=at: leaf[at], memories)) < 1e-6


def test_other_settings_compile_nothing() -> None:
    program: Any = stepped
    compiled = program._cache_size()
    weights = some_weights()
    for knobs in (KNOBS, PLAIN, KNOBS._replace(momentum=0.1, l1=1.0)):
        program(optimizer("momentum"), knobs, weights, weights, optimizer("momentum").init(weights))
    assert program._cache_size() <= compiled + 1


@pytest.mark.parametrize("name", NAMES)
def test_one_diverged_member_does_not_touch_the_others(name: str) -> None:
    rule, members = optimizer(name), [some_weights(0), some_weights(1)]
    spoiled = [members[0], jax.tree.map(lambda leaf: np.full_like(leaf, np.nan), members[1])]
    moments = stacked([rule.init(members[0])] * 2)
    many_steps = jax.vmap(lambda w, m: many(rule, w, m, KNOBS))
    sound, sick = (many_steps(stacked(pair), moments)[0] for pair in (members, spoiled))
    first = [jax.tree.map(lambda leaf: leaf[0], tree) for tree in (sound, sick)]
    assert furthest(*first) == 0.0
    assert all(np.isnan(leaf[1]).all() for leaf in jax.tree.leaves(sick))


# --- what the tests above are made of -------------------------------------------------------------------------------

TRUTH = np.float32([2.0, -1.0, 1.0, 0, 0, 0])


def linear_problem() -> tuple[Any, Any]:
    """Rows in which the first three of six inputs matter."""
    rng = np.random.default_rng(3)
    x_nf = rng.normal(size=(200, 6)).astype(np.float32)
    return x_nf, x_nf @ TRUTH + np.float32(0.3) * rng.normal(size=200).astype(np.float32)


def linear_fit(name: str, knobs: Knobs, rate: float = 0.1) -> Any:
    """The weights of half the mean squared error after steps on all rows, the rate falling to nothing."""
    return np.asarray(linear_run(optimizer(name), knobs, *linear_problem(), rate))


@partial(jax.jit, static_argnums=0)
def linear_run(rule: Optimizer, knobs: Knobs, x_nf: Any, y_n: Any, rate: Any, steps: int = 800) -> Any:
    start = {"kernel": np.zeros((x_nf.shape[1], 1), np.float32)}

    def loss(weights: Any) -> jax.Array:
        return 0.5 * jnp.square((x_nf @ weights["kernel"])[:, 0] - y_n).mean()

    def step(number: jax.Array, carry: Any) -> Any:
        falling = rate * (1 - number / steps)
        return rule.step(carry[0], jax.grad(loss)(carry[0]), carry[1], knobs, falling)

    return jax.lax.fori_loop(0, steps, step, (start, rule.init(start)))[0]["kernel"][:, 0]


@partial(jax.jit, static_argnums=0)
def stepped(rule: Optimizer, knobs: Knobs, weights: Any, gradients: Any, moments: Any) -> Any:
    """A step at the full rate."""
    return rule.step(weights, gradients, moments, knobs, knobs.learning_rate)


def many(rule: Optimizer, weights: Any, moments: Any, knobs: Knobs) -> Any:
    """Eight steps."""

    def once(number: jax.Array, carry: Any) -> Any:
        gradients = jax.tree.map(lambda w: jnp.sin(3 * w + number), carry[0])
        return rule.step(carry[0], gradients, carry[1], knobs, knobs.learning_rate)

    return jax.lax.fori_loop(0, 8, once, (weights, moments))


def stacked(trees: list[Any]) -> Any:
    """Trees as one tree with a leading axis."""
    return jax.tree.map(lambda *leaves: np.stack(leaves), *trees)


def shapes(tree: Any) -> Any:
    """Paths, shapes and types of a tree's leaves."""
    return [
        (jax.tree_util.keystr(path), leaf.shape, str(leaf.dtype))
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree)
    ]


def furthest(left: Any, right: Any) -> float:
    """The largest difference between two trees."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return max((float(np.max(np.abs(np.asarray(a) - np.asarray(b)))) for a, b in pairs), default=0.0)
