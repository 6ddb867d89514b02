"""What the networks for pictures share: convolutions with pooling, a hidden layer, and what is tried of them.

Axes: n rows, b batch rows, h height, w width, c channels, k outputs, d units.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tidemill.training.augment import Bend, bent
from tidemill.training.families import Drop, Weights, grid, modules, pixels
from tidemill.training.families.pixels import Shape, convolved, pooled

LOOKED = 1_000  # pictures summed at a time


class Layers(nnx.Module):  # type: ignore[misc]
    """The layers as Flax sees them."""

    def __init__(self, shape: Shape, outputs: int, filters: tuple[int, ...], hidden: int, rngs: nnx.Rngs) -> None:
        height, width, channels = shape
        self.convolutions = nnx.List([nnx.Conv(a, b, (3, 3), rngs=rngs) for a, b in pairwise((channels, *filters))])
        pools = 2 ** len(filters)
        self.dense = nnx.Linear((height // pools) * (width // pools) * filters[-1], hidden, rngs=rngs)
        self.out = nnx.Linear(hidden, outputs, rngs=rngs)
        self.mean = nnx.Param(jnp.zeros(shape))  # of the training pictures: constant, nothing pulls on it


@dataclass(frozen=True)
class Cnn:
    """The sizes; the smallest side holds out as many poolings as there are convolutions."""

    features: Shape
    outputs: int
    filters: tuple[int, ...]
    hidden: int

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Normal by He; biases zero; the mean picture as it was seen."""
        weights = pixels.drawn(modules.blank(Layers, *self._sizes), rng)
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

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, k]."""
        layers = modules.with_weights(weights, Layers, *self._sizes)
        z_bhwc = entered
        for layer in layers.convolutions:
            z_bhwc = nnx.relu(pooled(convolved(layer, z_bhwc)))
        z_bd = drop(z_bhwc.reshape(z_bhwc.shape[0], -1))
        out_bk: jax.Array = layers.out(drop(nnx.relu(layers.dense(z_bd))))
        return out_bk

    @property
    def _sizes(self) -> tuple[Any, ...]:
        return self.features, self.outputs, self.filters, self.hidden


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
