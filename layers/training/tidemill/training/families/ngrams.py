"""linear, for texts: a weight for every n-gram and output, found by solving; the model to beat on most texts.

With log-count ratios (Wang and Manning 2012, "NB-SVM") every n-gram counts from the start by how much more often a
class uses it; the weights that are learned then only correct that.

Axes: n rows, b batch rows, m n-grams of a text, t tokens, v n-grams of the vocabulary, k outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tidemill.training import solving
from tidemill.training.families import Drop, Weights, words

NAME = "linear"
DESCRIPTION = "A linear model: one weight for each n-gram."
Array = NDArray[Any]


@dataclass(frozen=True)
class Ngrams:
    """The sizes: n-grams and tokens known, and outputs."""

    features: tuple[int, int]
    outputs: int

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Zeros: the problem is convex, every start leads to the same end."""
        return {
            "table": np.zeros((self.features[0], self.outputs), np.float32),
            "bias": np.zeros(self.outputs, np.float32),
        }

    def decayed(self, weights: Weights) -> Any:
        """The table, not the bias."""
        return {"table": True, "bias": False}

    def encode(self, weights: Weights, x: Any) -> jax.Array:
        """What each n-gram of a text says of each output [b, m, k]."""
        said_bmk: jax.Array = weights["table"][x.bag_nm] * x.weight_nm[..., None]
        return said_bmk

    def origin(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """A text without n-grams."""
        return jnp.zeros_like(encoded)

    def by_place(self, value_bmk: jax.Array, x: Any) -> jax.Array:
        """Values of n-grams, then nothing for tokens."""
        return words.placed(x, gram_bm=value_bmk.sum(-1))

    def enter(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """All said together."""
        out_bk: jax.Array = encoded.sum(1) + weights["bias"]
        return out_bk

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Nothing more to do."""
        return entered


def look(x: Any, y_n: Array | None, classes: int, like: Any = None) -> None:
    """A linear model needs to know nothing before."""


def net(features: Any, outputs: int, seen: Any, members: int | None = None, width: int | None = None) -> Ngrams:
    """The architecture for these sizes."""
    return Ngrams(tuple(features), outputs)


def trials(task: str, rows: int) -> list[dict[str, float]]:
    """Strengths of L2 over the number of rows, with and without log-count ratios.

    A weight decay of 0.1 is scikit-learn's C = 10.
    """
    default = {"learning_rate": 0.0, "weight_decay": 0.3, "l1": 0.0, "dropout": 0.0, "width": 0.0, "ratios": 0.0}
    found = [{**default, "weight_decay": pull} for pull in (0.3, 0.1, 1.0, 0.02)]
    if task != "regression":
        found.insert(3, {**default, "ratios": 1.0, "weight_decay": 1.0})
    return found


def solve(x: Any, target_nk: Array, weight_n: Array, settings: dict[str, float], classes: bool) -> Weights:
    """The best weights for these rows; `target` holds classes as one-hot, or standardised values."""
    x_nv = solving.table_of(x.bag_nm, x.weight_nm, int(settings["slots"]))
    used = np.flatnonzero(np.diff(x_nv.tocsc().indptr))
    strength = settings["weight_decay"] / len(weight_n)
    if settings["ratios"]:
        w_uk, bias_k = _by_ratios(x_nv[:, used], target_nk, weight_n, strength)
    else:
        w_uk, bias_k = solving.solved(x_nv[:, used], target_nk, weight_n, strength, classes)
    table_vk = np.zeros((x_nv.shape[1], target_nk.shape[1]), np.float32)
    table_vk[used] = w_uk
    return {"table": table_vk, "bias": bias_k.astype(np.float32)}


def _by_ratios(x_nu: Any, target_nk: Array, weight_n: Array, strength: float) -> tuple[Array, Array]:
    """One problem for each class, its columns multiplied by the class's ratios; for two classes just one."""
    outputs = target_nk.shape[1]
    seen = (x_nu > 0).astype(np.float64)
    ratio_uk = solving.log_ratios(seen, target_nk.argmax(1), outputs)
    w_uk, bias_k = np.zeros((x_nu.shape[1], outputs)), np.zeros(outputs)
    for k in range(outputs) if outputs > 2 else (1,):
        one_nk = np.stack([1 - target_nk[:, k], target_nk[:, k]], 1)
        w_u2, b_2 = solving.solved(x_nu.multiply(ratio_uk[:, k]).tocsr(), one_nk, weight_n, strength, True)
        w_uk[:, k], bias_k[k] = ratio_uk[:, k] * (w_u2[:, 1] - w_u2[:, 0]), b_2[1] - b_2[0]
    return w_uk, bias_k
