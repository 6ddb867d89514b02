"""Products of matrices and members, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

RNG = np.random.default_rng(7)
ROW = jnp.asarray(RNG.normal(size=(6,)), jnp.float32)
W = jnp.asarray(RNG.normal(size=(6, 40)), jnp.float32)
W_MEMBERS = jnp.asarray(RNG.normal(size=(3, 6, 40)), jnp.float32)
CUBE = jnp.asarray(RNG.normal(size=(3, 4, 5)), jnp.float32)


def ids(x):
    """Positions from -2 to 2, made of floats."""
    return jnp.clip(jnp.round(x), -2, 2).astype(jnp.int32)


CASES = {
    "matmul": lambda x: x @ W,
    "matmul_transposed": lambda x: x @ W.T.reshape(40, 6).T,
    "matvec": lambda x: x @ ROW,
    "gram": lambda x: x @ x.T,
    "outer": lambda x: x[:, :, None] @ x[:, None, :],
    "weights_first": lambda x: jnp.einsum("fh,bf->hb", W, x),
    "members": lambda x: jnp.einsum("bf,kfh->kbh", x, W_MEMBERS),
    "members_vmap": lambda x: jax.vmap(lambda w: jnp.tanh(x @ w))(W_MEMBERS).mean(0),
    "members_each": lambda x: jnp.einsum("bkf,kfh->bkh", jnp.stack([x, -x, x * x], 1), W_MEMBERS),
    "members_shared_input": lambda x: jnp.einsum(
        "bkf,kfh->bkh", jnp.broadcast_to(x[:, None], (x.shape[0], 3, 6)), W_MEMBERS
    ),
    "sum_two_axes": lambda x: jnp.einsum("bkf,kfh->bh", jnp.stack([x, -x, x * x], 1), W_MEMBERS),
    "batched_dot": lambda x: jnp.einsum("bf,bf->b", x, jnp.sin(x)),
    "batched_vector": lambda x: jnp.einsum("bf,bfg->bg", x, x[:, :, None] * x[:, None]),
    "batched_vector_right": lambda x: jnp.einsum("bgf,bf->bg", x[:, :, None] * x[:, None], x),
    "kron": lambda x: jnp.einsum("bf,c->bfc", x, ROW),
    "many_free": lambda x: jnp.einsum("bij,jkl->bikl", x.reshape(-1, 2, 3), CUBE),
    "many_free_left": lambda x: jnp.einsum("bij,jk->bik", x.reshape(-1, 2, 3), CUBE[0, :3]),
    "free_both_batched": lambda x: jnp.einsum("bij,bkl->bikjl", x.reshape(-1, 2, 3), x.reshape(-1, 2, 3)),
    "int_matmul": lambda x: ids(x) @ ids(W * 3),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_and_its_gradient_are_exported_equal(name, exported):
    exported(CASES, name)
