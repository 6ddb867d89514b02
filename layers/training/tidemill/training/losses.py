"""From a net's outputs to a loss in training and to the answer a user gets; losses by name.

What an answer means follows from the loss. Classes: softmax and sigmoid give probabilities. Numbers: mse answers the
mean, mae the median, huber something between (a mean that distant rows cannot move far). With a target learned on a
logarithmic scale mse answers the exponential of the mean logarithm; a median is a median on either scale.

Axes: n rows, b batch rows, k classes or outputs, m members.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from numpy.typing import NDArray

from tidemill.core.errors import BadSpec

MARGIN = 0.05  # of the target's range: how far beyond what was seen an answer may go
EPSILON = float(np.finfo(np.float32).eps)
HUBER_DELTA = 1.0  # standard deviations of the target at which huber turns from a parabola into a line
FOR_CLASSES = ("softmax", "sigmoid")
FOR_NUMBERS = ("mse", "mae", "huber")
ROBUST = ("mae", "huber")
CLASS_WEIGHTS = ("none", "balanced")

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


def resolve_loss(name: str, task: str) -> str:
    """The loss a name means for a task; raises BadSpec, naming the right ones, for a loss that does not fit it."""
    fitting = FOR_NUMBERS if task == "regression" else FOR_CLASSES
    if name == "auto":
        return fitting[0]
    if name not in fitting:
        raise BadSpec(
            f"[train] loss is {name!r}, and the task is {task}.",
            remedy=f"For {task} it is one of {', '.join(map(repr, ('auto', *fitting)))}.",
        )
    return name


def row_losses(
    task: str, log1p: bool, scale: Scale, out_bk: jax.Array, y_b: jax.Array, loss: str = "auto"
) -> jax.Array:
    """The training loss of each row: of its outputs and its class, or of its output and the standardised target."""
    loss_of = LOSSES[resolve_loss(loss, task)]
    if task != "regression":
        return loss_of(out_bk, y_b)
    learned_b = jnp.log1p(y_b) if log1p else y_b
    return loss_of(out_bk[:, 0], (learned_b - scale.mean) / scale.std)


def _sigmoid(out_bk: jax.Array, y_b: jax.Array) -> jax.Array:
    """Cross entropy of yes/no questions, summed: one question per class; for two classes just one."""
    if out_bk.shape[-1] == 2:  # "the second class?": the same function as softmax
        out_bk, asked_bk = out_bk[:, 1:] - out_bk[:, :1], y_b[:, None]
    else:
        asked_bk = jax.nn.one_hot(y_b, out_bk.shape[-1], dtype=out_bk.dtype)
    loss_b: jax.Array = optax.losses.sigmoid_binary_cross_entropy(out_bk, asked_bk).sum(-1)
    return loss_b


def _huber(out_b: jax.Array, target_b: jax.Array) -> jax.Array:
    """Half the square of a small error, the distance less a half of a large one (Huber 1964)."""
    loss_b: jax.Array = optax.losses.huber_loss(out_b, target_b, delta=HUBER_DELTA)
    return loss_b


LOSSES: dict[str, Callable[[jax.Array, jax.Array], jax.Array]] = {
    "softmax": optax.losses.softmax_cross_entropy_with_integer_labels,
    "sigmoid": _sigmoid,
    "mse": optax.losses.squared_error,
    "mae": lambda out_b, target_b: jnp.abs(out_b - target_b),
    "huber": _huber,
}


def answer(task: str, log1p: bool, scale: Scale, out_mbk: jax.Array, loss: str = "auto") -> jax.Array:
    """Members' outputs as one answer: mean probabilities [b, k], or the value [b, 1] in the target's unit."""
    if task != "regression":
        return _probabilities(out_mbk, resolve_loss(loss, task)).mean(0)
    learned_bk = out_mbk.mean(0) * scale.std + scale.mean
    value_bk = jnp.expm1(learned_bk) if log1p else learned_bk
    return jnp.clip(value_bk, scale.low, scale.high)


def _probabilities(out_mbk: jax.Array, loss: str) -> jax.Array:
    """Probabilities that sum to one. Sigmoids of three classes or more are divided by their sum, as logarithms."""
    if loss == "sigmoid" and out_mbk.shape[-1] > 2:
        out_mbk = jnp.minimum(out_mbk, 0.0) - jnp.log1p(jnp.exp(-jnp.abs(out_mbk)))  # log sigmoid
    return jax.nn.softmax(out_mbk, axis=-1)


def watched(task: str, loss: str = "auto") -> str:
    """The measure that early stopping, halving and blending go by.

    The squared error would take back what mae and huber learn: it prefers the mean, so the epoch nearest to it.
    """
    if task != "regression":
        return "log loss"
    return "MAE" if resolve_loss(loss, task) in ROBUST else "RMSE"


def primary_losses(task: str, answer_bk: jax.Array, y_b: jax.Array, loss: str = "auto") -> jax.Array:
    """Rows of what is watched: -log p of the true class; the squared or the absolute error in the target's unit."""
    if task != "regression":
        p_b = jnp.take_along_axis(answer_bk, y_b[:, None], axis=1)[:, 0]
        return -jnp.log(jnp.clip(p_b, EPSILON, 1.0))
    error_b = answer_bk[:, 0] - y_b
    return jnp.abs(error_b) if watched(task, loss) == "MAE" else jnp.square(error_b)


def class_weights(name: str, y_n: NDArray[Any], classes: int) -> NDArray[np.float32]:
    """What a row of each class weighs in training [k]: one, or balanced, n / (k count_k) as in scikit-learn.

    Balanced weights average to one over the rows. Classes without rows are not counted in k and weigh one.
    Raises BadSpec for an unknown name, and for a target that has no classes.
    """
    if name not in CLASS_WEIGHTS:
        names = ", ".join(map(repr, CLASS_WEIGHTS))
        raise BadSpec(f"[train] class_weights is {name!r}.", remedy=f"It is one of {names}.")
    if name == "none":
        return np.ones(classes, np.float32)
    if y_n.dtype.kind == "f":
        raise BadSpec(f"[train] class_weights is {name!r}, and the target is a number.", remedy="Leave it out.")
    count_k = np.bincount(y_n, minlength=classes)
    even = len(y_n) / max(1, int(np.count_nonzero(count_k)))
    return np.where(count_k > 0, even / np.maximum(count_k, 1), 1.0).astype(np.float32)
