"""backbone, for pictures: EfficientNet-Lite0 with the weights that it was given, frozen, and a linear head.

The network is kept channels first, as its weights come and as both ONNX Runtime and cuDNN like it.

Axes: b batch rows, h height, w width, c channels, o output channels, d features, k outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tidemill.training import backbones, solving
from tidemill.training import frozen as features
from tidemill.training.backbones import Backbone
from tidemill.training.families import Drop, Weights, lite, modules, pixels
from tidemill.training.families.pixels import Shape

NAME = "backbone"
DESCRIPTION = "A linear model on what EfficientNet-Lite0, frozen, sees in a picture."
LAYOUT = lite.LITE0
MIDDLE, HALF = 127.0, 128.0  # what the network sees is about -1 to 1
MOST = np.float32(6)  # of a clipped unit
STRENGTHS = (10.0, 100.0, 1.0, 1000.0)  # of L2 over the number of rows, on standardised features
Array = NDArray[Any]


class Convolution(nnx.Module):  # type: ignore[misc]
    """A kernel with its bias."""

    def __init__(self, shape: tuple[int, int, int, int], rngs: nnx.Rngs) -> None:
        self.kernel = nnx.Param(jnp.zeros(shape))
        self.bias = nnx.Param(jnp.zeros(shape[:1]))


class Layers(nnx.Module):  # type: ignore[misc]
    """The convolutions in order."""

    def __init__(self, layout: lite.Layout, rngs: nnx.Rngs) -> None:
        blocks = lite.blocks_of(layout)
        self.units = nnx.List([Convolution(unit.shape, rngs) for block in blocks for unit in block.units])


@dataclass(frozen=True)
class EfficientNet:
    """The sizes, and the weights that never move."""

    features: Shape
    outputs: int
    layout: lite.Layout
    backbone: Backbone

    ORIGIN: ClassVar[str] = "an even grey picture, as the network's middle layers see it"

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """A head of zeros: the problem is convex, every start leads to the same end."""
        kernel_dk = np.zeros((self.layout.head, self.outputs), np.float32)
        return {"kernel": kernel_dk, "bias": np.zeros(self.outputs, np.float32)}

    def decayed(self, weights: Weights) -> Any:
        """The kernel, not the bias."""
        return modules.matrices(weights)

    def encode(self, weights: Weights, x_bhwc: jax.Array) -> jax.Array:
        """What the middle layers see [b, c, y, x], a sixteenth of the picture's size.

        Explanations walk from here: through all layers sixteen steps take seconds, and bend so often that they do not
        add up.
        """
        seen_bchw = ((x_bhwc.astype(jnp.float32) - MIDDLE) / HALF).transpose(0, 3, 1, 2)
        return self._through(seen_bchw, 0, lite.early(self.layout))

    def origin(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """Where explanations start: grey, which is the middle of what the network was trained on."""
        return jnp.broadcast_to(grey(self.features, self.layout, self.backbone), encoded.shape)

    def by_place(self, value_bcyx: jax.Array, x_bhwc: jax.Array) -> jax.Array:
        """Values of pixels row by row [b, h * w]: a cell's value goes to its pixels evenly."""
        value_byx = value_bcyx.sum(1)
        down_hy, across_wx = (shares(*sizes) for sizes in zip(self.features, value_byx.shape[1:], strict=False))
        value_bhw: jax.Array = jnp.matmul(jnp.matmul(down_hy, value_byx), across_wx.T)
        return value_bhw.reshape(value_bhw.shape[0], -1)

    def enter(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """The features [b, d]: not affine, but the same for every head."""
        return self._through(encoded, lite.early(self.layout), None).mean((2, 3))

    def _through(self, z_bchw: jax.Array, first: int, end: int | None) -> jax.Array:
        """Some of the blocks."""
        blocks = list(lite.blocks_of(self.layout))
        layers = modules.with_weights(held(self.layout, self.backbone), Layers, self.layout)
        convolutions = iter(list(layers.units)[sum(len(block.units) for block in blocks[:first]) :])
        for block in blocks[first:end]:
            before = z_bchw
            for unit in block.units:
                z_bchw = convolved(next(convolutions), unit, z_bchw)
            z_bchw = z_bchw + before if block.skip else z_bchw
        return z_bchw

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, k]."""
        out_bk: jax.Array = features.applied(weights, entered)
        return out_bk


def frozen(net: EfficientNet, x_nhwc: Array) -> Array:
    """The features [n, d] of any number of pictures."""
    return features.in_blocks(_computing(net.features, net.layout, net.backbone), x_nhwc)


@lru_cache(maxsize=2)
def _computing(shape: Shape, layout: lite.Layout, backbone: Backbone) -> features.Compute:
    """The network for one size of pictures, made fast."""
    net = EfficientNet(shape, 1, layout, backbone)
    like_bhwc = np.zeros((features.TOGETHER, *shape), np.uint8)
    return features.computing(lambda x_bhwc: net.enter(None, net.encode(None, x_bhwc)), like_bhwc)


@lru_cache(maxsize=2)
def grey(shape: Shape, layout: lite.Layout, backbone: Backbone) -> Array:
    """What the middle layers see of grey [1, c, y, x]; a constant, computed here: XLA is slow where it folds one."""
    net = EfficientNet(shape, 1, layout, backbone)
    with jax.ensure_compile_time_eval():
        return np.asarray(jax.jit(lambda x_bhwc: net.encode(None, x_bhwc))(np.full((1, *shape), MIDDLE, np.float32)))


def shares(pixels: int, cells: int) -> Array:
    """The share of each cell's value that each pixel of a side gets [pixels, cells]; of a cell they sum to one."""
    at_p = np.arange(pixels) * cells // pixels
    part = np.zeros((pixels, cells), np.float32)
    part[np.arange(pixels), at_p] = 1.0
    even: Array = part / part.sum(0)
    return even


