"""Elementwise functions and their gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from tidemill.training.export import spec, to_onnx
from tidemill.training.export.parity import session

RNG = np.random.default_rng(7)
ROW = jnp.asarray(RNG.normal(size=(6,)), jnp.float32)


def ids(x):
    """Positions from -2 to 2, made of floats."""
    return jnp.clip(jnp.round(x), -2, 2).astype(jnp.int32)


CASES = {
    function.__name__: function
    for function in (
        jnp.abs,
        jnp.sign,
        jnp.exp,
        jnp.exp2,
        jnp.expm1,
        jnp.tanh,
        jnp.sin,
        jnp.cos,
        jnp.tan,
        jnp.arctan,
        jnp.arcsinh,
        jnp.square,
        jnp.negative,
        jnp.floor,
        jnp.ceil,
        jnp.round,
        jnp.trunc,
        jnp.cbrt,
        jnp.isfinite,
        jnp.isinf,
        jnp.sqrt,
        jnp.log,
        jnp.log1p,
        jnp.reciprocal,
        jnp.logical_not,
        jnp.nan_to_num,
    )
} | {
    "arcsin": lambda x: jnp.arcsin(jnp.tanh(x)),
    "arccos": lambda x: jnp.arccos(jnp.tanh(x)),
    "arctanh": lambda x: jnp.arctanh(jnp.tanh(x) * 0.9),
    "arccosh": lambda x: jnp.arccosh(2 + x * x),
    "erf": lax.erf,
    "erfc": lax.erfc,
    "rsqrt": lambda x: lax.rsqrt(jnp.abs(x) + 0.1),
    "sigmoid": jax.nn.sigmoid,
    "relu": jax.nn.relu,
    "gelu_tanh": jax.nn.gelu,
    "gelu_erf": functools.partial(jax.nn.gelu, approximate=False),
    "silu": jax.nn.silu,
    "elu": jax.nn.elu,
    "leaky_relu": jax.nn.leaky_relu,
    "hard_tanh": jax.nn.hard_tanh,
    "hard_swish": jax.nn.hard_swish,
    "softplus": jax.nn.softplus,
    "mish": jax.nn.mish,
    "clip": lambda x: jnp.clip(x, -0.5, 0.7),
    "clip_by_row": lambda x: jnp.clip(x, -0.5, jnp.abs(ROW)),
    "power_3": lambda x: x**3,
    "power_minus_2": lambda x: x**-2,
    "power_float": lambda x: jnp.abs(x) ** 1.7,
    "power_of_constant": lambda x: 2.5**x,
    "power_by_row": lambda x: jnp.power(jnp.abs(x) + 0.1, ROW),
    "as_int": lambda x: (x * 3).astype(jnp.int32),
    "as_bool": lambda x: x.astype(bool),
    "as_bool_and_back": lambda x: (x > 0).astype(jnp.float32),
    "stop_gradient": lambda x: x * lax.stop_gradient(jnp.sin(x)),
    "reduce_precision": lambda x: lax.reduce_precision(x, 8, 23),
    "add_row": lambda x: x + ROW,
    "sub_from_row": lambda x: ROW - x,
    "mul_column": lambda x: x * x[:, :1],
    "div": lambda x: x / (jnp.abs(x[:, ::-1]) + 1),
    "div_by_constant": lambda x: x / 3,
    "remainder": lambda x: jnp.remainder(x, 0.7),
    "fmod": lambda x: jnp.fmod(x, 0.7),
    "floor_divide": lambda x: jnp.floor_divide(x, 0.7),
    "int_floor_divide": lambda x: (x * 9).astype(jnp.int32) // 4,
    "int_remainder": lambda x: (x * 9).astype(jnp.int32) % 4,
    "int_ops": lambda x: (ids(x) * 3 - ids(x[:, ::-1])) & 5 | ids(x) ^ 2,
    "bool_ops": lambda x: ((x > 0) & ~(x > 0.5)) | ((x < -1) ^ (x < -2)),
    "comparisons": lambda x: (x >= ROW) & (x <= 2) | (x != ROW) & (x == x),
    "maximum": lambda x: jnp.maximum(x, ROW),
    "minimum": lambda x: jnp.minimum(x, x[:, ::-1]),
    "maximum_of_zero_first": lambda x: jnp.maximum(0.0, x),
    "where": lambda x: jnp.where(x > 0, x, 2 * x),
    "where_row": lambda x: jnp.where(ROW > 0, x, 0.0),
    "where_scalar": lambda x: jnp.where(x.sum() > 0, x, -x),
    "select_n": lambda x: lax.select_n(jnp.abs(ids(x)), x, 2 * x, 3 * x),
    "logaddexp": lambda x: jnp.logaddexp(x, ROW),
}


@pytest.mark.parametrize("name", CASES)
def test_a_function_and_its_gradient_are_exported_equal(name, exported):
    exported(CASES, name)


SPECIAL = np.array(
    [np.nan, np.inf, -np.inf, -0.0, 0.0, 1.0, -1.0, 0.5, -1.5, 2.5, 1e-30, 1e-5, -1e-5, 20.0, -100.0, 3e38,
     0.49999997, 16777217.0, 8388607.5, 2147483648.0, -2147483904.0, 4294967296.0],
    np.float32,
)  # fmt: skip
PLAIN = (
    "tanh exp expm1 log log1p sqrt sign floor round reciprocal power_3 power_minus_2 sigmoid relu softplus gelu_erf "
)
PLAIN += "clip where maximum comparisons as_int as_bool isfinite logaddexp elu nan_to_num"


def test_infinities_nan_and_the_ends_of_the_range_are_as_in_jax():
    x = np.stack([np.roll(SPECIAL, shift) for shift in range(6)], axis=1)
    functions = [CASES[name] for name in PLAIN.split()]

    def every(x):
        return tuple(function(x) for function in functions)

    got = session(to_onnx(every, {"x": spec("batch, 6")}, tuple(PLAIN.split()))).run(None, {"x": x})
    for name, left, right in zip(PLAIN.split(), got, jax.jit(every)(x), strict=True):
        np.testing.assert_allclose(left, np.asarray(right), rtol=1e-5, atol=1e-6, err_msg=name)
