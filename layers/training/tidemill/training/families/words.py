"""What the networks for texts share: tokens as vectors, which places are real, and averages over them.

Axes: b batch rows, t tokens, e of an embedding, d units, k outputs.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tidemill.training.families import Weights

TOKENS = 256  # a text's first; features cuts there


def embedded(table_ve: jax.Array, seq_bt: jax.Array) -> jax.Array:
    """Tokens as vectors [b, t, e + 1]; the last column says that there is a token (padding has none)."""
    real_bt1 = (seq_bt > 0).astype(table_ve.dtype)[..., None]
    return jnp.concatenate([table_ve[seq_bt] * real_bt1, real_bt1], -1)


def parted(encoded_bte: jax.Array) -> tuple[jax.Array, jax.Array]:
    """The vectors, and which places are real [b, t]; a path to a text ends on real tokens all along it."""
    return encoded_bte[..., :-1], encoded_bte[..., -1]


def origin(encoded_bte: jax.Array) -> jax.Array:
    """Vectors of nothing at the same places."""
    return encoded_bte.at[..., :-1].set(0.0)


def mean(value_btd: jax.Array, real_bt: jax.Array) -> jax.Array:
    """The average over real places [b, d]; zero for an empty text."""
    return (value_btd * real_bt[..., None]).sum(1) / jnp.maximum(real_bt.sum(1), 1.0)[:, None]


def by_place(value_bte: jax.Array, x: Any) -> jax.Array:
    """Nothing for n-grams, then values of tokens [b, m + t]."""
    return jnp.concatenate([jnp.zeros(x.weight_nm.shape, value_bte.dtype), value_bte[..., :-1].sum(-1)], 1)


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
