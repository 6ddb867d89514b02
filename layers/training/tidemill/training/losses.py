"""From a net's outputs to a loss in training and to the answer a user gets.

Axes: b batch rows, k outputs, m members.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

MARGIN = 0.05  # of the target's range: how far beyond what was seen an answer may go
EPSILON = float(np.finfo(np.float32).eps)


Number = jax.Array | np.float32


class Scale(NamedTuple):
    """How a regression target is standardised, and the range answers are held to; unused for classes."""

    mean: Number
    std: Number
    low: Number
    high: Number


def scale_of(y_n: NDArray[Any], *, log1p: bool) -> Scale:
    """Learn a target's scale from the training rows. A target that is never negative gets no negative answers."""
    if y_n.dtype.kind != "f":
        return Scale(*map(np.float32, (0, 1, 0, 1)))
    learned = np.log1p(y_n) if log1p else y_n
    margin = MARGIN * (y_n.max() - y_n.min())
    low = y_n.min() - margin
    low = max(low, 0.0) if y_n.min() >= 0 else low
    return Scale(*map(np.float32, (learned.mean(), learned.std() or 1.0, low, y_n.max() + margin)))


def row_losses(task: str, log1p: bool, scale: Scale, out_bk: jax.Array, y_b: jax.Array) -> jax.Array:
    """The training loss of each row: cross entropy, or the squared error of the standardised target."""
    if task != "regression":
        loss_b: jax.Array = optax.softmax_cross_entropy_with_integer_labels(out_bk, y_b)
        return loss_b
    learned_b = jnp.log1p(y_b) if log1p else y_b
    return jnp.square(out_bk[:, 0] - (learned_b - scale.mean) / scale.std)


def answer(task: str, log1p: bool, scale: Scale, out_mbk: jax.Array) -> jax.Array:
    """Members' outputs as one answer: mean probabilities [b, k], or the value [b, 1] in the target's unit."""
    if task != "regression":
        return jax.nn.softmax(out_mbk, axis=-1).mean(0)
    learned_bk = out_mbk.mean(0) * scale.std + scale.mean
    value_bk = jnp.expm1(learned_bk) if log1p else learned_bk
    return jnp.clip(value_bk, scale.low, scale.high)


def primary_losses(task: str, answer_bk: jax.Array, y_b: jax.Array) -> jax.Array:
    """What early stopping watches: -log p of the true class, or the squared error in the target's unit."""
    if task != "regression":
        p_b = jnp.take_along_axis(answer_bk, y_b[:, None], axis=1)[:, 0]
        return -jnp.log(jnp.clip(p_b, EPSILON, 1.0))
    return jnp.square(answer_bk[:, 0] - y_b)
