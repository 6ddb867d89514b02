"""What the exporter does not know it refuses, with the name of the primitive: it never guesses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tidemill.training.export import CannotExport, spec, to_onnx

ROW = jnp.arange(6.0) / 3


def whole(x):
    return jnp.round(x).astype(jnp.int32)


def grad(function):
    return jax.grad(lambda x: function(x).sum())


REFUSED = {
    "fft": (lambda x: jnp.abs(jnp.fft.rfft(x)), "complex64"),
    "complex": (lambda x: jnp.abs(lax.complex(x, x)), "complex64"),
    "half": (lambda x: (x.astype(jnp.float16) * 2).astype(jnp.float32), "float16"),
    "bfloat16": (lambda x: (x.astype(jnp.bfloat16) @ ROW.astype(jnp.bfloat16)).astype(jnp.float32), "bfloat16"),
    "cholesky": (lambda x: jnp.linalg.cholesky(jnp.eye(6) + x.T @ x), "cholesky"),
    "solve": (lambda x: jnp.linalg.solve(jnp.eye(6) + x.T @ x, ROW), "lu"),
    "random": (lambda x: x + jax.random.normal(jax.random.key(0), x.shape), "random"),
    "dropout": (lambda x: jnp.where(jax.random.bernoulli(jax.random.PRNGKey(0), 0.5, x.shape), x, 0), "random"),
    "digamma": (lambda x: lax.digamma(x), "digamma"),
    "lgamma": (lambda x: lax.lgamma(x), "lgamma"),
    "gradient_of_lgamma": (grad(lambda x: lax.lgamma(x)), "digamma"),
    "bessel": (lambda x: lax.bessel_i0e(x), "bessel_i0e"),
    "erf_inv": (lambda x: lax.erf_inv(x), "erf_inv"),
    "arctan2": (lambda x: jnp.arctan2(x, ROW), "atan2"),
    "bitcast": (lambda x: lax.bitcast_convert_type(x, jnp.int32), "bitcast_convert_type"),
    "nextafter": (lambda x: jnp.nextafter(x, x + 1), "nextafter"),
    "reduce_precision": (lambda x: lax.reduce_precision(x, 8, 10), "reduce_precision"),
    "callback": (lambda x: jax.pure_callback(np.sin, jax.ShapeDtypeStruct((), np.float32), x[0, 0]), "pure_callback"),
    "integers_divided_by_an_input": (lambda x: whole(x) // whole(x + 1), "divided by a constant"),
    "integer_remainder_by_an_input": (lambda x: lax.rem(whole(x), whole(x)), "divided by a constant"),
    "cumprod": (lambda x: jnp.cumprod(x, 1), "cumprod"),
    "cummax": (lambda x: lax.cummax(x, 1), "cummax"),
    "cumlogsumexp": (lambda x: lax.cumlogsumexp(x, 1), "cumlogsumexp"),
    "sum_of_truth_values": (lambda x: lax.reduce_xor(x > 0, [1]), "reduce_xor"),
    "searchsorted": (lambda x: jnp.searchsorted(ROW, x), "le_to"),
    "sort_by_two_keys": (lambda x: lax.sort((x, x + 1), dimension=1, num_keys=2)[1], "num_keys=2"),
    "sort_truth_values": (lambda x: jnp.sort(x > 0, axis=1), "no kernel for bool"),
    "unique": (lambda x: jnp.unique(x, size=3), "known only when the graph runs"),
    "scatter_mul": (lambda x: x.at[:, 2].multiply(3.0), "scatter-mul"),
    "scatter_max": (lambda x: x.at[:, 2].max(0.3), "scatter-max"),
    "set_by_equal_indices": (lambda x: jnp.zeros(9).at[whole(x)[:, 0]].set(x[:, 0]), "two equal indices"),
    "set_by_equal_fixed_indices": (lambda x: x.at[:, jnp.array([1, 1])].set(x[:, :2]), "two equal indices"),
    "set_outside": (
        lambda x: jnp.zeros(9).at[whole(x)[:, 0]].set(x[:, 0], unique_indices=True, mode="drop"), "drops its update",
    ),
    "gradient_of_a_product_of_open_size": (grad(lambda x: x.prod(1)), "compares sizes"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_it_is_refused_by_name_with_a_remedy(name):
    function, named = REFUSED[name]
    with pytest.raises(CannotExport, match=named) as caught:
        to_onnx(function, {"x": spec("batch, 6")}, ("y",))
    assert caught.value.remedy


def test_what_nothing_depends_on_is_not_refused():
    def function(x):
        lax.erf_inv(x)
        return x + 1

    assert len(to_onnx(function, {"x": spec("batch, 6")}, ("y",)).graph.node) == 1
