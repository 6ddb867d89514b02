"""mlp: two hidden layers beside a linear path from input to output.

The linear path starts at zero. It lets the net be at least a linear model on small wide tables, where hidden layers
alone tend to lose against ridge regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tidemill.training.families import Drop, Weights, grid, modules

NAME = "mlp"
DESCRIPTION = "A neural network of two hidden layers (ReLU) beside a linear path."
WIDTHS = (64, 32)  # classes; for numbers the search starts from 10-20, which are units of these that live
Entered = tuple[jax.Array, jax.Array]


class Layers(nnx.Module):  # type: ignore[misc]
    """The layers as Flax sees them."""

    def __init__(self, features: int, outputs: int, widths: tuple[int, ...], rngs: nnx.Rngs) -> None:
        sizes = (features, *widths)
        self.hidden = nnx.List([modules.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])
        self.out = modules.Linear(widths[-1], outputs, rngs=rngs)
        self.skip = modules.Linear(features, outputs, use_bias=False, rngs=rngs)

    def enter(self, x_bf: jax.Array) -> Entered:
        """The first layer before its bend, and the linear path."""
        return self.hidden[0](x_bf), self.skip(x_bf)

    def finish(self, entered: Entered, drop: Drop) -> jax.Array:
        """Everything behind."""
        h_bd, skipped_bk = entered
        h_bd = drop(nnx.relu(h_bd))
        for layer in self.hidden[1:]:
            h_bd = drop(nnx.relu(layer(h_bd)))
        out_bk: jax.Array = self.out(h_bd) + skipped_bk
        return out_bk


@dataclass(frozen=True)
class Mlp:
    """The sizes; weights come and go as plain nested dicts of arrays."""

    features: int
    outputs: int
    widths: tuple[int, ...] = WIDTHS

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Fresh weights: normal with variance 1 / (3 inputs), zeros for biases and the linear path.

        Less than He's scale (arXiv 1502.01852): a net that starts near nothing leaves the beginning to the linear
        path, learned faster and ended better on three of four tables.

        A unit whose incoming weights and bias are zero answers zero, gets no gradient and stays as it is: that is how
        a trial is narrower than the arrays it shares with others.
        """
        weights = modules.blank(Layers, self.features, self.outputs, self.widths)
        live = live_units(width, self.widths)
        for (at, layer), units in zip(sorted(weights["hidden"].items()), live, strict=True):
            inputs = self.features if at == 0 else live[at - 1]
            shape = layer["kernel"].shape
            drawn = rng.normal(0.0, (1.0 / (3.0 * inputs)) ** 0.5, shape).astype(np.float32)
            layer["kernel"] = np.where(np.arange(shape[1]) < units, drawn, 0)
        shape = weights["out"]["kernel"].shape
        weights["out"]["kernel"] = rng.normal(0.0, (1.0 / (3.0 * live[-1])) ** 0.5, shape).astype(np.float32)
        return weights

    def decayed(self, weights: Weights) -> Any:
        """The matrices, not the biases."""
        return modules.matrices(weights)

    def encode(self, weights: Weights, x_bf: jax.Array) -> jax.Array:
        """The features as they are."""
        return x_bf

    def by_feature(self, value_be: jax.Array) -> jax.Array:
        """The values as they are."""
        return value_be

    def enter(self, weights: Weights, encoded: jax.Array) -> Entered:
        """The affine part: the first layer before its bend, and the linear path."""
        return self._layers(weights).enter(encoded)

    def finish(self, weights: Weights, entered: Entered, drop: Drop) -> jax.Array:
        """Outputs [b, k] of one member."""
        return self._layers(weights).finish(entered, drop)

    def _layers(self, weights: Weights) -> Layers:
        return modules.with_weights(weights, Layers, self.features, self.outputs, self.widths)


def live_units(width: int, widths: tuple[int, ...]) -> tuple[int, ...]:
    """Units of each layer that live at a width: 10 means 10-20, the net for numbers; w else means w and w / 2."""
    wanted = (10, 20) if width == 10 else (width, max(1, width // 2))
    return tuple(min(some, most) for some, most in zip(wanted, widths, strict=True))


def look(x_nf: NDArray[Any], y_n: NDArray[Any] | None, classes: int, like: Any = None) -> None:
    """This net needs to know nothing before."""


def net(features: int, outputs: int, seen: Any, members: int | None = None, width: int | None = None) -> Mlp:
    """The architecture for these sizes."""
    width = width or WIDTHS[0]
    return Mlp(features, outputs, (10, 20) if width == 10 else (width, max(1, width // 2)))


def trials(task: str, rows: int) -> list[dict[str, float]]:
    """Around Adam's usual step size."""
    width = 10 if task == "regression" else 64
    default = {"learning_rate": 1e-3, "weight_decay": 1e-3, "l1": 0.0, "dropout": 0.1, "width": width}
    return grid(
        default,
        learning_rate=(3e-3, 1e-3, 1e-2),
        weight_decay=(1e-3, 1e-1, 1e-2, 0.5),
        dropout=(0.0, 0.1, 0.3, 0.2, 0.05),
        width=(64, 32),
        l1=(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1e-3),
    )
