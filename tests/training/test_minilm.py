"""The frozen encoder says of texts what its layout says it must, in any batch, in JAX as in the exported graph."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.core.sentences import AWKWARD, vocabulary
from tests.training.populations import near
from tests.training.sentences import LAYERS, WIDTH, Sentences, encoder_arrays, encoder_folder, sentences

from tidemill.core.errors import BadBackbone
from tidemill.training import attribution, bundle, explain, frozen, inputs, solving
from tidemill.training.evaluate import Model, Part
from tidemill.training.export.parity import session
from tidemill.training.families import minilm, ngrams
from tidemill.training.families.bert import EPSILON, HEADS, Encoder, load
from tidemill.training.loop import Kind
from tidemill.training.losses import scale_of

PIECES = vocabulary()
BOUND = 1e-4


def expected(arrays: dict[str, Any], ids: list[int]) -> Any:
    """What BERT's layout says of one text, in NumPy: mean over all pieces, length one."""

    def linear(name: str, z: Any) -> Any:
        return z @ arrays[f"{name}.weight"].T + arrays[f"{name}.bias"]

    def norm(name: str, z: Any) -> Any:
        apart = z - z.mean(-1, keepdims=True)
        return apart / np.sqrt(z.var(-1, keepdims=True) + EPSILON) * arrays[f"{name}.weight"] + arrays[f"{name}.bias"]

    def parts(z: Any) -> Any:
        return z.reshape(len(z), HEADS, -1).swapaxes(0, 1)

    embeddings = [arrays[f"embeddings.{kind}_embeddings.weight"] for kind in ("word", "position", "token_type")]
    z = norm("embeddings.LayerNorm", embeddings[0][ids] + embeddings[1][: len(ids)] + embeddings[2][0])
    for at in range(LAYERS):
        name = f"encoder.layer.{at}"
        query, key, value = (parts(linear(f"{name}.attention.self.{part}", z)) for part in ("query", "key", "value"))
        score = np.exp(query @ key.swapaxes(1, 2) / math.sqrt(WIDTH // HEADS))
        seen = (score / score.sum(-1, keepdims=True)) @ value
        told = linear(f"{name}.attention.output.dense", seen.swapaxes(0, 1).reshape(len(z), WIDTH))
        z = norm(f"{name}.attention.output.LayerNorm", z + told)
        wide = linear(f"{name}.intermediate.dense", z)
        bent = wide * 0.5 * (1 + np.vectorize(math.erf)(wide / math.sqrt(2)))
        z = norm(f"{name}.output.LayerNorm", z + linear(f"{name}.output.dense", bent))
    mean = z.mean(0)
    return mean / np.linalg.norm(mean)


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Encoder:
    return load(encoder_folder(tmp_path_factory.mktemp("backbone"), PIECES))


@pytest.fixture(scope="module")
def text() -> Sentences:
    return sentences("multiclass", PIECES)


@pytest.fixture(scope="module")
def net(encoder: Encoder, text: Sentences) -> minilm.MiniLm:
    return minilm.net(text.program.shape, 3, encoder)


def test_a_vector_is_what_the_layout_says(net: minilm.MiniLm, text: Sentences) -> None:
    rows = [*AWKWARD, *text.rows[:4]]
    found = minilm.frozen(net, text.x_of(rows))
    wanted = [expected(encoder_arrays(len(PIECES.vocabulary)), PIECES.ids(row)) for row in rows]
    assert np.allclose(found, wanted, atol=2e-5)


def test_a_text_has_the_same_vector_in_every_company(net: minilm.MiniLm, text: Sentences) -> None:
    rows = [*AWKWARD, *text.rows[:70]]
    together = minilm.frozen(net, text.x_of(rows))
    alone = np.concatenate([minilm.frozen(net, text.x_of([row])) for row in rows])
    assert near(together, alone, 2e-5)
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)


def test_the_layer_on_frozen_vectors_is_what_the_net_answers(net: minilm.MiniLm, text: Sentences) -> None:
    x_n = text.x_of(text.rows[:9])
    weights = solved(net, text)
    out_nk = net.finish(weights, net.enter(None, net.encode(None, x_n)), lambda x: x)
    assert np.allclose(out_nk, frozen.applied(weights, given(net, x_n)), atol=1e-4)
    vector_nd = minilm.frozen(net, x_n)
    grams_nv = solving.table_of(x_n.bag_nm, x_n.weight_nm, text.program.width)
    assert np.allclose(out_nk, vector_nd @ weights["kernel"] + grams_nv @ weights["table"] + weights["bias"], atol=1e-4)


def given(net: minilm.MiniLm, x_n: Any) -> frozen.Beside:
    return frozen.Beside(minilm.frozen(net, x_n), x_n.bag_nm, x_n.weight_nm)


def solved(net: minilm.MiniLm, text: Sentences, grams: float = 1.0) -> Any:
    target_nk = np.eye(3)[text.case.y_n]
    settings = {"weight_decay": 0.1, "grams": grams, "slots": text.program.width}
    return minilm.solve(given(net, text.case.x_nf), target_nk, np.ones(len(target_nk)), settings, True)


def test_random_features_and_a_solved_layer_already_learn(net: minilm.MiniLm, text: Sentences) -> None:
    out_nk = frozen.applied(solved(net, text, grams=0.0), given(net, text.case.x_nf))
    assert (out_nk.argmax(1) == text.case.y_n).mean() > 0.6


def test_n_grams_that_are_pulled_to_nothing_leave_the_vectors_alone(net: minilm.MiniLm, text: Sentences) -> None:
    alone, beside = solved(net, text, grams=0.0), solved(net, text, grams=1e9)
    assert not alone["table"].any()
    x_n = given(net, text.case.x_nf)
    assert np.allclose(frozen.applied(alone, x_n), frozen.applied(beside, x_n), atol=0.02)


def test_vectors_that_nothing_pulls_are_solved_beside_n_grams(net: minilm.MiniLm, text: Sentences) -> None:
    target_nk = np.eye(3)[text.case.y_n]
    settings = {"weight_decay": 0.0, "grams": 1.0, "slots": text.program.width}
    x_n = given(net, text.case.x_nf)
    weights = minilm.solve(x_n, target_nk, np.ones(len(target_nk)), settings, True)
    assert np.isfinite(frozen.applied(weights, x_n)).all()


def test_vectors_that_are_pulled_to_nothing_leave_the_n_grams_alone(net: minilm.MiniLm, text: Sentences) -> None:
    target_nk = np.eye(3)[text.case.y_n]
    settings = {"weight_decay": 1e9, "grams": 1.0, "slots": text.program.width}
    beside = minilm.solve(given(net, text.case.x_nf), target_nk, np.ones(len(target_nk)), settings, True)
    linear = {"weight_decay": 1.0, "ratios": 0.0, "slots": text.program.width}
    alone = ngrams.solve(text.case.x_nf, target_nk, np.ones(len(target_nk)), linear, True)
    assert np.allclose(beside["table"], alone["table"], atol=0.01)
    assert np.abs(alone["table"]).max() > 0.1


def model_of(net: minilm.MiniLm, text: Sentences) -> Model:
    """The encoder beside n-grams: parts that read different inputs."""
    weights = {name: leaf[None] for name, leaf in solved(net, text).items()}
    grams = ngrams.net(text.program.shape, 3, None)
    x_n, target_nk = text.case.x_nf, np.eye(3)[text.case.y_n]
    settings = {"weight_decay": 1.0, "ratios": 0.0, "slots": text.program.width}
    others = ngrams.solve(x_n, target_nk, np.ones(len(target_nk)), settings, True)
    parts = (
        Part("backbone-1", Kind(net, "multiclass", False), weights, 0.6),
        Part("linear-1", Kind(grams, "multiclass", False), {name: leaf[None] for name, leaf in others.items()}, 0.4),
    )
    return Model(parts, scale_of(text.case.y_n, log1p=False), 1.0)


def test_the_exported_graphs_answer_and_explain_as_the_model(
    net: minilm.MiniLm, text: Sentences, tmp_path: Path
) -> None:
    model = model_of(net, text)
    explainer = attribution.explainer(model)
    bundle.save_graphs(tmp_path, model, explainer, text.case.x_nf)
    answering, explaining = session(tmp_path / "model.onnx"), session(tmp_path / "explain.onnx")
    for rows in (AWKWARD, ["lovely"], ["很好 " * 100, "a dull room"]):
        x_n = text.x_of(rows)
        (answer_nk,) = answering.run(None, inputs.named(x_n))
        assert np.abs(answer_nk - model.answers(x_n)).max() <= BOUND / 10
        target_nk = explain.targets_of(answer_nk)
        wanted = explain.spread(explain.explained_in_blocks(explainer, x_n, target_nk))
        made = explaining.run(None, {**inputs.named(x_n), "target": target_nk})
        for got, right in zip(made, wanted, strict=True):
            assert np.abs(got - np.asarray(right)).max() <= BOUND
        assert made[0].shape[1] == sum(x_n[at].shape[1] for at in (0, 2, 4))


def test_pieces_are_explained_but_not_the_start_the_end_and_padding(net: minilm.MiniLm, text: Sentences) -> None:
    weights = {name: leaf[None] for name, leaf in solved(net, text).items()}
    part = Part("backbone-1", Kind(net, "multiclass", False), weights)
    model = Model((part,), scale_of(text.case.y_n, log1p=False), 1.0)
    x_n = text.x_of(["lovely room", "很好", ""])
    target_nk = explain.targets_of(model.answers(x_n))
    raw = explain.explained_in_blocks(attribution.explainer(model), x_n, target_nk)
    contribution_np, prediction_n, baseline_n = (np.asarray(part) for part in raw)
    before = x_n.bag_nm.shape[1] + x_n.seq_nt.shape[1]
    assert contribution_np[0, : x_n.bag_nm.shape[1]].any()
    assert not contribution_np[:, : x_n.bag_nm.shape[1]][x_n.weight_nm == 0].any()
    assert not contribution_np[:, x_n.bag_nm.shape[1] : before].any()
    of_pieces = contribution_np[:, before:]
    assert x_n.piece_nt is not None
    within = (x_n.piece_nt > 3) | (x_n.piece_nt == 1)
    assert not of_pieces[~within].any()
    assert np.abs(of_pieces[within]).min() > 0
    assert np.allclose(contribution_np.sum(1), prediction_n - baseline_n, atol=0.05)


# --- the file ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prefix", ["bert.", "0.auto_model."])
def test_a_prefix_of_all_names_makes_no_difference(encoder: Encoder, tmp_path: Path, prefix: str) -> None:
    other = load(encoder_folder(tmp_path, PIECES, prefix))
    assert other == encoder and hash(other) == hash(encoder)
    assert other.pieces == len(PIECES.vocabulary) and other.width == WIDTH


def test_other_weights_are_another_encoder(encoder: Encoder, tmp_path: Path) -> None:
    name = "encoder.layer.1.output.dense.bias"
    changed = encoder_arrays(len(PIECES.vocabulary))[name] + np.eye(WIDTH, dtype=np.float32)[0] * 1e-3
    assert load(encoder_folder(tmp_path, PIECES, **{name: changed})) != encoder


@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("embeddings.word_embeddings.weight", "n x n"),
        ("embeddings.LayerNorm.bias", f"{WIDTH}"),
        ("encoder.layer.0.attention.self.key.weight", f"{WIDTH} x {WIDTH}"),
        ("encoder.layer.0.intermediate.dense.weight", f"n x {WIDTH}"),
        ("encoder.layer.1.output.LayerNorm.weight", f"{WIDTH}"),
    ],
)
def test_the_first_missing_tensor_is_named_with_its_shape(tmp_path: Path, name: str, shape: str) -> None:
    with pytest.raises(BadBackbone) as caught:
        load(encoder_folder(tmp_path, PIECES, **{name: None}))
    assert name in str(caught.value) and f"of shape {shape}" in str(caught.value)


