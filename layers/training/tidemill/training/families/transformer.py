"""transformer: a small encoder in the style of BERT (arXiv 1810.04805), layers normalised first (arXiv 2002.04745).

Axes: b batch rows, t tokens, e of an embedding, h heads, k outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tidemill.training.families import Drop, Weights, grid, modules, words

NAME = "transformer"
DESCRIPTION = "A small transformer encoder over the words of a text."
WIDTH, HEADS, BLOCKS, WIDER = 64, 4, 2, 2
SCORES = 1 << 23  # of attention held at once, of every member: 32 MiB; a look at 1,024 long texts would take a gigabyte
FAR = -1e9  # what attention gives to padding, before softmax


class Block(nnx.Module):  # type: ignore[misc]
    """Attention, then a hidden layer, each beside a straight path."""

    def __init__(self, width: int, rngs: nnx.Rngs) -> None:
        self.before = nnx.LayerNorm(width, rngs=rngs)
        self.asked = modules.Linear(width, 3 * width, rngs=rngs)
        self.told = modules.Linear(width, width, rngs=rngs)
        self.between = nnx.LayerNorm(width, rngs=rngs)
        self.wide = modules.Linear(width, WIDER * width, rngs=rngs)
        self.narrow = modules.Linear(WIDER * width, width, rngs=rngs)

    def __call__(self, z_bte: jax.Array, real_bt: jax.Array, drop: Drop) -> jax.Array:
        """The next layer's vectors."""
        z_bte = z_bte + drop(self.told(attended(self.asked(self.before(z_bte)), real_bt)))
        found: jax.Array = z_bte + drop(self.narrow(nnx.gelu(self.wide(self.between(z_bte)))))
        return found


class Layers(nnx.Module):  # type: ignore[misc]
    """The layers as Flax sees them."""

    def __init__(self, tokens: int, outputs: int, width: int, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Param(jnp.zeros((tokens, width)))
        self.place_embedding = nnx.Param(jnp.zeros((words.TOKENS, width)))
        self.blocks = nnx.List([Block(width, rngs) for _ in range(BLOCKS)])
        self.after = nnx.LayerNorm(width, rngs=rngs)
        self.out = modules.Linear(width, outputs, rngs=rngs)


@dataclass(frozen=True)
class Transformer:
    """The sizes: n-grams and tokens known, outputs, width."""

    features: tuple[int, int]
    outputs: int
    width: int

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Uniform by Glorot; norms at one."""
        weights = words.begun(modules.blank(Layers, *self._sizes), rng)

        def leaf(path: Any, array: Any) -> Any:
            return np.ones_like(array) if "scale" in jax.tree_util.keystr(path) else array

        return jax.tree_util.tree_map_with_path(leaf, weights)

    def decayed(self, weights: Weights) -> Any:
        """Kernels, not biases, norms or embeddings."""
        return {**modules.matrices(weights), "embedding": False, "place_embedding": False}

    def encode(self, weights: Weights, x: Any) -> jax.Array:
        """Tokens as vectors, padding marked."""
        return words.embedded(weights["embedding"], x.seq_nt)

    def origin(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """Vectors of nothing."""
        return words.origin(encoded)

    def by_place(self, value_bte: jax.Array, x: Any) -> jax.Array:
        """Values by token."""
        return words.by_place(value_bte, x)

    def enter(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """Norms come first, so that nothing is affine; all is left to `finish`."""
        return encoded

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, k]: of the mean vector over the tokens."""
        layers = modules.with_weights(weights, Layers, *self._sizes)
        z_bte, real_bt = words.parted(entered)
        z_bte = drop(z_bte + layers.place_embedding[...][: z_bte.shape[1]])
        for block in layers.blocks:
            z_bte = block(z_bte, real_bt, drop)
        out_bk: jax.Array = layers.out(drop(words.mean(layers.after(z_bte), real_bt)))
        return out_bk

    @property
    def _sizes(self) -> tuple[int, int, int]:
        return self.features[1], self.outputs, self.width


def attended(asked_bte: jax.Array, real_bt: jax.Array, heads: int = HEADS) -> jax.Array:
    """Every place's average of all real places' values, by how well keys answer its query (arXiv 1706.03762)."""
    t: Any = asked_bte.shape[1]
    if not isinstance(t, int):  # an exported graph: of any length
        return _attended(heads, asked_bte, real_bt)
    return words.by_rows(partial(_attended, heads), SCORES // (heads * t * t), asked_bte, real_bt)


def _attended(heads: int, asked_bte: jax.Array, real_bt: jax.Array) -> jax.Array:
    b, t, width = asked_bte.shape[0], asked_bte.shape[1], asked_bte.shape[2] // 3
    query, key, value = (part.reshape(b, t, heads, width // heads) for part in jnp.split(asked_bte, 3, axis=-1))
    score_bhts = jnp.einsum("bthd,bshd->bhts", query, key) * (width // heads) ** -0.5
    share_bhts = jax.nn.softmax(score_bhts + FAR * (1.0 - real_bt)[:, None, None], axis=-1)
    return jnp.einsum("bhts,bshd->bthd", share_bhts, value).reshape(b, t, width)


def look(x: Any, y_n: NDArray[Any] | None, classes: int, like: Any = None) -> None:
    """This net needs to know nothing before."""


def net(features: Any, outputs: int, seen: Any, members: int | None = None, width: int | None = None) -> Transformer:
    """The architecture for these sizes; the width is rounded up to what the heads share evenly."""
    wanted = width or WIDTH
    return Transformer(tuple(features), outputs, -(-wanted // HEADS) * HEADS)


def trials(task: str, rows: int) -> list[dict[str, float]]:
    """Smaller steps than for recurrent nets, and as strong dropout."""
    default = {"learning_rate": 1e-3, "weight_decay": 1e-2, "l1": 0.0, "dropout": 0.2, "width": 0.0}
    return grid(default, learning_rate=(1e-3, 5e-4, 2e-3), dropout=(0.2, 0.4), weight_decay=(1e-2, 0.1))
