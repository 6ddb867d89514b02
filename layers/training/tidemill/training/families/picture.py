"""What the networks for pictures share: how pixels come in, the mean picture, and what is tried of them.

Axes: n rows, b batch rows, h height, w width, c channels, k outputs, d units.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tidemill.training.augment import Bend, bent
from tidemill.training.families import Drop, Weights, grid, modules, pixels
from tidemill.training.families.pixels import Shape, convolved, pooled

LOOKED = 1_000  # pictures summed at a time
LARGE = 128  # pixels a side: larger pictures are seen at a half, a third ... of their size by all but resnet


@dataclass(frozen=True)
class Pictures:
    """The sizes of a network, and everything about it but its layers."""

    features: Shape
    outputs: int

    KIND: ClassVar[Any] = None  # the layers as a Flax module, made of `sizes`

    @property
    def sizes(self) -> tuple[Any, ...]:
        """What the layers are made of."""
        return self.features, self.outputs

    def layers(self, weights: Weights) -> Any:
        """The module with these weights."""
        return modules.with_weights(weights, self.KIND, *self.sizes)

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Normal by He; biases zero; the mean picture as it was seen."""
        weights = pixels.drawn(modules.blank(self.KIND, *self.sizes), rng)
        return {**weights, "mean": np.asarray(seen, np.float32)}

    def decayed(self, weights: Weights) -> Any:
        """Kernels, not biases or the mean picture."""
        return {**modules.matrices(weights), "mean": False}

    def bent(self, key: jax.Array, bend: Bend, x_bhwc: jax.Array, w_b: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Training pictures changed, and the share of its own label that each keeps."""
        return bent(key, bend, pixels.seen(x_bhwc), w_b)

    def encode(self, weights: Weights, x_bhwc: jax.Array) -> jax.Array:
        """Pixels as the net sees them; pictures that were bent are that already."""
        return pixels.seen(x_bhwc) if x_bhwc.dtype == np.uint8 else x_bhwc

    def origin(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """Where explanations start: the mean training picture, which is kept with the weights."""
        return jnp.broadcast_to(weights["mean"], encoded.shape)

    def by_place(self, value_bhwc: jax.Array, x_bhwc: jax.Array) -> jax.Array:
        """Values of pixels row by row [b, h * w], channels summed."""
        return value_bhwc.sum(-1).reshape(value_bhwc.shape[0], -1)

    def enter(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """Nothing is affine but the first convolution, which stays with its bend."""
        return encoded


class Layers(nnx.Module):  # type: ignore[misc]
    """Convolutions and two layers, as Flax sees them."""

    def __init__(self, shape: Shape, outputs: int, filters: tuple[int, ...], hidden: int, rngs: nnx.Rngs) -> None:
        height, width, channels = smaller(shape)
        self.convolutions = nnx.List([nnx.Conv(a, b, (3, 3), rngs=rngs) for a, b in pairwise((channels, *filters))])
        pools = 2 ** len(filters)
        self.dense = modules.Linear((height // pools) * (width // pools) * filters[-1], hidden, rngs=rngs)
        self.out = modules.Linear(hidden, outputs, rngs=rngs)
        self.mean = nnx.Param(jnp.zeros(shape))  # of the training pictures: constant, nothing pulls on it


@dataclass(frozen=True)
class Cnn(Pictures):
    """Convolutions, each with pooling, and a hidden layer; the smallest side holds out as many poolings."""

    filters: tuple[int, ...]
    hidden: int

    KIND: ClassVar[Any] = Layers

    @property
    def sizes(self) -> tuple[Any, ...]:
        """What the layers are made of."""
        return self.features, self.outputs, self.filters, self.hidden

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, k]."""
        layers = self.layers(weights)
        z_bhwc = stacked(layers.convolutions, shrunk(entered))
        z_bd = drop(z_bhwc.reshape(z_bhwc.shape[0], -1))
        out_bk: jax.Array = layers.out(drop(nnx.relu(layers.dense(z_bd))))
        return out_bk


def stacked(convolutions: Any, x_bhwc: jax.Array) -> jax.Array:
    """Convolutions after each other, each with pooling and a bend."""
    for layer in convolutions:
        x_bhwc = nnx.relu(pooled(convolved(layer, x_bhwc)))
    return x_bhwc


def shrinks(shape: Shape) -> int:
    """How many pixels of a side become one, so that a small net is not kept busy with what it cannot use."""
    return -(-max(shape[:2]) // LARGE)


def smaller(shape: Shape) -> Shape:
    """A picture's axes as small nets see it."""
    size = shrinks(shape)
    return shape[0] // size, shape[1] // size, shape[2]


def shrunk(x_bhwc: jax.Array) -> jax.Array:
    """Pictures as small nets see them: means of squares; a row or column too many is left out."""
    shape: Any = x_bhwc.shape
    size, (height, width, channels) = shrinks(shape[1:]), smaller(shape[1:])
    if size == 1:
        return x_bhwc
    cut = x_bhwc[:, : height * size, : width * size].reshape(shape[0], height, size, width, size, channels)
    return cut.mean((2, 4))


def look(x_nhwc: NDArray[Any], y_n: NDArray[Any] | None, classes: int, like: Any = None) -> NDArray[Any]:
    """The mean training picture, as nets see pixels."""
    total = sum(block.sum(0, dtype=np.float64) for block in np.array_split(x_nhwc, max(1, len(x_nhwc) // LOOKED)))
    mean: NDArray[Any] = np.asarray(pixels.seen(np.asarray(total / len(x_nhwc))))
    return mean


def trials(task: str, rows: int) -> list[dict[str, float]]:
    """How far to bend first, which matters most for few pictures; then step size and dropout. Flips come late."""
    default = {"learning_rate": 1e-3, "weight_decay": 1e-2, "l1": 0.0, "dropout": 0.3, "width": 0.0}
    return grid(
        {**default, "affine": 1.0, "flip": 0.0, "mixup": 0.0},
        affine=(1.0, 0.0, 1.0, 0.5),
        flip=(0.0, 0.0, 0.5, 0.0, 0.0),
        mixup=(0.0, 0.0, 0.0, 0.4, 0.0, 0.0, 0.0),
        learning_rate=(1e-3, 1e-3, 1e-3, 2e-3, 5e-4),
        dropout=(0.3, 0.3, 0.3, 0.5, 0.1),
    )
