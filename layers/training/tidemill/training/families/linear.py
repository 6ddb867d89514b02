"""linear: one weight a feature and output; logistic (multinomial) or linear regression."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tidemill.training.families import Drop, Weights, modules

NAME = "linear"
DESCRIPTION = "A linear model: one weight for each feature."


class Layers(nnx.Module):  # type: ignore[misc]
    """The layer as Flax sees it."""

    def __init__(self, features: int, outputs: int, rngs: nnx.Rngs) -> None:
        self.out = modules.Linear(features, outputs, rngs=rngs)


@dataclass(frozen=True)
class Linear:
    """The sizes."""

    features: int
    outputs: int

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Zeros: the problem is convex, every start leads to the same end."""
        return modules.blank(Layers, self.features, self.outputs)

    def decayed(self, weights: Weights) -> Any:
        """The weights, not the bias."""
        return modules.matrices(weights)

    def encode(self, weights: Weights, x_bf: jax.Array) -> jax.Array:
        """The features as they are."""
        return x_bf

    def by_feature(self, value_be: jax.Array) -> jax.Array:
        """The values as they are."""
        return value_be

    def enter(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """All there is."""
        out_bk: jax.Array = modules.with_weights(weights, Layers, self.features, self.outputs).out(encoded)
        return out_bk

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Nothing more to do."""
        return entered


def look(x_nf: NDArray[Any], y_n: NDArray[Any] | None, classes: int, like: Any = None) -> None:
    """A linear model needs to know nothing before."""


def net(features: int, outputs: int, seen: Any, members: int | None = None, width: int | None = None) -> Linear:
    """The architecture for these sizes."""
    return Linear(features, outputs)


def trials(task: str, rows: int) -> list[dict[str, float]]:
    """Strengths of L2 and L1, from nearly nothing to strong, at two step sizes."""
    default = {"learning_rate": 3e-3, "weight_decay": 1e-2, "l1": 0.0, "dropout": 0.0, "width": 0}
    pulls = [(1e-4, 0.0), (0.1, 0.0), (0.5, 0.0), (0.0, 1e-3), (0.0, 1e-2), (2.0, 0.0), (0.0, 5e-2)]
    pulled = [{**default, "weight_decay": l2, "l1": l1} for l2, l1 in pulls]
    return [default, *pulled, *({**trial, "learning_rate": 1e-2} for trial in (default, *pulled))]
