"""The models that are served: their predictions and their gradient explanations, on batch sizes no trace has seen."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tidemill.training.export import spec, to_onnx
from tidemill.training.export.parity import furthest, session

FEATURES, CLASSES, MEMBERS = 12, 3, 4
BATCHES = (1, 2, 3, 7, 64)
RNG = np.random.default_rng(11)
BACKGROUND = RNG.normal(size=(16, FEATURES)).astype(np.float32)
STEPS = (np.arange(8, dtype=np.float32) + 0.5) / 8


def parameters(*sizes, members=()):
    """Weights and biases of dense layers, with a leading axis for members."""
    pairs = itertools.pairwise(sizes)
    shapes = [((*members, before, after), (*members, after)) for before, after in pairs]
    return [tuple(jnp.asarray(RNG.normal(size=s) / 3, jnp.float32) for s in pair) for pair in shapes]


def dense(layers, x, activation=jax.nn.relu):
    """Dense layers with an activation between them."""
    for weight, bias in layers[:-1]:
        x = activation(x @ weight + bias)
    return x @ layers[-1][0] + layers[-1][1]


def explanation(predict):
    """Expected gradients along straight paths from a background, per row; the target is chosen by a one-hot row.

    Contributions of every feature, the prediction, and the mean prediction of the background.
    """

    def score(x, target):
        return (predict(x[None])[0] * target).sum()

    def contribution(x, base, target):
        points = base + STEPS[:, None] * (x - base)
        return (x - base) * jax.vmap(jax.grad(score), (0, None))(points, target).mean(0)

    def one(x, target):
        parts = jax.vmap(contribution, (None, 0, None))(x, BACKGROUND, target)
        return parts.mean(0), score(x, target), (predict(BACKGROUND) @ target).mean()

    return jax.vmap(one)


def features(count):
    return np.random.default_rng(count).normal(size=(count, FEATURES)).astype(np.float32)


def one_hot(count, classes):
    return np.eye(classes, dtype=np.float32)[np.random.default_rng(count).integers(0, classes, count)]


def assert_equal(model, function, inputs_of, bound=1e-5):
    """Every row as JAX computes it, however many come at once."""
    inputs = inputs_of(max(BATCHES))
    wanted = jax.tree.leaves(jax.jit(function)(*inputs))
    runner = session(model)
    names = [item.name for item in runner.get_inputs()]
    for batch in BATCHES:
        got = runner.run(None, {name: array[:batch] for name, array in zip(names, inputs, strict=True)})
        apart = [furthest(left, np.asarray(right)[:batch]) for left, right in zip(got, wanted, strict=True)]
        assert max(apart) <= bound, (batch, apart)


def assert_predicts(predict, most_nodes):
    """The prediction is equal to JAX, and small."""
    model = to_onnx(predict, {"x": spec(("batch", FEATURES))}, ("probabilities",))
    assert_equal(model, predict, lambda batch: [features(batch)])
    assert len(model.graph.node) <= most_nodes, [node.op_type for node in model.graph.node]


def assert_explains(predict, classes, most_nodes):
    """The explanation is equal to JAX, and small."""
    inputs = {"x": spec(("batch", FEATURES)), "target": spec(("batch", classes))}
    function = explanation(predict)
    model = to_onnx(function, inputs, ("contributions", "prediction", "baseline"))
    assert_equal(model, function, lambda batch: [features(batch), one_hot(batch, classes)])
    assert len(model.graph.node) <= most_nodes, len(model.graph.node)


def softmax_mlp(activation=jax.nn.relu):
    layers = parameters(FEATURES, 64, 32, CLASSES)
    return lambda x: jax.nn.softmax(dense(layers, x, activation))


def test_an_mlp_with_softmax():
    predict = softmax_mlp()
    assert_predicts(predict, 6)
    assert_explains(predict, CLASSES, 65)


def test_an_mlp_with_gelu():
    assert_predicts(softmax_mlp(jax.nn.gelu), 22)


def test_an_mlp_with_sigmoid_gives_both_classes():
    layers = parameters(FEATURES, 64, 32, 1)

    def predict(x):
        positive = jax.nn.sigmoid(dense(layers, x)[:, 0])
        return jnp.stack([1 - positive, positive], axis=-1)

    assert_predicts(predict, 11)
    assert_explains(predict, 2, 70)


MEMBER_LAYERS = parameters(FEATURES, 64, 32, CLASSES, members=(MEMBERS,))


def test_an_ensemble_by_vmap_on_the_mean_probability():
    def predict(x):
        return jax.vmap(lambda member: jax.nn.softmax(dense(member, x)))(MEMBER_LAYERS).mean(0)

    assert_predicts(predict, 16)
    assert_explains(predict, CLASSES, 115)


def test_an_ensemble_by_einsum_on_the_mean_probability():
    def predict(x):
        hidden = jnp.einsum("bf,kfh->bkh", x, MEMBER_LAYERS[0][0]) + MEMBER_LAYERS[0][1]
        for weight, bias in MEMBER_LAYERS[1:]:
            hidden = jnp.einsum("bkf,kfh->bkh", jax.nn.relu(hidden), weight) + bias
        return jax.nn.softmax(hidden).mean(1)

    assert_predicts(predict, 21)


def test_a_regression_with_an_affine_output():
    layers = parameters(FEATURES, 64, 32, 1)

    def predict(x):
        return dense(layers, x) * 37.5 + 1200.0

    model = to_onnx(predict, {"x": spec(("batch", FEATURES))}, ("value",))
    assert_equal(model, predict, lambda batch: [features(batch)], bound=2e-3)
    explain = explanation(predict)
    inputs = {"x": spec(("batch", FEATURES)), "target": spec("batch, 1")}
    explained = to_onnx(explain, inputs, ("contributions", "prediction", "baseline"))
    assert_equal(explained, explain, lambda batch: [features(batch), np.ones((batch, 1), np.float32)], bound=2e-3)


class Network(nnx.Module):
    """An MLP as Flax writes it, with dropout and normalisation."""

    def __init__(self, rngs):
        self.first = nnx.Linear(FEATURES, 64, rngs=rngs)
        self.norm = nnx.LayerNorm(64, rngs=rngs)
        self.batch_norm = nnx.BatchNorm(64, rngs=rngs)
        self.dropout = nnx.Dropout(0.2, rngs=rngs)
        self.second = nnx.Linear(64, 32, rngs=rngs)
        self.last = nnx.Linear(32, CLASSES, rngs=rngs)

    def __call__(self, x):
        x = self.dropout(nnx.relu(self.batch_norm(self.norm(self.first(x)))))
        return nnx.softmax(self.last(nnx.gelu(self.second(x))))


def test_a_flax_nnx_network_with_dropout_off():
    network = Network(nnx.Rngs(0))
    network.eval()
    definition, state = nnx.split(network)

    def predict(x):
        return nnx.merge(definition, state, copy=True)(x)

    assert_predicts(predict, 32)
    assert_explains(predict, CLASSES, 150)


def test_a_flax_nnx_ensemble_with_members_on_a_leading_axis():
    @nnx.vmap(in_axes=0, out_axes=0)
    def members(rngs):
        return nnx.Linear(FEATURES, CLASSES, rngs=rngs)

    definition, state = nnx.split(members(nnx.Rngs(0).split(MEMBERS)))

    def predict(x):
        def one(part):
            return jax.nn.softmax(nnx.merge(definition, part, copy=True)(x))

        return jax.vmap(one)(state).mean(0)

    assert_predicts(predict, 7)


EMBEDDED = [jnp.asarray(RNG.normal(size=size), jnp.float32) for size in ((9, 4), (5, 3))]
HEAD = parameters(FEATURES + 7, 32, CLASSES)


def test_embeddings_beside_numbers_and_the_gradient_by_embedded_vector():
    def embed(ids):
        return [table[ids[:, at]] for at, table in enumerate(EMBEDDED)]

    def score(x, first, second):
        return jax.nn.softmax(dense(HEAD, jnp.concatenate([x, first, second], -1)))

    def predict(x, ids):
        return score(x, *embed(ids))

    def explain(x, ids, target):
        vectors = embed(ids)
        by_x, *by_vector = jax.grad(lambda *args: (score(*args) * target).sum(), (0, 1, 2))(x, *vectors)
        parts = [(grad * vector).sum(-1, keepdims=True) for grad, vector in zip(by_vector, vectors, strict=True)]
        return jnp.concatenate([by_x * x, *parts], -1)

    def drawn(batch):  # ids past the table and negative ones do what they do in JAX
        ids = np.random.default_rng(batch).integers(-12, 12, (batch, 2)).astype(np.int32)
        return [features(batch), ids]

    inputs = {"x": spec(("batch", FEATURES)), "ids": spec("batch, 2", np.int32)}
    assert_equal(to_onnx(predict, inputs, ("y",)), predict, drawn)
    explained = to_onnx(explain, {**inputs, "target": spec(("batch", CLASSES))}, ("contributions",))
    assert_equal(explained, explain, lambda batch: [*drawn(batch), one_hot(batch, CLASSES)])


def test_the_served_graph_of_an_mlp_is_one_node_per_layer():
    model = to_onnx(softmax_mlp(), {"x": spec(("batch", FEATURES))}, ("y",))
    assert [node.op_type for node in model.graph.node] == ["Gemm", "Relu", "Gemm", "Relu", "Gemm", "Softmax"]