def test_wrong_shapes_numbers_and_files_are_refused(tmp_path: Path) -> None:
    name = "encoder.layer.0.output.dense.bias"
    with pytest.raises(BadBackbone, match=f"{name} is 7 where {WIDTH} is due"):
        load(encoder_folder(tmp_path / "shape", PIECES, **{name: np.zeros(7, np.float32)}))
    with pytest.raises(BadBackbone, match="numbers that are none"):
        load(encoder_folder(tmp_path / "nan", PIECES, **{name: np.full(WIDTH, np.nan, np.float32)}))
    few = encoder_arrays(9)["embeddings.position_embeddings.weight"][:16]
    with pytest.raises(BadBackbone, match="16 positions"):
        load(encoder_folder(tmp_path / "few", PIECES, **{"embeddings.position_embeddings.weight": few}))
    with pytest.raises(BadBackbone, match="cannot be read"):
        load(tmp_path / "nothing")
    (tmp_path / "model.safetensors").write_bytes(b"no tensors")
    with pytest.raises(BadBackbone, match="cannot be read"):
        load(tmp_path)


def test_the_files_of_two_networks_are_refused(tmp_path: Path) -> None:
    folder = encoder_folder(tmp_path, PIECES)
    assert minilm.load(folder).pieces == len(PIECES.vocabulary)
    (folder / "vocab.txt").write_text("\n".join((*PIECES.vocabulary, "more")), encoding="utf-8")
    with pytest.raises(BadBackbone, match=f"embeds {len(PIECES.vocabulary)}"):
        minilm.load(folder)


def test_a_program_reads_the_pieces_of_the_folder(text: Sentences, tmp_path: Path) -> None:
    program = minilm.reading(text.program, encoder_folder(tmp_path, PIECES))
    assert program.pieces is not None and program.pieces.vocabulary == PIECES.vocabulary


def test_half_precision_is_read_as_it_is_stored(encoder: Encoder, tmp_path: Path) -> None:
    halves = {name: array.astype(np.float16) for name, array in encoder_arrays(len(PIECES.vocabulary)).items()}
    other = load(encoder_folder(tmp_path, PIECES, **halves))
    assert other.weights["word"].dtype == np.float32
    assert np.allclose(other.weights["word"], encoder.weights["word"], atol=2e-3)
