"""resnet: residual blocks (arXiv 1512.03385, 1603.05027) of growing width, for pictures of up to 224 by 224 pixels.

Normalised by groups of channels of each picture (arXiv 1803.08494), not by statistics of a batch: batches hold padding
and mixed pictures, members of a population see other batches, and running averages are a state that is no weight. By
groups every picture is answered by itself, in training as in service, and a batch of n as n batches of one.

Axes: b batch rows, h height, w width, c channels, g channels of a group, k outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from tidemill.training.families import Drop, Weights, modules, picture
from tidemill.training.families.picture import Pictures
from tidemill.training.families.pixels import Shape, convolved

NAME = "resnet"
DESCRIPTION = "A residual network of three or four widths, two blocks each, normalised by groups of channels."
WIDTH = 32  # of the first blocks; it doubles where the size halves
BLOCKS = 2  # of a width
GROUP = 8  # channels normalised together
SMALL = 64  # pixels a side: larger pictures are halved twice before the first block
SMALLEST = 7  # pixels a side after the last block, about
EPSILON = 1e-5

look = picture.look
trials = picture.trials


class Norm(nnx.Module):  # type: ignore[misc]
    """Scale and shift of each channel."""

    def __init__(self, channels: int, rngs: nnx.Rngs) -> None:
        self.scale = nnx.Param(jnp.ones(channels))
        self.shift = nnx.Param(jnp.zeros(channels))

    def __call__(self, x_bhwc: jax.Array) -> jax.Array:
        """Groups of channels at a mean of zero and a variance of one, then scaled and shifted."""
        b, height, width, channels = x_bhwc.shape
        x_bhwng = x_bhwc.reshape(b, height, width, channels // GROUP, GROUP)
        away = x_bhwng - x_bhwng.mean((1, 2, 4), keepdims=True)
        even = away * jax.lax.rsqrt(jnp.square(away).mean((1, 2, 4), keepdims=True) + EPSILON)
        scaled_bhwc: jax.Array = even.reshape(x_bhwc.shape) * self.scale[...] + self.shift[...]
        return scaled_bhwc


class Block(nnx.Module):  # type: ignore[misc]
    """Normalise, bend, convolve, twice, and add what went in: as it is, or through a convolution of one pixel."""

    def __init__(self, channels: int, outputs: int, rngs: nnx.Rngs) -> None:
        self.norms = nnx.List([Norm(size, rngs) for size in (channels, outputs)])
        self.convolutions = nnx.List(
            [nnx.Conv(size, outputs, (3, 3), use_bias=False, rngs=rngs) for size in (channels, outputs)]
        )
        if channels != outputs:
            self.across = nnx.Conv(channels, outputs, (1, 1), use_bias=False, rngs=rngs)

    def __call__(self, x_bhwc: jax.Array) -> jax.Array:
        """Half the size where the block gets wider."""
        stride = 2 if hasattr(self, "across") else 1
        z_bhwc = nnx.relu(self.norms[0](x_bhwc))
        kept = convolved(self.across, z_bhwc, stride) if stride == 2 else x_bhwc
        z_bhwc = convolved(self.convolutions[0], z_bhwc, stride)
        return kept + convolved(self.convolutions[1], nnx.relu(self.norms[1](z_bhwc)))


class Layers(nnx.Module):  # type: ignore[misc]
    """The layers as Flax sees them."""

    def __init__(self, shape: Shape, outputs: int, widths: tuple[int, ...], rngs: nnx.Rngs) -> None:
        stems = (shape[2], *[widths[0]] * max(1, halvings(shape)))
        self.stems = nnx.List([nnx.Conv(a, b, (3, 3), rngs=rngs) for a, b in pairwise(stems)])
        inside = [width for width in widths for _ in range(BLOCKS)]
        self.blocks = nnx.List([Block(a, b, rngs) for a, b in pairwise((widths[0], *inside))])
        self.norm = Norm(widths[-1], rngs)
        self.out = modules.Linear(widths[-1], outputs, rngs=rngs)
        self.mean = nnx.Param(jnp.zeros(shape))  # of the training pictures: constant, nothing pulls on it


@dataclass(frozen=True)
class ResNet(Pictures):
    """The sizes: the width of each group of blocks."""

    widths: tuple[int, ...]

    KIND: ClassVar[Any] = Layers

    @property
    def sizes(self) -> tuple[Any, ...]:
        """What the layers are made of."""
        return self.features, self.outputs, self.widths

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Normal by He; the last convolution of every block at zero, so that blocks begin as nothing (1706.02677)."""
        weights = super().init(rng, width, seen)
        norms = [weights["norm"]]
        for block in weights["blocks"].values():
            norms += block["norms"].values()
            last = list(block["convolutions"].values())[-1]
            last["kernel"] = np.zeros_like(last["kernel"])
        for norm in norms:
            norm["scale"] = np.ones_like(norm["scale"])
        return weights

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, k]."""
        layers, z_bhwc = self.layers(weights), entered
        for layer in layers.stems:
            z_bhwc = convolved(layer, z_bhwc, 2 if halvings(self.features) else 1)
        for block in layers.blocks:
            z_bhwc = block(z_bhwc)
        out_bk: jax.Array = layers.out(drop(nnx.relu(layers.norm(z_bhwc)).mean((1, 2))))
        return out_bk


def halvings(shape: Shape) -> int:
    """How often a picture is halved before the first block."""
    return 2 if max(shape[:2]) > SMALL else 0


def net(features: Any, outputs: int, seen: Any, members: int | None = None, width: int | None = None) -> ResNet:
    """The architecture for these sizes."""
    side, widths = max(features[:2]) // 2 ** halvings(tuple(features)), [-(-(width or WIDTH) // GROUP) * GROUP]
    while side // 2 >= SMALLEST:
        widths.append(2 * widths[-1])
        side //= 2
    return ResNet(tuple(features), outputs, tuple(widths))
