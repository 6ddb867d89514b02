"""Recurrence, attention and loops with a length no trace has seen, and their gradients."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from jax import lax

from tidemill.training.export import spec, to_onnx
from tidemill.training.export.parity import furthest, session

RNG = np.random.default_rng(4)
FEATURES, HIDDEN, CLASSES = 5, 8, 3


def drawn(*shape):
    return jnp.asarray(RNG.normal(size=shape) / 2, jnp.float32)


BY_X, BY_H, BIAS, HEAD = (
    drawn(FEATURES, 4 * HIDDEN),
    drawn(HIDDEN, 4 * HIDDEN),
    drawn(4 * HIDDEN),
    drawn(HIDDEN, CLASSES),
)
QUERY, KEY, VALUE, OUT = (drawn(FEATURES, 2, 4) for _ in range(4))
POSITIONS = drawn(64, FEATURES)


def cell(state, x):
    h, c = state
    i, f, g, o = jnp.split(x @ BY_X + h @ BY_H + BIAS, 4, -1)
    c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
    h = jax.nn.sigmoid(o) * jnp.tanh(c)
    return (h, c), h


def start(x):
    return (jnp.zeros((x.shape[0], HIDDEN)),) * 2


def lstm(x, lengths, *, reverse=False):
    """The state after the last step of every row; later steps leave it as it is."""

    def step(state, timed):
        at, now = timed
        (h, c), _ = cell(state, now)
        here = (at < lengths)[:, None]
        return (jnp.where(here, h, state[0]), jnp.where(here, c, state[1])), None

    (h, _), _ = lax.scan(step, start(x), (jnp.arange(x.shape[1]), x.swapaxes(0, 1)), reverse=reverse)
    return jax.nn.softmax(h @ HEAD)


def encoder(x, lengths):
    """Self-attention of two heads that looks at no padding, layer norm, mean over what is there."""
    there = jnp.arange(x.shape[1])[None] < lengths[:, None]
    x = x + POSITIONS[: x.shape[1]]
    normal = (x - x.mean(-1, keepdims=True)) * lax.rsqrt(x.var(-1, keepdims=True) + 1e-5)
    q, k, v = (jnp.einsum("btf,fhd->bhtd", normal, weights) for weights in (QUERY, KEY, VALUE))
    scores = jnp.einsum("bhtd,bhsd->bhts", q, k) / 2
    seen = jax.nn.softmax(jnp.where(there[:, None, None], scores, -1e9), axis=-1)
    x = x + jnp.einsum("bhts,bhsd,fhd->btf", seen, v, OUT)
    return (x * there[..., None]).sum(1) / lengths[:, None]


def flax_lstm():
    network = nnx.RNN(nnx.LSTMCell(FEATURES, HIDDEN, rngs=nnx.Rngs(0)))
    definition, state = nnx.split(network)

    def run(x, lengths):
        made = nnx.merge(definition, state, copy=True)
        zeros = jnp.zeros((x.shape[0], HIDDEN))
        return made(x, initial_carry=(zeros, zeros), seq_lengths=lengths)[:, -1]

    return run


def flax_attention():
    layer = nnx.MultiHeadAttention(2, FEATURES, 8, decode=False, dropout_rate=0.0, rngs=nnx.Rngs(0))
    layer.eval()
    definition, state = nnx.split(layer)

    def run(x, lengths):
        there = jnp.arange(x.shape[1])[None] < lengths[:, None]
        return nnx.merge(definition, state, copy=True)(x, mask=there[:, None, None]).mean(1)

    return run


MODELS = {
    "lstm": lstm,
    "lstm_backwards": functools.partial(lstm, reverse=True),
    "lstm_without_mask": lambda x, lengths: lax.scan(cell, start(x), x.swapaxes(0, 1))[1].mean(0) * lengths[:, None],
    "encoder": encoder,
    "flax_lstm": flax_lstm(),
    "flax_attention": flax_attention(),
}


INPUTS = {"x": spec(("batch", "time", FEATURES)), "lengths": spec("batch", np.int32)}


def sequences(batch, time):
    lengths = np.random.default_rng(batch).integers(1, time + 1, batch).astype(np.int32)
    return RNG.normal(size=(batch, time, FEATURES)).astype(np.float32), lengths


@pytest.mark.parametrize("name", MODELS)
def test_a_sequence_model_and_its_gradient_are_equal(name):
    function = MODELS[name]

    def both(x, lengths):
        return function(x, lengths), jax.grad(lambda x: (function(x, lengths)[:, 0]).sum())(x)

    runner = session(to_onnx(both, INPUTS, ("y", "dx"), constraints=("time <= 64",)))
    x, lengths = sequences(3, 7)
    wanted = jax.jit(both)(x, lengths)
    for batch in (1, 3):
        got = runner.run(None, {"x": x[:batch], "lengths": lengths[:batch]})
        apart = [furthest(left, np.asarray(right)[:batch]) for left, right in zip(got, wanted, strict=True)]
        assert max(apart) < 1e-5, (batch, apart)


@pytest.mark.parametrize("name", ["lstm", "encoder"])
def test_a_sequence_may_have_any_length(name):
    model = to_onnx(MODELS[name], INPUTS, ("y",), constraints=("time <= 64",))
    runner = session(model)
    for time in (1, 2, 12):
        x, lengths = sequences(2, time)
        (got,) = runner.run(None, {"x": x, "lengths": lengths})
        assert furthest(got, np.asarray(jax.jit(MODELS[name])(x, lengths))) < 1e-5


LOOPS = {
    "while": lambda x: lax.while_loop(lambda c: c.sum() < 30, lambda c: jnp.abs(c) * 1.1 + 0.1, x),
    "fori": lambda x: lax.fori_loop(0, 5, lambda i, c: jnp.sin(c) + i, x),
    "cond": lambda x: lax.cond(x.sum() > 0, lambda y: jnp.sin(y) @ BY_X, lambda y: y @ BY_X, x),
    "switch": lambda x: lax.switch(x.sum().astype(int), [jnp.sin, jnp.cos, jnp.tanh, lambda y: y], x),
    "switch_fixed": lambda x: lax.switch(1, [jnp.sin, jnp.cos], x),
    "map": lambda x: lax.map(lambda row: row * row.sum(), x),
    "associative_scan": lambda x: lax.associative_scan(jnp.multiply, x, axis=1),
    "carry_that_stays": lambda x: lax.scan(lambda c, row: (1.0, c + row.sum()), 2.0, x)[1],
    "scan_that_returns_an_outer_value": lambda x: lax.scan(lambda c, row: (c, BIAS), 0.0, x)[1],
    "scan_in_scan": lambda x: lax.scan(
        lambda c, row: (lax.scan(lambda d, item: (d * 0.5 + item, d), c, row)[0], c), 0.0, x
    )[1],
    "scan_with_a_weight": lambda x: lax.scan(lambda c, row: (jnp.tanh(c @ BY_H[:, :8].T), row), start(x)[0], x)[0],
}


@pytest.mark.parametrize("name", LOOPS)
def test_loops_and_branches_are_equal(name):
    runner = session(to_onnx(LOOPS[name], {"x": spec(("batch", FEATURES))}, ("y",)))
    for sign in (1, -1):
        x = (sign * np.abs(RNG.normal(size=(3, FEATURES)))).astype(np.float32)
        (got,) = runner.run(None, {"x": x})
        assert furthest(got, np.asarray(jax.jit(LOOPS[name])(x))) < 1e-5


def test_what_a_step_does_not_change_is_computed_once_before_the_loop():
    model = to_onnx(LOOPS["scan_with_a_weight"], {"x": spec(("batch", FEATURES))}, ("y",))
    (scan,) = (node for node in model.graph.node if node.op_type == "Scan")
    (body,) = (item.g for item in scan.attribute if item.name == "body")
    assert [node.op_type for node in body.node] == ["MatMul", "Tanh", "Identity"]
