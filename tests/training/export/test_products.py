"""Products of matrices and members, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

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
    "vecmat": lambda x: ROW @ x.T,
    "gram": lambda x: x @ x.T,
    "gram_features": lambda x: x.T @ x,
    "outer": lambda x: x[:, :, None] @ x[:, None, :],
    "weights_first": lambda x: jnp.einsum("fh,bf->hb", W, x),
    "members": lambda x: jnp.einsum("bf,kfh->kbh", x, W_MEMBERS),
    "members_last": lambda x: jnp.einsum("bf,kfh->bkh", x, W_MEMBERS),
    "members_vmap": lambda x: jax.vmap(lambda w: jnp.tanh(x @ w))(W_MEMBERS).mean(0),
    "members_each": lambda x: jnp.einsum("bkf,kfh->bkh", jnp.stack([x, -x, x * x], 1), W_MEMBERS),
    "members_shared_input": lambda x: jnp.einsum(
        "bkf,kfh->bkh", jnp.broadcast_to(x[:, None], (x.shape[0], 3, 6)), W_MEMBERS
    ),
    "sum_two_axes": lambda x: jnp.einsum("bkf,kfh->bh", jnp.stack([x, -x, x * x], 1), W_MEMBERS),
    "batched_dot": lambda x: jnp.einsum("bf,bf->b", x, jnp.sin(x)),
    "batched_vector": lambda x: jnp.einsum("bf,bfg->bg", x, x[:, :, None] * x[:, None]),
    "batched_vector_right": lambda x: jnp.einsum("bgf,bf->bg", x[:, :, None] * x[:, None], x),
    "full_sum": lambda x: jnp.einsum("bf,bf->", x, x),
    "kron": lambda x: jnp.einsum("bf,c->bfc", x, ROW),
    "tensordot": lambda x: jnp.tensordot(x.reshape(-1, 2, 3), CUBE[:, :2, :3], axes=([1, 2], [1, 2])),
    "many_free": lambda x: jnp.einsum("bij,jkl->bikl", x.reshape(-1, 2, 3), CUBE),
    "many_free_left": lambda x: jnp.einsum("bij,jk->bik", x.reshape(-1, 2, 3), CUBE[0, :3]),
    "free_both_batched": lambda x: jnp.einsum("bij,bkl->bikjl", x.reshape(-1, 2, 3), x.reshape(-1, 2, 3)),
    "int_matmul": lambda x: ids(x) @ ids(W * 3),
    "bilinear": lambda x: jnp.einsum("bi,ij,bj->b", x, jnp.outer(ROW, ROW), x),
    "low_precision": lambda x: x.astype(jnp.bfloat16) @ W.astype(jnp.bfloat16),
    "mixed_output": lambda x: lax.dot_general(x, W, (((1,), (0,)), ((), ())), preferred_element_type=jnp.float32),
}
REFUSED = set()
REFUSED_BACKWARD = set()


@pytest.mark.parametrize("name", CASES)
def test_the_graph_is_equal_to_jax_or_the_function_is_refused(name, outcome):
    forward, backward = outcome(CASES[name])
    assert forward == ("refused" if name in REFUSED else "equal")
    assert backward == ("refused" if name in REFUSED_BACKWARD else "equal")