def solve(
    feature_nd: Array, target_nk: Array, weight_n: Array, settings: Mapping[str, float], classes: bool
) -> Weights:
    """The best head for these rows; `target` holds classes as one-hot, or standardised values."""
    strength = settings["weight_decay"] / len(weight_n)
    kernel_dk, bias_k = solving.on_standardised(feature_nd, target_nk, weight_n, strength, classes)
    return {"kernel": kernel_dk.astype(np.float32), "bias": bias_k.astype(np.float32)}


@lru_cache(maxsize=2)
def held(layout: lite.Layout, backbone: Backbone) -> Weights:
    """The weights as `Layers` has them; raises BadBackbone where they are of another network."""
    blank, found = modules.blank(Layers, layout), lite.folded(layout, backbone)
    units = {key: dict(zip(("kernel", "bias"), found[int(key)], strict=True)) for key in blank["units"]}
    return {"units": units}


def convolved(layer: Convolution, unit: lite.Unit, x_bchw: jax.Array) -> jax.Array:
    """A convolution as TensorFlow pads it ("same": the odd one behind), with its bias and its bend."""
    kernel = layer.kernel[...]
    if pixels.on_cpu(x_bchw) and unit.shape[2:] == (1, 1):
        z_bohw = jnp.einsum("oi,bihw->bohw", kernel[:, :, 0, 0], x_bchw)
    elif pixels.on_cpu(x_bchw) and unit.groups > 1:
        z_bohw = _shifted(kernel[:, 0], x_bchw, unit.stride)
    else:
        z_bohw = jax.lax.conv_general_dilated(
            x_bchw,
            kernel,
            (unit.stride, unit.stride),
            "SAME",
            dimension_numbers=("NCHW", "OIHW", "NCHW"),
            feature_group_count=unit.groups,
        )
    z_bohw = z_bohw + layer.bias[...][:, None, None]
    return jax.lax.clamp(np.float32(0), z_bohw, MOST) if unit.clipped else z_bohw


def _shifted(kernel_cyx: jax.Array, x_bchw: jax.Array, stride: int) -> jax.Array:
    """Each channel with its own kernel, as a sum of shifted copies: XLA's own is many times slower on a processor."""
    size, (height, width) = kernel_cyx.shape[-1], x_bchw.shape[2:]
    ends = [pixels.same(side, size, stride) for side in (height, width)]
    around = jnp.pad(x_bchw, ((0, 0), (0, 0), *(end[1:] for end in ends)))
    total: Any = 0.0
    for y in range(size):
        for x in range(size):
            rows = slice(y, y + stride * (ends[0][0] - 1) + 1, stride)
            columns = slice(x, x + stride * (ends[1][0] - 1) + 1, stride)
            total = total + around[:, :, rows, columns] * kernel_cyx[:, y, x][:, None, None]
    return total  # type: ignore[no-any-return]


def look(x_nhwc: Any, y_n: Any, classes: int, like: Any = None) -> None:
    """What this net must know comes with it: see `net`."""


def load(folder: Path) -> Backbone:
    """Read the weights; raises BadBackbone unless they are those of this network."""
    backbone = backbones.load(folder)
    held(LAYOUT, backbone)
    return backbone


def net(
    features: Any, outputs: int, seen: Backbone, members: int | None = None, width: int | None = None
) -> EfficientNet:
    """The architecture for these sizes; `seen` is the backbone."""
    return EfficientNet(tuple(features), outputs, LAYOUT, seen)


def trials(task: str, rows: int) -> list[dict[str, float]]:
    """Strengths of L2."""
    default = {"learning_rate": 0.0, "l1": 0.0, "dropout": 0.0, "width": 0.0}
    return [{**default, "weight_decay": strength} for strength in STRENGTHS]
