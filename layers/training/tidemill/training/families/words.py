"""What the networks for texts share: tokens as vectors, which places are real, and averages over them.

Axes: b batch rows, m n-grams, t tokens, s pieces, e of an embedding, d units, k outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tidemill.core.features.text_bags import MOST_TOKENS
from tidemill.training.families import Weights

TOKENS = MOST_TOKENS  # a text's first


def embedded(table_ve: jax.Array, seq_bt: jax.Array) -> jax.Array:
    """Tokens as vectors [b, t, e + 1]; the last column says that there is a token (padding has none)."""
    real_bt1 = (seq_bt > 0).astype(table_ve.dtype)[..., None]
    return jnp.concatenate([table_ve[seq_bt] * real_bt1, real_bt1], -1)


def parted(encoded_bte: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The vectors, and which places are real [b, t]; a path to a text ends on real tokens all along it."""
    return encoded_bte[..., :-1], encoded_bte[..., -1]


def origin(encoded_bte: jax.Array) -> jax.Array:
    """Vectors of nothing at the same places."""
    return jnp.concatenate([jnp.zeros_like(encoded_bte[..., :-1]), encoded_bte[..., -1:]], -1)


def mean(value_btd: jax.Array, real_bt: jax.Array) -> jax.Array:
    """The average over real places [b, d]; zero for an empty text."""
    return (value_btd * real_bt[..., None]).sum(1) / jnp.maximum(real_bt.sum(1), 1.0)[:, None]


def following(value_bt: jax.Array) -> jax.Array:
    """What stands at the next place [b, t, ...]; zero behind the last."""
    return jnp.concatenate([jax.lax.slice_in_dim(value_bt, 1, None, axis=1), jnp.zeros_like(value_bt[:, :1])], 1)


def preceding(value_bt: jax.Array, axis: int = 1) -> jax.Array:
    """What stands one place before [b, t, ...]; zero before the first."""
    first = jnp.zeros_like(jax.lax.slice_in_dim(value_bt, 0, 1, axis=axis))
    return jnp.concatenate([first, jax.lax.slice_in_dim(value_bt, 0, value_bt.shape[axis] - 1, axis=axis)], axis)


def by_rows(function: Callable[..., jax.Array], most: int, *arrays_b: jax.Array) -> jax.Array:
    """A function of rows, of so many at once where there are more: what it holds of many rows would fill the memory."""
    rows = arrays_b[0].shape[0]
    if not isinstance(rows, int) or rows <= most:
        return function(*arrays_b)

    def one(row: tuple[jax.Array, ...]) -> jax.Array:
        return function(*(array[None] for array in row))[0]

    found: jax.Array = jax.lax.map(one, arrays_b, batch_size=max(1, most))
    return found


def by_place(value_bte: jax.Array, x: Any) -> jax.Array:
    """Values of tokens, beside nothing for n-grams and pieces."""
    return placed(x, token_bt=value_bte[..., :-1].sum(-1))


def placed(
    x: Any, gram_bm: jax.Array | None = None, token_bt: jax.Array | None = None, piece_bs: jax.Array | None = None
) -> jax.Array:
    """Values of n-grams, then of tokens, then of pieces where the input has any [b, m + t + s]; zero if not given."""
    given = ((gram_bm, x.weight_nm), (token_bt, x.seq_nt), (piece_bs, x.piece_nt))
    parts = [jnp.zeros(of.shape, jnp.float32) if value is None else value for value, of in given if of is not None]
    return jnp.concatenate(parts, 1)


def uniform(rng: np.random.Generator, like: Any, bound: float) -> Any:
    """Numbers between -bound and bound in the shape of an array."""
    return rng.uniform(-bound, bound, np.shape(like)).astype(np.float32)


def begun(weights: Weights, rng: np.random.Generator) -> Weights:
    """Kernels uniform by their inputs (Glorot and Bengio 2010), embeddings small, the rest as it is."""

    def leaf(path: Any, array: Any) -> Any:
        name = jax.tree_util.keystr(path)
        if "embedding" in name:
            return rng.normal(0.0, 0.1, array.shape).astype(np.float32)
        if "kernel" not in name:
            return array
        return uniform(rng, array, (6.0 / sum(array.shape[-2:])) ** 0.5)

    return jax.tree_util.tree_map_with_path(leaf, weights)
