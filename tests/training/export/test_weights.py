"""Models saved together: one file of weights, each weight once, small constants beside the nodes."""

import jax
import jax.numpy as jnp
import numpy as np
import onnx
import pytest

from tidemill.training.export import difference, save, spec, to_onnx
from tidemill.training.export.weights import ALIGNMENT_BYTES

RNG = np.random.default_rng(3)
FIRST = jnp.asarray(RNG.normal(size=(12, 64)), jnp.float32)
SECOND = jnp.asarray(RNG.normal(size=(64, 64)), jnp.float32)
BIAS = jnp.asarray(RNG.normal(size=(64,)), jnp.float32)


def predict(x):
    return jax.nn.relu(jax.nn.relu(x @ FIRST + BIAS) @ SECOND)


def explain(x):
    return jax.grad(lambda x: predict(x).sum())(x)


@pytest.fixture
def folder(tmp_path):
    inputs = {"x": spec("batch, 12")}
    models = {"model.onnx": to_onnx(predict, inputs, ("y",)), "explain.onnx": to_onnx(explain, inputs, ("y",))}
    save(tmp_path / "bundle", models)
    return tmp_path / "bundle"


def external(path):
    """Where the weights of a model stand in the file beside it."""
    model = onnx.load(path, load_external_data=False)
    found = [tensor for tensor in model.graph.initializer if tensor.data_location == onnx.TensorProto.EXTERNAL]
    places = [{entry.key: entry.value for entry in tensor.external_data} for tensor in found]
    return {(place["location"], int(place["offset"]), int(place["length"])) for place in places}


def test_both_models_run_from_the_folder(folder):
    x = RNG.normal(size=(5, 12)).astype(np.float32)
    assert difference(folder / "model.onnx", predict, [x])["y"] < 1e-4
    assert difference(folder / "explain.onnx", explain, [x])["y"] < 1e-3


def test_predict_and_explain_share_every_weight(folder):
    assert external(folder / "model.onnx") == external(folder / "explain.onnx")
    assert len(external(folder / "model.onnx")) == 2


def test_the_file_holds_each_weight_once_on_a_page_of_its_own(folder):
    places = sorted(external(folder / "model.onnx"), key=lambda place: place[1])
    assert {place[0] for place in places} == {"weights.bin"}
    assert all(place[1] % ALIGNMENT_BYTES == 0 for place in places)
    assert (folder / "weights.bin").stat().st_size == places[-1][1] + places[-1][2]
    assert sorted(place[2] for place in places) == sorted([FIRST.nbytes, SECOND.nbytes])


def test_a_model_without_its_weights_stays_small(folder):
    assert (folder / "model.onnx").stat().st_size < 2000
    assert (folder / "explain.onnx").stat().st_size < 4000


def test_saving_leaves_the_given_models_as_they_were(tmp_path):
    model = to_onnx(predict, {"x": spec("batch, 12")}, ("y",))
    before = model.SerializeToString(deterministic=True)
    save(tmp_path, {"model.onnx": model})
    assert model.SerializeToString(deterministic=True) == before


def test_the_same_function_gives_the_same_bytes(tmp_path):
    for name in ("first", "second"):
        save(tmp_path / name, {"model.onnx": to_onnx(explain, {"x": spec("batch, 12")}, ("y",))})
    for file in ("model.onnx", "weights.bin"):
        assert (tmp_path / "first" / file).read_bytes() == (tmp_path / "second" / file).read_bytes()
