"""EfficientNet-Lite0 as a list of convolutions: its sizes, and what they are called in the files people have.

Lite0 (arXiv 1905.11946 without squeeze and excitation, relu6 for swish) is a stem, seven stages of inverted residual
blocks (arXiv 1801.04381) and a head of 1,280 features. Batch normalisation is folded into the convolutions.

Axes: o output channels, i input channels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.training.backbones import Backbone

Array = NDArray[Any]
EPSILON = 1e-3  # of batch normalisation, as the network was trained
COLOURS = 3
STEMS = {"timm": "conv_stem.weight", "torch": "_conv_stem.weight"}
REMEDY = (
    "Give EfficientNet-Lite0 in the names of timm (tf_efficientnet_lite0) or of efficientnet_lite_pytorch, "
    "saved with safetensors."
)


class Stage(NamedTuple):
    """Blocks of one width; the first of them strides."""

    blocks: int
    kernel: int
    stride: int
    expand: int  # the width inside a block over that of its input
    width: int


@dataclass(frozen=True)
class Layout:
    """The sizes of a network."""

    stem: int
    stages: tuple[Stage, ...]
    head: int


LITE0 = Layout(
    32,
    (
        Stage(1, 3, 1, 1, 16),
        Stage(2, 3, 2, 6, 24),
        Stage(2, 5, 2, 6, 40),
        Stage(3, 3, 2, 6, 80),
        Stage(3, 5, 1, 6, 112),
        Stage(4, 5, 2, 6, 192),
        Stage(1, 3, 1, 6, 320),
    ),
    1280,
)


class Unit(NamedTuple):
    """A convolution with the normalisation behind it, by their names in a file."""

    convolution: str
    norm: str
    shape: tuple[int, int, int, int]  # o, i of a group, kernel, kernel
    stride: int = 1
    groups: int = 1
    clipped: bool = True  # between 0 and 6


class Block(NamedTuple):
    """Convolutions after each other; `skip` adds what went in."""

    units: tuple[Unit, ...]
    skip: bool = False


def early(layout: Layout) -> int:
    """How many blocks come before the size is halved for the last time."""
    last = max(at for at, stage in enumerate(layout.stages) if stage.stride > 1)
    return 1 + sum(stage.blocks for stage in layout.stages[:last])


def blocks_of(layout: Layout, naming: str = "timm") -> Iterator[Block]:
    """The network in order, in the names of `timm` or `torch`."""
    timm, width, number = naming == "timm", COLOURS, 0
    stem, head = (
        (("conv_stem", "bn1"), ("conv_head", "bn2")) if timm else (("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
    )
    yield Block((Unit(*stem, (layout.stem, width, 3, 3), 2),))
    width = layout.stem
    for at, stage in enumerate(layout.stages):
        for place in range(stage.blocks):
            where = f"blocks.{at}.{place}." if timm else f"_blocks.{number}."
            yield _inverted(where, _names(stage.expand, timm), width, stage, stage.stride if place == 0 else 1)
            width, number = stage.width, number + 1
    yield Block((Unit(*head, (layout.head, width, 1, 1)),))


def _names(expand: int, timm: bool) -> list[tuple[str, str]]:
    """What the convolutions of a block and their normalisations are called, the expanding one first."""
    if timm:
        plain, wide = (
            [("conv_dw", "bn1"), ("conv_pw", "bn2")],
            [("conv_pw", "bn1"), ("conv_dw", "bn2"), ("conv_pwl", "bn3")],
        )
    else:
        plain = [("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2")]
        wide = [("_expand_conv", "_bn0"), *plain]
    return plain if expand == 1 else wide


def _inverted(where: str, names: list[tuple[str, str]], width: int, stage: Stage, stride: int) -> Block:
    """Wider, then each channel with its neighbourhood, then narrower without a bend."""
    inside = width * stage.expand
    sizes = [
        ((inside, 1, stage.kernel, stage.kernel), stride, inside, True),
        ((stage.width, inside, 1, 1), 1, 1, False),
    ]
    if stage.expand != 1:
        sizes.insert(0, ((inside, width, 1, 1), 1, 1, True))
    units = (Unit(where + a, where + b, *size) for (a, b), size in zip(names, sizes, strict=True))
    return Block(tuple(units), skip=stride == 1 and width == stage.width)


def folded(layout: Layout, backbone: Backbone) -> list[tuple[Array, Array]]:
    """Kernel [o, i, y, x] and bias [o] of every convolution in order; raises BadBackbone for other weights.

    The names are those of the file's stem; timm's where it has neither.
    """
    naming = next((naming for naming, stem in STEMS.items() if stem in backbone.arrays), "timm")
    return [_folded(unit, backbone) for block in blocks_of(layout, naming) for unit in block.units]


def _folded(unit: Unit, backbone: Backbone) -> tuple[Array, Array]:
    """(w x - mean) / sqrt(variance + epsilon) gamma + beta as one convolution."""
    kernel = backbone.tensor(f"{unit.convolution}.weight", unit.shape, REMEDY)
    gamma_o, beta_o, mean_o, variance_o = (
        backbone.tensor(f"{unit.norm}.{name}", unit.shape[:1], REMEDY)
        for name in ("weight", "bias", "running_mean", "running_var")
    )
    scale_o = gamma_o / np.sqrt(variance_o + EPSILON)
    return (kernel * scale_o[:, None, None, None]).astype(np.float32), (beta_o - mean_o * scale_o).astype(np.float32)
