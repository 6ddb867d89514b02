"""The frozen network says what its layout says, whatever its file calls the tensors, and refuses another's file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.training.lite import SIDE, TINY, arrays, pictures, saved

from tidemill.core.errors import BadBackbone
from tidemill.training import attribution, bundle, explain, frozen
from tidemill.training.evaluate import Model, Part
from tidemill.training.export.parity import session
from tidemill.training.families import efficientnet, lite
from tidemill.training.loop import Kind
from tidemill.training.losses import scale_of

OUTPUTS = 3
EPSILON = 1e-3


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(efficientnet, "LAYOUT", TINY)


def net_of(folder: Path, naming: str = "timm", seed: int = 0) -> efficientnet.EfficientNet:
    backbone = efficientnet.load(saved(folder, arrays(TINY, naming, seed)))
    return efficientnet.net((SIDE, SIDE, 3), OUTPUTS, backbone)


@pytest.fixture
def net(tmp_path: Path) -> efficientnet.EfficientNet:
    return net_of(tmp_path)


# --- what it computes -------------------------------------------------------------------------------------------------


def convolution(x_bchw: Any, kernel: Any, stride: int) -> Any:
    """As TensorFlow pads ("same"), one window after the other; a kernel of one input channel stands for each alone."""
    size, (height, width) = kernel.shape[-1], x_bchw.shape[2:]
    made = [-(-side // stride) for side in (height, width)]
    added = [max(0, (a - 1) * stride + size - b) for a, b in zip(made, (height, width), strict=True)]
    around = np.pad(x_bchw, [(0, 0), (0, 0), *((a // 2, a - a // 2) for a in added)])
    out = np.zeros((len(x_bchw), len(kernel), *made))
    alone = kernel.shape[1] == 1 and x_bchw.shape[1] > 1
    for y in range(made[0]):
        for x in range(made[1]):
            window = around[:, :, y * stride : y * stride + size, x * stride : x * stride + size]
            told = (window * kernel[:, 0]).sum((2, 3)) if alone else np.einsum("bcyx,ocyx->bo", window, kernel)
            out[:, :, y, x] = told
    return out


def expected(weights: dict[str, Any], x_nhwc: Any) -> Any:
    """The features of the small layout in the names of timm, block by block, normalisation unfolded."""

    def unit(z: Any, conv: str, norm: str, stride: int = 1, clipped: bool = True) -> Any:
        z = convolution(z, weights[f"{conv}.weight"], stride)
        gamma, beta, mean, variance = (
            weights[f"{norm}.{name}"][:, None, None] for name in ("weight", "bias", "running_mean", "running_var")
        )
        z = (z - mean) / np.sqrt(variance + EPSILON) * gamma + beta
        return np.clip(z, 0, 6) if clipped else z

    z = ((x_nhwc.astype(np.float64) - 127) / 128).transpose(0, 3, 1, 2)
    z = unit(z, "conv_stem", "bn1", 2)
    y = unit(z, "blocks.0.0.conv_dw", "blocks.0.0.bn1")
    z = z + unit(y, "blocks.0.0.conv_pw", "blocks.0.0.bn2", clipped=False)
    for at, stride in ((0, 2), (1, 1)):
        where = f"blocks.1.{at}."
        y = unit(z, where + "conv_pw", where + "bn1")
        y = unit(y, where + "conv_dw", where + "bn2", stride)
        y = unit(y, where + "conv_pwl", where + "bn3", clipped=False)
        z = z + y if at else y
    return unit(z, "conv_head", "bn2").mean((2, 3))


def test_features_are_those_of_the_layout_computed_by_hand(net: efficientnet.EfficientNet) -> None:
    x_nhwc = pictures(3)
    wanted_nd = expected(arrays(), x_nhwc)
    assert wanted_nd.std() > 0.1
    assert np.allclose(efficientnet.frozen(net, x_nhwc), wanted_nd, atol=1e-4)
    assert np.allclose(net.enter(None, net.encode(None, x_nhwc)), wanted_nd, atol=1e-4)


@pytest.mark.parametrize("side", [19, 32])
def test_sides_that_do_not_divide_are_padded_as_they_were_in_training(tmp_path: Path, side: int) -> None:
    net = efficientnet.net((side, side, 3), OUTPUTS, efficientnet.load(saved(tmp_path, arrays())))
    x_nhwc = pictures(2, side=32)[:, :side, :side]
    assert np.allclose(efficientnet.frozen(net, x_nhwc), expected(arrays(), x_nhwc), atol=1e-4)


def test_both_namings_are_the_same_network(tmp_path: Path) -> None:
    first, second = net_of(tmp_path / "a"), net_of(tmp_path / "b", "torch")
    assert np.array_equal(efficientnet.frozen(first, pictures(2)), efficientnet.frozen(second, pictures(2)))


def test_lite0_has_the_layers_and_the_weights_that_its_authors_tell_of() -> None:
    units = [unit for block in lite.blocks_of(lite.LITE0) for unit in block.units]
    assert len(units) == 1 + 2 + 15 * 3 + 1
    assert sum(block.skip for block in lite.blocks_of(lite.LITE0)) == 9
    weights = sum(int(np.prod(unit.shape)) + 2 * unit.shape[0] for unit in units)
    assert weights + 1280 * 1000 + 1000 == 4_652_008
    names = [unit.convolution for block in lite.blocks_of(lite.LITE0, "torch") for unit in block.units]
    assert names[:3] == ["_conv_stem", "_blocks.0._depthwise_conv", "_blocks.0._project_conv"]
    assert names[-2:] == ["_blocks.15._project_conv", "_conv_head"]


def test_a_picture_has_the_same_features_in_every_company(net: efficientnet.EfficientNet) -> None:
    x_nhwc = pictures(frozen.TOGETHER + 3)
    together = efficientnet.frozen(net, x_nhwc)
    alone = np.concatenate([efficientnet.frozen(net, x_nhwc[at : at + 1]) for at in range(len(x_nhwc))])
    assert together.shape == (len(x_nhwc), TINY.head)
    assert np.allclose(together, alone, atol=1e-5)


def test_jax_and_onnx_runtime_compute_the_same(net: efficientnet.EfficientNet) -> None:
    def function(x_bhwc: Any) -> Any:
        return net.enter(None, net.encode(None, x_bhwc))

    x_nhwc = pictures(4)
    made = [by(x_nhwc) for by in (frozen.by_jax(function), frozen.by_onnx(function, x_nhwc))]
    assert np.allclose(*made, atol=1e-5)


# --- what is read -----------------------------------------------------------------------------------------------------


def test_equal_weights_are_equal_nets_and_others_are_not(tmp_path: Path) -> None:
    first, second, other = net_of(tmp_path / "a"), net_of(tmp_path / "b"), net_of(tmp_path / "c", seed=1)
    assert (first, hash(first)) == (second, hash(second))
    assert first != other


def test_half_precision_is_read_too(tmp_path: Path) -> None:
    halves = {name: array.astype(np.float16) if array.ndim else array for name, array in arrays().items()}
    net = efficientnet.net((SIDE, SIDE, 3), OUTPUTS, efficientnet.load(saved(tmp_path, halves)))
    assert np.allclose(efficientnet.frozen(net, pictures(2)), expected(arrays(), pictures(2)), atol=0.05)


@pytest.mark.parametrize(
    ("naming", "missing", "first", "shape"),
    [
        ("timm", "conv_stem", "conv_stem.weight", (8, 3, 3, 3)),
        ("timm", "blocks.1.0", "blocks.1.0.conv_pw.weight", (16, 8, 1, 1)),
        ("timm", "blocks.1.1.conv_dw", "blocks.1.1.conv_dw.weight", (24, 1, 5, 5)),
        ("torch", "_blocks.1._bn1.running_var", "_blocks.1._bn1.running_var", (16,)),
        ("torch", "_conv_head", "_conv_head.weight", (16, 12, 1, 1)),
    ],
)
def test_the_first_tensor_that_is_missing_is_named_with_its_shape(
    tmp_path: Path, naming: str, missing: str, first: str, shape: tuple[int, ...]
) -> None:
    rest = {name: array for name, array in arrays(TINY, naming).items() if not name.startswith(missing)}
    with pytest.raises(BadBackbone) as caught:
        efficientnet.load(saved(tmp_path, rest))
    assert repr(first) in caught.value.message
    assert str(shape) in caught.value.message
    assert "EfficientNet-Lite0" in caught.value.remedy


def test_a_tensor_of_another_shape_and_what_is_no_file_of_tensors_are_refused(tmp_path: Path) -> None:
    wide = {**arrays(), "blocks.0.0.conv_dw.weight": np.zeros((8, 1, 5, 5), np.float32)}
    with pytest.raises(BadBackbone, match=r"\(8, 1, 3, 3\); it has one of shape \(8, 1, 5, 5\)"):
        efficientnet.load(saved(tmp_path, wide))
    for content in (b"", b"PK\x03\x04" + b"0" * 100):
        (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(BadBackbone, match="cannot be read"):
            efficientnet.load(tmp_path)
    with pytest.raises(BadBackbone, match="cannot be read"):
        efficientnet.load(tmp_path / "nowhere")


# --- what is made of it -----------------------------------------------------------------------------------------------


def solved(net: efficientnet.EfficientNet, x_nhwc: Any, y_n: Any) -> Any:
    settings = {**efficientnet.trials("multiclass", len(y_n))[0], "weight_decay": 0.1}
    return efficientnet.solve(frozen.read(net, x_nhwc), np.eye(OUTPUTS)[y_n], np.ones(len(y_n)), settings, True)


def model_of(net: efficientnet.EfficientNet) -> Model:
    x_nhwc, y_n = pictures(60), np.arange(60) % OUTPUTS
    heads = [solved(net, x_nhwc[at::2], y_n[at::2]) for at in (0, 1)]
    weights = {name: np.stack([head[name] for head in heads]) for name in heads[0]}
    return Model((Part("backbone-1", Kind(net, "multiclass", False), weights),), scale_of(y_n, log1p=False), 1.0)


def test_a_solved_head_learns_rows_by_heart_where_l2_lets_it(net: efficientnet.EfficientNet) -> None:
    x_nhwc, y_n = pictures(12), np.arange(12) % OUTPUTS
    weights = solved(net, x_nhwc, y_n)
    assert ((frozen.applied(weights, frozen.read(net, x_nhwc))).argmax(1) == y_n).all()


def test_remembered_features_answer_as_the_whole_net_does(net: efficientnet.EfficientNet) -> None:
    model, x_nhwc = model_of(net), pictures(21, seed=5)
    assert model.frozen
    assert np.allclose(model.answers(x_nhwc), model.answers(x_nhwc, anew=True), atol=1e-5)


def test_the_exported_graphs_answer_and_explain_at_every_batch_size(
    net: efficientnet.EfficientNet, tmp_path: Path
) -> None:
    model, x_nhwc = model_of(net), pictures(3, seed=6)
    explaining = attribution.explaining(model, "picture")
    bundle.save_graphs(tmp_path / "bundle", model, explaining.run, x_nhwc)
    runners = [session(tmp_path / "bundle" / name) for name in ("model.onnx", "explain.onnx")]
    wanted_nk = model.answers(x_nhwc, anew=True)
    target_nk = explain.targets_of(wanted_nk)
    explained = explain.spread(explain.explained_in_blocks(explaining.run, x_nhwc, target_nk))
    for rows in (1, 3):
        (answer_nk,) = runners[0].run(None, {"x": x_nhwc[:rows]})
        assert np.abs(answer_nk - wanted_nk[:rows]).max() <= 1e-5
        made = runners[1].run(None, {"x": x_nhwc[:rows], "target": target_nk[:rows]})
        for got, right in zip(made, explained, strict=True):
            assert np.abs(got - np.asarray(right)[:rows]).max() <= 1e-4
        assert made[0].shape == (rows, SIDE * SIDE)
        assert np.allclose(made[0].sum(1), made[1] - made[2], atol=1e-5)
    assert explaining.about == {"origin": net.ORIGIN, "steps": attribution.STEPS}


def test_the_graphs_hold_the_frozen_weights_once(net: efficientnet.EfficientNet, tmp_path: Path) -> None:
    model, x_nhwc = model_of(net), pictures(1)
    bundle.save_graphs(tmp_path / "bundle", model, attribution.explainer(model), x_nhwc)
    kernels = sum(int(np.prod(unit.shape)) for block in lite.blocks_of(TINY) for unit in block.units) * 4
    assert sum(path.stat().st_size for path in (tmp_path / "bundle").glob("*.bin")) < kernels + 40 * 4096


@pytest.mark.parametrize(("pixels", "cells"), [(224, 14), (20, 10), (19, 5), (7, 7)])
def test_a_cell_is_shared_by_its_pixels_and_nothing_is_lost(pixels: int, cells: int) -> None:
    part = efficientnet.shares(pixels, cells)
    assert np.allclose(part.sum(0), 1)
    assert ((part > 0).sum(1) == 1).all()
    assert (np.diff(part.argmax(1)) >= 0).all()


def test_explanations_start_where_grey_is_seen_and_nothing_is_added_to_it(net: efficientnet.EfficientNet) -> None:
    even = np.full((1, SIDE, SIDE, 3), 127, np.uint8)
    raw = attribution.explainer(model_of(net))(even, np.eye(OUTPUTS, dtype=np.float32)[:1])
    assert np.abs(np.asarray(raw[0])).max() < 1e-5
    assert np.allclose(raw[1], raw[2], atol=1e-5)
    assert lite.early(lite.LITE0) == 12 and lite.early(TINY) == 2


def test_what_is_explained_is_computed_by_convolutions_not_by_shifted_copies(
    net: efficientnet.EfficientNet, tmp_path: Path
) -> None:
    import onnx

    model = model_of(net)
    bundle.save_graphs(tmp_path / "bundle", model, attribution.explainer(model), pictures(1))
    text = str(onnx.load(tmp_path / "bundle" / "explain.onnx", load_external_data=False).graph)
    assert text.count('op_type: "Conv"') >= 2 * 9
