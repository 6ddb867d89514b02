"""Every network for pictures: exported as it is, explained as it is, each picture answered by itself, and it learns."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tidemill.core.errors import BadSpec
from tidemill.core.spec import Augment, Spec, Train
from tidemill.training import attribution, batches, bundle, config, explain
from tidemill.training.batches import Group
from tidemill.training.evaluate import Model, Part
from tidemill.training.export.parity import session
from tidemill.training.families import MODALITIES, family, keep, picture, pixels
from tidemill.training.families.resnet import GROUP, Norm
from tidemill.training.loop import Field, Kind, Pace, start, train
from tidemill.training.losses import scale_of
from tidemill.training.trials import knobs_of, trials_of

NAMES = ["cnn", "cnn2", "cnn_lstm", "resnet"]
SHAPE = (16, 14, 1)
CLASSES = 3


def drawn(count: int, shape: tuple[int, ...] = SHAPE, seed: int = 0) -> tuple[Any, Any]:
    """Noise with a bright band at the top, in the middle or at the bottom, which is its class."""
    rng = np.random.default_rng(seed)
    x_nhwc, y_n = rng.integers(0, 120, (count, *shape)).astype(np.uint8), np.arange(count) % CLASSES
    for at, kind in enumerate(y_n):
        x_nhwc[at, kind * shape[0] // CLASSES :][: shape[0] // CLASSES] += 120
    return x_nhwc, y_n


def net_of(name: str, shape: tuple[int, ...] = SHAPE) -> tuple[Any, Any]:
    x_nhwc, _ = drawn(30, shape)
    made = family(name, "picture")
    seen = made.look(x_nhwc, None, CLASSES)
    net = made.net(shape, CLASSES, seen, None, None)  # type: ignore[arg-type]
    return net, net.init(np.random.default_rng(0), 0, seen)


def moved(weights: Any, by: float = 0.05) -> Any:
    """Weights as training may leave them: none is exactly zero."""
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: (leaf + rng.normal(0, by, leaf.shape)).astype(np.float32), weights)


def model_of(name: str, shape: tuple[int, ...] = SHAPE) -> Model:
    net, weights = net_of(name, shape)
    part = Part(f"{name}-1", Kind(net, "multiclass", False), jax.tree.map(lambda leaf: leaf[None], moved(weights)))
    return Model((part,), scale_of(np.arange(CLASSES), log1p=False), 1.0)


def test_the_families_for_pictures_are_these() -> None:
    assert set(MODALITIES["picture"]) == {*NAMES, "backbone"}
    for name in MODALITIES["picture"]:
        known = family(name, "picture")
        assert name == known.NAME
        assert known.DESCRIPTION.endswith(".") and "\n" not in known.DESCRIPTION


@pytest.mark.parametrize("name", NAMES)
def test_weights_follow_from_the_seed_and_what_decays_is_told_for_each(name: str) -> None:
    (net, weights), (again, others) = net_of(name), net_of(name)
    assert (net, hash(net)) == (again, hash(again))
    assert all(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (weights, others)), strict=True))
    assert all(leaf.dtype == np.float32 and np.isfinite(leaf).all() for leaf in jax.tree.leaves(weights))
    told = net.decayed(weights)
    assert jax.tree.structure(told) == jax.tree.structure(weights)
    for path, yes in jax.tree_util.tree_leaves_with_path(told):
        assert yes == ("kernel" in jax.tree_util.keystr(path)), path


RESNET = pytest.param("resnet", (18, 13, 3), marks=pytest.mark.slow)


@pytest.mark.parametrize(("name", "shape"), [*((name, SHAPE) for name in NAMES[:3]), RESNET])
def test_the_exported_graphs_answer_and_explain_at_every_batch_size(
    name: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    model, (x_nhwc, _) = model_of(name, shape), drawn(3, shape, seed=3)
    explainer = attribution.explainer(model)
    bundle.save_graphs(tmp_path, model, explainer, x_nhwc)
    answering, explaining = session(tmp_path / "model.onnx"), session(tmp_path / "explain.onnx")
    wanted_nk = model.answers(x_nhwc)
    target_nk = explain.targets_of(wanted_nk)
    told = explain.spread(explain.explained_in_blocks(explainer, x_nhwc, target_nk))
    for rows in (1, 3):
        assert np.abs(answering.run(None, {"x": x_nhwc[:rows]})[0] - wanted_nk[:rows]).max() <= 1e-5
        made = explaining.run(None, {"x": x_nhwc[:rows], "target": target_nk[:rows]})
        for got, right in zip(made, told, strict=True):
            assert np.abs(got - np.asarray(right)[:rows]).max() <= 1e-4
        assert made[0].shape == (rows, shape[0] * shape[1])


@pytest.mark.parametrize("name", NAMES)
def test_a_picture_is_answered_by_itself(name: str) -> None:
    model, (x_nhwc, _) = model_of(name), drawn(5, seed=4)
    together = np.asarray(model.predict(x_nhwc))
    alone = np.concatenate([np.asarray(model.predict(x_nhwc[at : at + 1])) for at in range(5)])
    assert np.allclose(together, alone, atol=1e-5)
    assert together.std(0).max() > 1e-3


@pytest.mark.parametrize(
    "name", ["cnn2", *(pytest.param(name, marks=pytest.mark.slow) for name in ("cnn_lstm", "resnet"))]
)
def test_it_learns_what_can_be_seen(name: str) -> None:
    x_nhwc, y_n = drawn(240)
    net, _ = net_of(name)
    kind, scale = Kind(net, "multiclass", False), scale_of(y_n, log1p=False)
    settings = config.resolve(
        Spec(train=Train(family=name, learning_rate=3e-3, dropout=0.0)),  # type: ignore[arg-type]
        {"task": "multiclass", "labels": list("abc"), "modality": "picture"},
        rows=240,
        features=SHAPE,
    )
    trials = trials_of(family(name, "picture"), settings, 240)[:1]
    group = Group(np.arange(180), np.arange(180, 240), (0, 0, 0))
    seen = family(name, "picture").look(x_nhwc, None, CLASSES)
    rows = batches.on_device(x_nhwc, y_n, np.ones(240, np.float32))
    ground = Field(rows, scale, [group], batches.Plan(20, 9, 1))
    state = train(kind, knobs_of(trials, 0.9), ground, Pace(6, 6), start(kind, [seen], [group], [0]))
    assert state.best_loss[0, 0] < 0.5 * np.log(CLASSES)


# --- what is particular to one ----------------------------------------------------------------------------------------


def test_residual_blocks_begin_as_nothing() -> None:
    net, weights = net_of("resnet", (16, 16, 3))
    assert len(net.widths) == 2
    for block in weights["blocks"].values():
        assert not list(block["convolutions"].values())[-1]["kernel"].any()
        assert all((norm["scale"] == 1).all() for norm in block["norms"].values())


def test_large_pictures_are_halved_before_the_first_block() -> None:
    net = family("resnet", "picture").net((224, 224, 3), 2, None, None, None)  # type: ignore[arg-type]
    assert net.widths == (32, 64, 128, 256)  # type: ignore[attr-defined]
    assert family("resnet", "picture").net((28, 28, 1), 2, None, None, 20).widths == (24, 48, 96)  # type: ignore


def test_normalising_by_groups_knows_of_no_other_picture() -> None:
    from flax import nnx

    norm, rng = Norm(2 * GROUP, nnx.Rngs(0)), np.random.default_rng(2)
    x_bhwc = rng.normal(3, 5, (4, 6, 5, 2 * GROUP)).astype(np.float32)
    out = np.asarray(norm(x_bhwc)).reshape(4, 30, 2, GROUP)
    assert np.allclose(out.mean((1, 3)), 0, atol=1e-5)
    assert np.allclose(out.std((1, 3)), 1, atol=1e-3)
    assert np.allclose(norm(x_bhwc[2:3]), norm(x_bhwc)[2:3], atol=1e-6)


@pytest.mark.parametrize(("side", "seen"), [(28, 28), (128, 128), (129, 64), (224, 112), (512, 128)])
def test_small_nets_see_large_pictures_smaller(side: int, seen: int) -> None:
    assert picture.smaller((side, side, 3)) == (seen, seen, 3)
    x_bhwc = np.random.default_rng(0).normal(size=(1, side, side, 1)).astype(np.float32)
    found = np.asarray(picture.shrunk(x_bhwc))
    assert found.shape == (1, seen, seen, 1)
    size = side // seen
    assert np.isclose(found[0, 0, 0, 0], x_bhwc[0, :size, :size, 0].mean(), atol=1e-5)


def test_the_rows_of_a_picture_are_read_from_top_to_bottom() -> None:
    net, weights = net_of("cnn_lstm")
    x_bhwc = pixels.seen(drawn(1)[0])
    told = [np.asarray(net.finish(moved(weights), x, keep)) for x in (x_bhwc, x_bhwc[:, ::-1])]
    assert np.abs(told[0] - told[1]).max() > 1e-4
    filters = [len(family("cnn_lstm", "picture").net((side,) * 2 + (1,), 2, None, None, None).filters)  # type: ignore
               for side in (28, 64, 128)]  # fmt: skip
    assert filters == [1, 2, 3]


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [1, 3, 4])
def test_shifted_copies_are_the_convolution_itself(stride: int, size: int) -> None:
    from flax import nnx

    layer = nnx.Conv(2, 5, (size, size), rngs=nnx.Rngs(0))
    x_bhwc = np.random.default_rng(0).normal(size=(2, 9, 8, 2)).astype(np.float32)
    here = pixels.convolved(layer, x_bhwc, stride)
    with pixels.exported(True):
        there = pixels.convolved(layer, x_bhwc, stride)
    assert here.shape == there.shape
    assert np.allclose(here, there, atol=1e-5)


@pytest.mark.parametrize(("height", "width", "size"), [(8, 6, 2), (9, 7, 2), (9, 6, 3)])
def test_pooling_and_its_gradient_are_those_of_the_plain_maximum_even_where_pixels_tie(
    height: int, width: int, size: int
) -> None:
    x_bhwc = jax.numpy.asarray(np.random.default_rng(0).integers(0, 3, (5, height, width, 4)), "float32")
    pull = np.random.default_rng(1).normal(size=(5, height // size, width // size, 4)).astype(np.float32)
    here, back = jax.vjp(lambda x: pixels.pooled(x, size), x_bhwc)
    with pixels.exported(True):
        there, plainly = jax.vjp(lambda x: pixels.pooled(x, size), x_bhwc)
        gradient = plainly(pull)[0]
    assert np.array_equal(here, there)
    assert np.allclose(back(pull)[0], gradient, atol=1e-6)


# --- what is asked for ------------------------------------------------------------------------------------------------


def resolved(modality: str, **train: Any) -> Any:
    schema = {"task": "binary", "labels": ["a", "b"], "modality": modality}
    return config.resolve(Spec(train=Train(**train)), schema, rows=100, features=SHAPE)


@pytest.mark.parametrize(
    ("modality", "wrong"), [("table", "cnn"), ("picture", "tabm"), ("picture", "lstm"), ("text", "resnet")]
)
def test_a_family_for_other_data_is_refused_with_those_that_fit(modality: str, wrong: str) -> None:
    with pytest.raises(BadSpec, match=f"'{wrong}'") as caught:
        resolved(modality, family=wrong)
    assert all(repr(name) in caught.value.remedy for name in MODALITIES[modality])


def test_a_backbone_is_tried_beside_the_others_or_alone() -> None:
    assert resolved("picture").families == ("cnn2",)
    assert resolved("picture", backbone="lite0").families == ("cnn2", "backbone")
    assert resolved("text", backbone="mini").families == ("linear", "fasttext", "backbone")
    alone = resolved("picture", backbone="lite0", family="backbone")
    assert alone.families == ("backbone",)
    assert (alone.folds, resolved("picture", backbone="lite0").folds) == (config.FOLDS, 1)


@pytest.mark.parametrize(
    ("modality", "train"),
    [
        ("picture", {"family": "backbone"}),
        ("picture", {"family": "cnn2", "backbone": "lite0"}),
        ("table", {"backbone": "lite0"}),
    ],
)
def test_a_backbone_that_nothing_reads_and_a_family_without_one_are_refused(modality: str, train: Any) -> None:
    with pytest.raises(BadSpec, match="backbone") as caught:
        resolved(modality, **train)
    assert caught.value.remedy


def test_augmentation_that_is_given_is_kept_to_and_the_rest_is_searched() -> None:
    schema = {"task": "binary", "labels": ["a", "b"], "modality": "picture"}

    def tried(**given: float) -> list[dict[str, float]]:
        settings = config.resolve(Spec(augment=Augment(**given)), schema, rows=100, features=SHAPE)
        return [trial.settings for trial in trials_of(family("cnn2", "picture"), settings, 100)]

    assert {len({some[name] for some in tried()}) > 1 for name in ("affine", "flip", "mixup")} == {True}
    fixed = tried(affine=0.25, mixup=0.0)
    assert {(some["affine"], some["mixup"]) for some in fixed} == {(0.25, 0.0)}
    assert len({some["flip"] for some in fixed}) > 1
    assert tried(affine=0.0, flip=0.0, mixup=0.0)[0]["affine"] == 0.0


def test_augmentation_is_no_setting_of_a_table() -> None:
    schema = {"task": "binary", "labels": ["a", "b"]}
    settings = config.resolve(Spec(augment=Augment(affine=0.5)), schema, rows=100, features=4)
    assert "affine" not in trials_of(family("linear"), settings, 100)[0].settings
