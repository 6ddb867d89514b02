"""Reductions, running sums and sorting, and their gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

RNG = np.random.default_rng(7)
ROW = jnp.asarray(RNG.normal(size=(6,)), jnp.float32)


def ids(x):
    """Positions from -2 to 2, made of floats."""
    return jnp.clip(jnp.round(x), -2, 2).astype(jnp.int32)


CASES = {
    "sum": lambda x: x.sum(),
    "sum_first": lambda x: x.sum(0),
    "sum_kept": lambda x: x / x.sum(1, keepdims=True),
    "mean": lambda x: x.mean(1),
    "mean_of_batch": lambda x: x.mean(0),
    "var": lambda x: x.var(1),
    "max": lambda x: x.max(1),
    "max_of_batch": lambda x: x.max(0),
    "min": lambda x: x.min(-1, keepdims=True),
    "norm": lambda x: jnp.linalg.norm(x, axis=1),
    "any": lambda x: (x > 1).any(1),
    "all": lambda x: (x > -1).all(),
    "count": lambda x: (x > 0).sum(1),
    "argmax": lambda x: x.argmax(1),
    "argmin_of_batch": lambda x: x.argmin(0),
    "softmax": jax.nn.softmax,
    "softmax_of_batch": lambda x: jax.nn.softmax(x, axis=0),
    "softmax_where": lambda x: jax.nn.softmax(x, where=ROW > 0),
    "log_softmax": jax.nn.log_softmax,
    "logsumexp": lambda x: jax.nn.logsumexp(x, axis=1),
    "logsumexp_weighted": lambda x: jax.nn.logsumexp(x, axis=1, b=jnp.abs(ROW)),
    "layer_norm": lambda x: (x - x.mean(1, keepdims=True)) * lax.rsqrt(x.var(1, keepdims=True) + 1e-5) * ROW + 1,
    "cumsum": lambda x: jnp.cumsum(x, 1),
    "cumsum_of_batch": lambda x: jnp.cumsum(x, 0),
    "cumsum_reversed": lambda x: lax.cumsum(x, 1, reverse=True),
    "sum_of_repeated": lambda x: (jnp.broadcast_to(x[:, None], (x.shape[0], 4, 6)) * 2).sum(1),
    "max_of_repeated": lambda x: jnp.broadcast_to(x[:, None], (x.shape[0], 4, 6)).max(1),
    "sum_of_constants": lambda x: x * jnp.broadcast_to(ROW, x.shape).sum(0),
    "sort": lambda x: jnp.sort(x, axis=1),
    "sort_descending": lambda x: jnp.sort(x, axis=1, descending=True),
    "sort_batch": lambda x: jnp.sort(x, axis=0),
    "sort_ints": lambda x: jnp.sort(ids(x), axis=1),
    "argsort": lambda x: jnp.argsort(x, axis=1),
    "argsort_ties": lambda x: jnp.argsort(jnp.round(x), axis=1),
    "top_k": lambda x: lax.top_k(x, 2)[0],
    "quantile": lambda x: jnp.quantile(x, 0.3, axis=1),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_and_its_gradient_are_exported_equal(name, exported):
    exported(CASES, name)
