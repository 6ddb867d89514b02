"""Shapes changed, parts taken and put together, and the gradients."""

import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

RNG = np.random.default_rng(7)
ROW = jnp.asarray(RNG.normal(size=(6,)), jnp.float32)

CASES = {
    "reshape": lambda x: x.reshape(-1, 2, 3),
    "reshape_flat": lambda x: x.reshape(-1),
    "reshape_odd": lambda x: x.reshape(2 * x.shape[0], 3),
    "reshape_repeated": lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], 2, 6)).reshape(-1, 12),
    "transpose": lambda x: x.T,
    "transpose_3": lambda x: x.reshape(-1, 2, 3).transpose(2, 0, 1),
    "expand": lambda x: x[:, None, :, None] * jnp.ones((4, 1, 2)),
    "expand_and_squeeze": lambda x: jnp.squeeze(x[:, None], 1) + x,
    "broadcast": lambda x: jnp.broadcast_to(x[:, :, None], (x.shape[0], 6, 4)),
    "broadcast_constant": lambda x: jnp.broadcast_to(ROW, x.shape),
    "concatenate": lambda x: jnp.concatenate([x, x * 2, jnp.broadcast_to(ROW, x.shape)], 1),
    "concatenate_batch": lambda x: jnp.concatenate([x, x], 0),
    "concatenate_repeated": lambda x: jnp.concatenate([jnp.zeros((x.shape[0], 2)), jnp.ones((x.shape[0], 3))], 1),
    "stack": lambda x: jnp.stack([x, -x], 1),
    "stack_last": lambda x: jnp.stack([x[:, 0], 1 - x[:, 0]], -1),
    "hstack_constant": lambda x: jnp.hstack([x, jnp.ones((x.shape[0], 1))]),
    "slice": lambda x: x[:, 1:4],
    "slice_step": lambda x: x[:, 1::2],
    "slice_batch": lambda x: x[:1],
    "reverse": lambda x: x[:, ::-1],
    "reverse_batch": lambda x: jnp.flip(x, 0),
    "split": lambda x: jnp.split(x, [2, 3], axis=1)[1],
    "pad": lambda x: jnp.pad(x, ((0, 0), (1, 2)), constant_values=3),
    "pad_negative": lambda x: lax.pad(x, 0.0, ((0, 0, 0), (-1, -2, 0))),
    "pad_interior": lambda x: lax.pad(x, 1.5, ((0, 0, 0), (1, -1, 2))),
    "pad_edge": lambda x: jnp.pad(x, ((0, 0), (1, 2)), mode="edge"),
    "pad_bool": lambda x: jnp.pad(x > 0, ((0, 0), (1, 2))),
    "roll": lambda x: jnp.roll(x, 2, axis=1),
    "tile": lambda x: jnp.tile(x, (1, 3)),
    "tile_batch": lambda x: jnp.tile(x, (2, 1)),
    "iota": lambda x: x + jnp.arange(6),
    "iota_of_batch": lambda x: x * jnp.arange(x.shape[0], dtype=jnp.float32)[:, None],
    "eye": lambda x: x[:, :, None] * jnp.eye(6),
    "constant_only": lambda x: jnp.ones((3,)) * 2,
    "input_itself": lambda x: x,
    "batch_size": lambda x: x * x.shape[0],
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_and_its_gradient_are_exported_equal(name, exported):
    exported(CASES, name)
