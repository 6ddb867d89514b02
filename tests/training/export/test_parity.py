"""The comparison has teeth: a wrong conversion is found, whatever is wrong with it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tidemill.training.export import difference, spec, to_onnx
from tidemill.training.export.handlers import arithmetic, reductions
from tidemill.training.export.lowering import HANDLERS
from tidemill.training.export.parity import furthest

X = np.random.default_rng(5).normal(size=(7, 6)).astype(np.float32)
INPUTS = {"x": spec("batch, 6")}


def found(function):
    return difference(to_onnx(function, INPUTS, ("y",)), function, [X])["y"]


PLANTED = {
    "tanh": (jnp.tanh, lambda call, x: arithmetic.apply(call, "Erf", x)),
    "select_n": (lambda x: jnp.where(x > 0, x, -2 * x), lambda call, which, off, on: off),
    "reduce_max": (lambda x: x.max(1), lambda call, x: reductions.reduced(call, "ReduceMin", x, [1])),
    "sub": (lambda x: 1 - x, lambda call, left, right: arithmetic.apply(call, "Sub", right, left)),
    "gt": (
        lambda x: jnp.where(x > X[0, 0], x, 0),
        lambda call, a, b: arithmetic.apply(call, "GreaterOrEqual", a, b, dtype=bool),
    ),
    "cumsum": (lambda x: jnp.cumsum(x, 1), lambda call, x: x),
}


@pytest.mark.parametrize("primitive", PLANTED)
def test_a_wrong_handler_is_caught(primitive, monkeypatch):
    function, wrong = PLANTED[primitive]
    assert found(function) < 1e-5
    monkeypatch.setitem(HANDLERS, primitive, wrong)
    assert found(function) > 1e-3


def test_a_gradient_that_ignores_its_mask_is_caught(monkeypatch):
    def function(x):
        return jax.grad(lambda x: (jax.nn.relu(x) ** 2).sum())(x - 0.5)

    assert found(function) < 1e-5
    monkeypatch.setitem(HANDLERS, "select_n", lambda call, which, off, on: on)
    monkeypatch.setitem(HANDLERS, "mul", lambda call, left, right: right.like(call.shape))
    assert found(function) > 1e-3


@pytest.mark.parametrize(
    ("got", "wanted", "apart"),
    [
        ([1.0, 2.0], [1.0, 2.5], 0.5),
        ([np.nan, np.inf], [np.nan, np.inf], 0.0),
        ([np.nan], [0.0], np.inf),
        ([np.inf], [-np.inf], np.inf),
        ([1.0], [[1.0]], np.inf),
        ([], [], 0.0),
    ],
)
def test_what_cannot_be_compared_is_infinitely_far(got, wanted, apart):
    assert furthest(np.array(got, np.float32), np.array(wanted, np.float32)) == apart


def test_another_type_is_infinitely_far():
    assert furthest(np.zeros(2, np.int32), np.zeros(2, np.float32)) == np.inf
