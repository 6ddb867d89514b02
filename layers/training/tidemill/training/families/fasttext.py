"""fasttext: words and pairs of words as vectors, their average, and a linear layer (arXiv 1607.01759).

Pairs share vectors by a hash, as in the paper: neighbours are told from the same words apart at no cost of memory. A
Chinese or Japanese character is a word here.

Axes: b batch rows, t tokens, e of an embedding, k outputs; 2: a token, and it with the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tidemill.core.features.texts import UNKNOWN
from tidemill.training.families import Drop, Weights, grid, modules, words

NAME = "fasttext"
DESCRIPTION = "Averaged vectors of words and of pairs of words, and a linear layer."
EMBEDDING = 16  # the paper needs ten
BUCKETS = 16_381  # of pairs; a prime
FIRST, SECOND = 5_741, 3_571  # what the two words of a pair are multiplied with: below 2**31 for 30,000 words


class Layers(nnx.Module):  # type: ignore[misc]
    """The layers as Flax sees them."""

    def __init__(self, tokens: int, outputs: int, width: int, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Param(jnp.zeros((tokens + BUCKETS, width)))
        self.out = modules.Linear(width, outputs, rngs=rngs)


@dataclass(frozen=True)
class Fasttext:
    """The sizes: n-grams and tokens known, outputs, width."""

    features: tuple[int, int]
    outputs: int
    width: int

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Small vectors; the layer uniform by Glorot."""
        return words.begun(modules.blank(Layers, *self._sizes), rng)

    def decayed(self, weights: Weights) -> Any:
        """The layer, not the vectors."""
        return {**modules.matrices(weights), "embedding": False}

    def encode(self, weights: Weights, x: Any) -> jax.Array:
        """Vectors of tokens and of pairs [b, 2, t, e], each by its share of the text; unknown tokens have none."""
        next_bt = words.following(x.seq_nt)
        pair_bt = (x.seq_nt * FIRST + next_bt * SECOND) % BUCKETS + self.features[1]
        known_bt, known_next_bt = x.seq_nt > UNKNOWN, next_bt > UNKNOWN
        known_b2t = jnp.stack([known_bt, known_bt & known_next_bt], 1).astype(jnp.float32)
        share_b2t = known_b2t / jnp.maximum(known_b2t.sum((1, 2), keepdims=True), 1.0)
        vector_b2te: jax.Array = weights["embedding"][jnp.stack([x.seq_nt, pair_bt], 1)]
        return vector_b2te * share_b2t[..., None]

    def origin(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """A text without words."""
        return jnp.zeros_like(encoded)

    def by_place(self, value_b2te: jax.Array, x: Any) -> jax.Array:
        """Values of tokens, half of a pair's for each of its two."""
        token_bt, half_bt = value_b2te[:, 0].sum(-1), value_b2te[:, 1].sum(-1) / 2.0
        return words.placed(x, token_bt=token_bt + half_bt + words.preceding(half_bt))

    def enter(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """The average vector [b, e]."""
        return encoded.sum((1, 2))

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, k]."""
        out_bk: jax.Array = modules.with_weights(weights, Layers, *self._sizes).out(drop(entered))
        return out_bk

    @property
    def _sizes(self) -> tuple[int, int, int]:
        return self.features[1], self.outputs, self.width


def look(x: Any, y_n: NDArray[Any] | None, classes: int, like: Any = None) -> None:
    """This net needs to know nothing before."""


def net(features: Any, outputs: int, seen: Any, members: int | None = None, width: int | None = None) -> Fasttext:
    """The architecture for these sizes."""
    return Fasttext(tuple(features), outputs, width or EMBEDDING)


def trials(task: str, rows: int) -> list[dict[str, float]]:
    """Large steps: a vector is moved only by the texts that have its word."""
    default = {"learning_rate": 1e-2, "weight_decay": 1e-3, "l1": 0.0, "dropout": 0.2, "width": 0.0}
    return grid(default, learning_rate=(1e-2, 3e-3, 2e-2), dropout=(0.2, 0.5, 0.0), weight_decay=(1e-3, 1e-1))
