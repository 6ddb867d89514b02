"""Convolutions and pooling, and their gradients: channels last and first, strides, holes, groups, padding."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from tidemill.training.export import CannotExport, spec, to_onnx
from tidemill.training.export.parity import furthest, session

RNG = np.random.default_rng(2)


def kernel(*shape):
    return jnp.asarray(RNG.normal(size=shape) / 3, jnp.float32)


KERNEL, GROUPED, FLAT = kernel(3, 3, 4, 8), kernel(3, 3, 2, 8), kernel(3, 4, 8)
LAST = ("NHWC", "HWIO", "NHWC")


def conv(padding, stride=1, weights=KERNEL, **params):
    return lambda x: lax.conv_general_dilated(x, weights, (stride, stride), padding, dimension_numbers=LAST, **params)


def conv_in_time(padding):
    return lambda x: lax.conv_general_dilated(x[:, 0], FLAT, (1,), padding, dimension_numbers=("NWC", "WIO", "NWC"))


class Network(nnx.Module):
    """A small residual network as Flax writes it."""

    def __init__(self, rngs):
        self.first = nnx.Conv(4, 8, (3, 3), rngs=rngs)
        self.norm = nnx.BatchNorm(8, rngs=rngs)
        self.second = nnx.Conv(8, 8, (3, 3), strides=2, rngs=rngs)
        self.short = nnx.Conv(8, 8, (1, 1), strides=2, rngs=rngs)
        self.last = nnx.Linear(8, 3, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.norm(self.first(x))), (2, 2), (2, 2))
        x = nnx.relu(self.second(x) + self.short(x))
        return nnx.softmax(self.last(x.mean((1, 2))))


def network():
    made = Network(nnx.Rngs(0))
    made.eval()
    definition, state = nnx.split(made)
    return lambda x: nnx.merge(definition, state, copy=True)(x)


CASES = {
    "same": conv("SAME"),
    "valid": conv("VALID"),
    "stride": conv("SAME", 2),
    "padded_unevenly": conv(((2, 0), (1, 3))),
    "padded_negatively": conv(((-1, 0), (1, -1))),
    "holes": conv("SAME", rhs_dilation=(2, 2)),
    "groups": conv("SAME", weights=GROUPED, feature_group_count=2),
    "transposed": lambda x: lax.conv_transpose(x, KERNEL, (2, 2), "SAME", dimension_numbers=LAST),
    "bias_and_activation": lambda x: jax.nn.relu(conv("SAME")(x) + jnp.arange(8.0) / 8),
    "causal": conv_in_time(((2, 0),)),
    "max_pool": lambda x: nnx.max_pool(x, (2, 2), (2, 2)),
    "max_pool_with_ties": lambda x: nnx.max_pool(nnx.relu(x), (2, 2), (2, 2)),
    "max_pool_of_channels": lambda x: lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 1, 2), (1, 1, 1, 2), "VALID"),
    "min_pool_same": lambda x: nnx.min_pool(x, (3, 3), (2, 2), padding="SAME"),
    "avg_pool_same": lambda x: nnx.avg_pool(x, (3, 3), (2, 2), padding="SAME"),
    "avg_pool_without_padding": lambda x: nnx.avg_pool(x, (3, 3), (2, 2), padding="SAME", count_include_pad=False),
    "network": network(),
}


def weighted(function):
    return jax.grad(lambda x: (function(x) * jnp.cos(jnp.arange(function(x).shape[-1]))).sum())


@pytest.mark.parametrize("name", CASES)
def test_images_and_their_gradients_are_equal(name):
    functions = (CASES[name], weighted(CASES[name]))
    x = RNG.normal(size=(3, 8, 6, 4)).astype(np.float32)
    wanted = jax.jit(lambda x: [function(x) for function in functions])(x)
    model = to_onnx(lambda x: tuple(function(x) for function in functions), {"x": spec("batch, 8, 6, 4")}, ("y", "dx"))
    runner = session(model)
    for batch in (1, 3):
        got = runner.run(None, {"x": x[:batch]})
        apart = [furthest(left, np.asarray(right)[:batch]) for left, right in zip(got, wanted, strict=True)]
        assert max(apart) < 2e-5, (batch, apart)


@pytest.mark.parametrize("length", [2, 3, 9])
def test_the_length_may_be_known_only_when_the_graph_runs(length):
    def pooled(x):
        mixed = lax.conv_general_dilated(x, FLAT, (1,), "SAME", dimension_numbers=("NWC", "WIO", "NWC"))
        return lax.reduce_window(mixed, -jnp.inf, lax.max, (1, 2, 1), (1, 2, 1), "VALID")

    def both(x):
        return pooled(x), jax.grad(lambda x: (pooled(x) ** 2).sum())(x)

    x = RNG.normal(size=(2, length, 4)).astype(np.float32)
    model = to_onnx(both, {"x": spec("batch, time, 4")}, ("y", "dx"), constraints=("time >= 2",))
    got = session(model).run(None, {"x": x})
    assert max(furthest(left, np.asarray(right)) for left, right in zip(got, both(x), strict=True)) < 2e-5


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (lambda x: lax.reduce_window(x, 1.0, lax.mul, (1, 2, 2, 1), (1, 1, 1, 1), "VALID"), "reduce_window"),
        (lambda x: nnx.max_pool(x, (2, 2), (2, 2), padding=((3, 0), (0, 0))), "smaller than the window"),
        (lambda x: nnx.max_pool(x.astype(jnp.int32), (2, 2), (2, 2)), "int32"),
    ],
)
def test_windows_onnx_does_not_have_are_refused(function, named):
    with pytest.raises(CannotExport, match=named):
        to_onnx(function, {"x": spec("batch, 8, 6, 4")}, ("y",))
