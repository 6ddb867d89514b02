"""Look-ups, windows and updates by fixed and by computed indices, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

RNG = np.random.default_rng(7)
TABLE = jnp.asarray(RNG.normal(size=(9, 5)), jnp.float32)
CUBE = jnp.asarray(RNG.normal(size=(3, 4, 5)), jnp.float32)


def ids(x):
    """Positions from -2 to 2, made of floats."""
    return jnp.clip(jnp.round(x), -2, 2).astype(jnp.int32)


CASES = {
    "last_column": lambda x: x[:, -1],
    "first_row": lambda x: x[0],
    "columns": lambda x: x[:, jnp.array([3, 0, 0])],
    "element": lambda x: x[0, 1],
    "embedding": lambda x: TABLE[ids(x)],
    "embedding_take": lambda x: jnp.take(TABLE, ids(x), axis=0),
    "embedding_clip": lambda x: jnp.take(TABLE, ids(x) * 7, axis=0, mode="clip"),
    "embedding_fill": lambda x: jnp.take(TABLE, ids(x) * 7, axis=0, mode="fill", fill_value=-1.0),
    "embedding_nan": lambda x: jnp.take(TABLE, ids(x) * 7, axis=0),
    "embedding_wrap": lambda x: jnp.take(TABLE, ids(x) * 7, axis=0, mode="wrap"),
    "embedding_out_of_range": lambda x: TABLE[ids(x) * 7],
    "embedding_one_hot": lambda x: jax.nn.one_hot(ids(x), 9) @ TABLE,
    "embedding_flat": lambda x: TABLE[ids(x)].reshape(x.shape[0], -1) @ jnp.ones((30, 2)),
    "take_input": lambda x: jnp.take(x, jnp.array([1, 5, 9]), axis=1),
    "take_by_input": lambda x: x[:, ids(x)[0]],
    "take_along": lambda x: jnp.take_along_axis(x, ids(x), axis=1),
    "take_along_batch": lambda x: jnp.take_along_axis(x, ids(x) * 0, axis=0),
    "take_along_3": lambda x: jnp.take_along_axis(x.reshape(-1, 2, 3), ids(x).reshape(-1, 2, 3), axis=2),
    "pick_per_row": lambda x: jnp.take_along_axis(x, ids(x)[:, :1], axis=1)[:, 0],
    "two_indices": lambda x: CUBE[jnp.abs(ids(x)), ids(x)],
    "two_indices_apart": lambda x: CUBE[jnp.abs(ids(x)), :, ids(x)],
    "rows_and_columns": lambda x: x[jnp.arange(x.shape[0]), ids(x)[:, 0]],
    "vmap_index": lambda x: jax.vmap(lambda row, at: row[at])(x, ids(x)[:, 0]),
    "dynamic_slice": lambda x: lax.dynamic_slice_in_dim(x, ids(x)[0, 0], 3, axis=1),
    "dynamic_slice_two": lambda x: lax.dynamic_slice(CUBE, (ids(x)[0, 0], ids(x)[0, 1], 0), (2, 2, 5)),
    "vmap_dynamic_slice": lambda x: jax.vmap(lambda row, at: lax.dynamic_slice_in_dim(row, at, 3))(x, ids(x)[:, 0]),
    "vmap_dynamic_slice_2": lambda x: jax.vmap(
        lambda row, at: lax.dynamic_slice(row.reshape(2, 3), (at[0], at[1]), (1, 2))
    )(x, ids(x)),
    "dynamic_update": lambda x: lax.dynamic_update_slice_in_dim(x, x[:, :2] * 10, ids(x)[0, 0], axis=1),
    "dynamic_update_fixed": lambda x: lax.dynamic_update_slice(x, x[:, :2] * 10, (0, 3)),
    "set_column": lambda x: x.at[:, 2].set(5.0),
    "set_columns": lambda x: x.at[:, jnp.array([0, 3])].set(x[:, :2]),
    "set_slice": lambda x: x.at[:, 1:3].set(0.0),
    "add_column": lambda x: x.at[:, -1].add(x[:, 0]),
    "add_columns": lambda x: x.at[:, jnp.array([0, 3, 3])].add(1.0),
    "scatter_by_input": lambda x: jnp.zeros((9, 5)).at[ids(x)[:, 0]].add(x[:, :5]),
    "scatter_drop": lambda x: jnp.zeros((9, 5)).at[ids(x)[:, 0] * 7].add(x[:, :5], mode="drop"),
    "scatter_clip": lambda x: jnp.zeros((9, 5)).at[ids(x)[:, 0] * 7].add(x[:, :5], mode="clip"),
    "segment_sum": lambda x: jax.ops.segment_sum(x, jnp.abs(ids(x)[:, 0]), 3),
    "one_hot_input": lambda x: jax.nn.one_hot(ids(x), 4),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_and_its_gradient_are_exported_equal(name, exported):
    exported(CASES, name)
