"""fasttext: n-grams as vectors, their average, and a linear layer (arXiv 1607.01759).

Only the more frequent n-grams have a vector: what is seen twice teaches a vector nothing.

Axes: b batch rows, m n-grams of a text, e of an embedding, k outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tidemill.training.families import Drop, Weights, grid, modules, words

NAME = "fasttext"
DESCRIPTION = "Averaged vectors of n-grams, and a linear layer."
EMBEDDING = 48
KNOWN = 30_000  # n-grams with a vector, the most frequent


class Layers(nnx.Module):  # type: ignore[misc]
    """The layers as Flax sees them."""

    def __init__(self, ngrams: int, known: int, outputs: int, width: int, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Param(jnp.zeros((known + 1, width)))
        self.place = nnx.Param(jnp.zeros(ngrams))  # of an n-gram's vector, 0 for none: constant, nothing pulls on it
        self.out = nnx.Linear(width, outputs, rngs=rngs)


@dataclass(frozen=True)
class Fasttext:
    """The sizes: n-grams with a vector, outputs, width."""

    features: tuple[int, int]
    outputs: int
    width: int

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Small vectors; the layer uniform by Glorot; the places as they were seen."""
        place_v = np.pad(np.asarray(seen, np.float32), (0, self.features[0] - len(seen)))
        return {**words.begun(modules.blank(Layers, *self._sizes), rng), "place": place_v}

    def decayed(self, weights: Weights) -> Any:
        """The layer, not the vectors."""
        return {**modules.matrices(weights), "embedding": False}

    def encode(self, weights: Weights, x: Any) -> jax.Array:
        """Weighed vectors of the n-grams that have one [b, m, e], each by its share of the text."""
        place_bm = weights["place"][x.bag_nm].astype(jnp.int32)
        known_bm = (place_bm > 0) * x.weight_nm
        share_bm = known_bm / jnp.maximum(jnp.abs(known_bm).sum(1, keepdims=True), 1e-6)
        vector_bme: jax.Array = weights["embedding"][place_bm]
        return vector_bme * share_bm[..., None]

    def origin(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """A text without n-grams."""
        return jnp.zeros_like(encoded)

    def by_place(self, value_bme: jax.Array, x: Any) -> jax.Array:
        """Values of n-grams, then nothing for tokens [b, m + t]."""
        return jnp.concatenate([value_bme.sum(-1), jnp.zeros(x.seq_nt.shape, value_bme.dtype)], 1)

    def enter(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """The average vector [b, e]."""
        return encoded.sum(1)

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, k]."""
        out_bk: jax.Array = modules.with_weights(weights, Layers, *self._sizes).out(drop(entered))
        return out_bk

    @property
    def _sizes(self) -> tuple[int, int, int, int]:
        return self.features[0], min(KNOWN, self.features[0]), self.outputs, self.width


def look(x: Any, y_n: NDArray[Any] | None, classes: int, like: Any = None) -> NDArray[Any]:
    """The place of every n-gram's vector, 1 for the n-gram of most texts; 0 for those that have none."""
    often_v = np.bincount(x.bag_nm[x.weight_nm != 0], minlength=0 if like is None else len(like))
    often_v[:1] = 0
    order = np.argsort(-often_v, kind="stable")[:KNOWN]
    order = order[often_v[order] > 0]
    place_v = np.zeros(len(often_v), np.float32)
    place_v[order] = np.arange(1, len(order) + 1)
    return place_v


def net(features: Any, outputs: int, seen: Any, members: int | None = None, width: int | None = None) -> Fasttext:
    """The architecture for these sizes."""
    return Fasttext(tuple(features), outputs, width or EMBEDDING)


def trials(task: str, rows: int) -> list[dict[str, float]]:
    """Large steps: a vector is moved only by the texts that have its n-gram."""
    default = {"learning_rate": 1e-2, "weight_decay": 1e-3, "l1": 0.0, "dropout": 0.2, "width": 0.0}
    return grid(default, learning_rate=(1e-2, 3e-3, 2e-2), dropout=(0.2, 0.5, 0.0), weight_decay=(1e-3, 1e-1))
