"""Optimizers by name: one step of one member, pure, every hyper-parameter an array.

Another rate, decay or momentum is another value in the same compiled program, so a population of settings is one
`jax.vmap` over members. The rules and their state are optax's; what is here is the order in which they are applied:

    clip the gradient -> (L2: add decay * w) -> the rule -> (AdamW: add decay * w) -> w - rate * update -> L1 threshold

Whatever the optimizer, where it settles is the minimum of loss + l1 * sum |w| (+ decay / 2 * sum w^2, but for AdamW):
a strength of L1 found with one holds for the others.

Sources: Adam arXiv 1412.6980, decoupled decay (AdamW) arXiv 1711.05101, heavy ball Polyak 1964, clipping by norm
arXiv 1211.5063, the L1 threshold Duchi and Singer 2009 (JMLR 10, "forward-backward splitting"), its length under Adam
Yun, Lozano and Yang 2021 (NeurIPS, "Adaptive proximal gradient methods for structured neural networks").
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tidemill.core.errors import BadSpec
from tidemill.training.augment import Bend
from tidemill.training.families import Weights

Number = jax.Array | np.float32 | float
Moments = Any  # what a rule remembers between steps: a pytree of float32 and int32 arrays, maybe without any
Decayed = Any  # a pytree of bool like the weights, or a function of a leaf's path ("hidden/0/kernel")


B2, EPSILON = 0.999, 1e-8  # of Adam, as its authors advise and optax has them


class Knobs(NamedTuple):
    """The traced settings of one member: another value, the same compiled program."""

    learning_rate: Number
    weight_decay: Number
    l1: Number
    dropout: Number
    momentum: Number
    clip_norm: Number  # gradients longer than this are shortened to it; infinite: never
    bend: Bend | None = None  # of pictures in training; None for what cannot be bent


class Rule(NamedTuple):
    """What is particular to an optimizer."""

    transform: Callable[[Knobs], Any]  # optax's, of a member's settings
    l1_step: Callable[[Knobs, Moments, Weights], Any]  # how far L1 pulls each weight in a step at a rate of one
    decoupled: bool = False  # decay acts on the weights (AdamW); else it is L2, a part of the gradient


def adam_l1(knobs: Knobs, moments: Moments, weights: Weights) -> Any:
    """Divided like Adam's own step, and never longer than it: where no gradient came yet, nothing is wiped out."""
    del weights
    square_root = jax.tree.map(jnp.sqrt, optax.tree.bias_correction(moments.nu, B2, moments.count))
    return jax.tree.map(lambda root: jnp.minimum(1.0, knobs.l1 / (root + EPSILON)), square_root)


def momentum_l1(knobs: Knobs, moments: Moments, weights: Weights) -> Any:
    """As far as a steady gradient of that size would go once the ball rolls."""
    del moments
    return jax.tree.map(lambda _: knobs.l1 / (1.0 - knobs.momentum), weights)


def plain_l1(knobs: Knobs, moments: Moments, weights: Weights) -> Any:
    """As far as a gradient of that size."""
    del moments
    return jax.tree.map(lambda _: knobs.l1, weights)


def _adam(_: Knobs) -> Any:
    return optax.scale_by_adam(b2=B2, eps=EPSILON)


RULES: dict[str, Rule] = {
    "adamw": Rule(_adam, adam_l1, decoupled=True),
    "adam": Rule(_adam, adam_l1),
    "momentum": Rule(lambda knobs: optax.trace(knobs.momentum), momentum_l1),
    "sgd": Rule(lambda _: optax.identity(), plain_l1),
    "gradient_descent": Rule(lambda _: optax.identity(), plain_l1),
}
FULL_BATCH = frozenset({"gradient_descent"})  # one step an epoch, on all rows


@dataclass(frozen=True)
class Optimizer:
    """A rule by name; hashable, so that JAX can take it as a static argument."""

    name: str

    def init(self, weights: Weights) -> Moments:
        """The moments before the first step: zeros, as NumPy arrays, so that nothing is compiled for them."""
        transform = RULES[self.name].transform(Knobs(0.0, 0.0, 0.0, 0.0, 0.0, 0.0))
        return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), jax.eval_shape(transform.init, weights))

    def step(
        self,
        weights: Weights,
        gradients: Weights,
        moments: Moments,
        knobs: Knobs,
        rate: Number,
        decayed: Decayed = None,
    ) -> tuple[Weights, Moments]:
        """One step of one member; `rate` is the learning rate times the schedule's factor.

        Leaves of one axis or none (biases) are neither decayed nor pulled to zero by L1, nor are those that `decayed`,
        which is static, says no to.
        """
        rule, chosen = RULES[self.name], penalised(weights, decayed)

        def pulled(pushes: Weights) -> Weights:
            return jax.tree.map(lambda g, w, on: g + knobs.weight_decay * w if on else g, pushes, weights, chosen)

        gradients = clipped(gradients, knobs.clip_norm)
        gradients = gradients if rule.decoupled else pulled(gradients)
        updates, moments = rule.transform(knobs).update(gradients, moments)
        updates = pulled(updates) if rule.decoupled else updates

        def moved(weight: jax.Array, update: jax.Array, on: bool, l1: jax.Array) -> jax.Array:
            weight = weight - rate * update
            return towards_zero(weight, rate * l1) if on else weight

        return jax.tree.map(moved, weights, updates, chosen, rule.l1_step(knobs, moments, weights)), moments


def optimizer(name: str) -> Optimizer:
    """An optimizer by name; raises BadSpec naming the known ones."""
    if name not in RULES:
        raise BadSpec(f"[train] optimizer is {name!r}.", remedy=f"It is one of {', '.join(map(repr, RULES))}.")
    return Optimizer(name)


def rate_scale(name: str, momentum: float) -> float:
    """How many times the learning rate that suits Adam suits an optimizer; for a search whose rates are Adam's.

    Of rates half a decade apart, on a 64-32 net, gradients clipped to 1, 100 epochs of batches of 32 on digits, breast
    cancer and diabetes of scikit-learn: the best were .003-.1 for Adam, .1-3 for sgd, .03-3 for gradient_descent
    (digits .04 at 3 against 2.4 at .001), .01-.3 for a momentum of .9.
    """
    plain = {"sgd": 100.0, "gradient_descent": 300.0, "momentum": 100.0 * (1.0 - momentum)}
    return plain.get(name, 1.0)


def penalised(weights: Weights, decayed: Decayed = None) -> Any:
    """Which leaves of one member's weights decay and L1 act on: a pytree of bool."""
    matrices = jax.tree.map(lambda leaf: leaf.ndim > 1, weights)
    if decayed is None:
        return matrices
    if callable(decayed):
        named = jax.tree_util.keystr
        chosen = jax.tree_util.tree_map_with_path(
            lambda path, _: bool(decayed(named(path, simple=True, separator="/"))), weights
        )
    else:
        chosen = decayed
    return jax.tree.map(lambda matrix, yes: matrix and bool(yes), matrices, chosen)


def clipped(gradients: Weights, norm: Number) -> Weights:
    """The gradient, shortened where its norm over all leaves is above `norm`."""
    shrink = jnp.minimum(1.0, norm / (optax.tree.norm(gradients) + 1e-9))
    return jax.tree.map(lambda g: g * shrink, gradients)


def towards_zero(weight: jax.Array, by: Number) -> jax.Array:
    """The soft threshold, the proximal step of L1: what is smaller than `by` becomes exactly zero."""
    return jnp.sign(weight) * jnp.maximum(jnp.abs(weight) - by, 0.0)
