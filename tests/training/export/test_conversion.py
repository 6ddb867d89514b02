"""What a model says of itself: names, dimensions, constraints; and what to_onnx refuses before it traces."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.training.export import CannotExport, difference, spec, to_onnx
from tidemill.training.export.parity import furthest, session


def dims(infos):
    return {info.name: [dim.dim_param or dim.dim_value for dim in info.type.tensor_type.shape.dim] for info in infos}


def test_inputs_outputs_and_dimensions_keep_their_names():
    model = to_onnx(
        lambda x, mask: (x.sum(1), jnp.concatenate([x, x], 1) * mask[:, :1]),
        {"x": spec("batch, length"), "mask": ("batch", "length")},
        ("total", "twice"),
    )
    assert dims(model.graph.input) == {"x": ["batch", "length"], "mask": ["batch", "length"]}
    assert dims(model.graph.output) == {"total": ["batch"], "twice": ["batch", "2*length"]}
    assert (model.opset_import[0].version, model.ir_version) == (21, 10)
    onnx.checker.check_model(model, full_check=True)


def test_constraints_are_used_and_kept():
    table = jnp.arange(512.0)
    model = to_onnx(
        lambda x: x + table[: x.shape[1]], {"x": spec("batch, length")}, ("y",), constraints=("length <= 512",)
    )
    assert {item.key: item.value for item in model.metadata_props} == {"constraints": "length <= 512"}


@pytest.mark.parametrize(("batch", "length"), [(1, 2), (3, 5), (2, 9)])
def test_sizes_are_computed_when_the_graph_runs(batch, length):
    def function(x):
        halves = x[:, : x.shape[1] // 2].sum(1, keepdims=True)
        rows = jnp.arange(x.shape[0] * x.shape[1]).reshape(x.shape) % 3
        return x * (x.shape[1] - 1) + halves * x.shape[0] + rows + jnp.flip(x, 1).mean(), x.reshape(-1)

    x = np.random.default_rng(0).normal(size=(batch, length)).astype(np.float32)
    model = to_onnx(function, {"x": spec("batch, length")}, ("y", "flat"), constraints=("length >= 2",))
    assert max(difference(model, function, [x]).values()) < 1e-4


def test_an_input_can_be_an_output_and_outputs_can_be_equal():
    model = to_onnx(lambda x: (x, x, x * 2, x * 2, jnp.ones(3)), {"x": spec("batch, 2")}, ("a", "b", "c", "d", "e"))
    x = np.ones((3, 2), np.float32)
    assert set(difference(model, lambda x: (x, x, x * 2, x * 2, jnp.ones(3)), [x]).values()) == {0.0}


def test_an_output_is_written_whole_even_where_it_repeats():
    def function(x):
        return jnp.zeros((x.shape[0], 3)), jnp.broadcast_to(x[:, :1], x.shape)

    model = to_onnx(function, {"x": spec("batch, 2")}, ("zeros", "repeated"))
    assert max(difference(model, function, [np.ones((4, 2), np.float32)]).values()) == 0.0


@pytest.mark.parametrize(
    ("function", "inputs", "outputs", "named"),
    [
        (jnp.fft.fft, {"x": spec("batch, 4")}, ("y",), "complex64"),
        (lambda x: x, {"x": spec("batch, 4")}, ("x",), "'x' is given twice"),
        (lambda x: x, {"x": spec("batch, 4")}, ("y", "z"), "1 arrays, but 2 outputs"),
        (lambda x: x, {"x": spec("batch, 4", np.float16)}, ("y",), "float16"),
        (lambda x: x, {"x": spec("bat ch, 4")}, ("y",), "cannot be read"),
        (lambda x: x * x.shape[0], {"x": spec("2*half, 4")}, ("y",), '"half"'),
        (lambda x: x if x.shape[0] > 5 else -x, {"x": spec("batch, 4")}, ("y",), "compares sizes"),
    ],
)
def test_what_cannot_be_exported_is_named_with_a_remedy(function, inputs, outputs, named):
    with pytest.raises(CannotExport) as caught:
        to_onnx(function, inputs, outputs)
    assert named in caught.value.message
    assert caught.value.remedy


def test_a_refusal_names_the_primitive_and_the_line():
    with pytest.raises(CannotExport) as caught:
        to_onnx(lambda x: jax.lax.erf_inv(x), {"x": spec("batch, 4")}, ("y",))
    assert caught.value.details["primitive"] == "erf_inv"
    assert "test_conversion.py" in caught.value.details["source"]


@settings(max_examples=5, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 9), min_size=2, max_size=4),
    members=st.sampled_from([None, 1, 3]),
    batch=st.integers(1, 9),
    activation=st.sampled_from([jax.nn.relu, jnp.tanh, jax.nn.gelu]),
)
def test_an_mlp_of_any_shape_and_its_gradient_are_equal(sizes, members, batch, activation):
    rng = np.random.default_rng(sum(sizes))
    lead = () if members is None else (members,)
    layers = [
        tuple(jnp.asarray(rng.normal(size=(*lead, *shape)), jnp.float32) for shape in ((before, after), (after,)))
        for before, after in itertools.pairwise(sizes)
    ]

    def one(parts, x):
        for weight, bias in parts:
            x = activation(x @ weight + bias)
        return jax.nn.softmax(x)

    def predict(x):
        return one(layers, x) if members is None else jax.vmap(one, (0, None))(layers, x).mean(0)

    def both(x):
        return predict(x), jax.grad(lambda x: (predict(x) ** 2).sum())(x)

    x = rng.normal(size=(batch, sizes[0])).astype(np.float32)
    got = session(to_onnx(both, {"x": spec(("batch", sizes[0]))}, ("y", "gradient"))).run(None, {"x": x})
    apart = [furthest(left, np.asarray(right)) for left, right in zip(got, jax.jit(both)(x), strict=True)]
    assert max(apart) < 2e-5
