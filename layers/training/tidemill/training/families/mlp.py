"""mlp: two hidden layers of 64 and 32 units beside a linear path from input to output.

The linear path starts at zero. It lets the net be at least a linear model on small wide tables, where hidden layers
alone tend to lose against ridge regression.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import jax
import numpy as np
from flax import nnx

from tidemill.training.families import Drop, Weights

NAME = "mlp"
DESCRIPTION = "A neural network of two hidden layers (64 and 32 units, ReLU) beside a linear path."
WIDTHS = (64, 32)
Entered = tuple[jax.Array, jax.Array]


class Layers(nnx.Module):  # type: ignore[misc]
    """The layers as Flax sees them."""

    def __init__(self, features: int, outputs: int, rngs: nnx.Rngs) -> None:
        sizes = (features, *WIDTHS)
        self.hidden = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])
        self.out = nnx.Linear(WIDTHS[-1], outputs, rngs=rngs)
        self.skip = nnx.Linear(features, outputs, use_bias=False, rngs=rngs)

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

    def init(self, rng: np.random.Generator) -> Weights:
        """Fresh weights: He's scale before ReLU (arXiv 1502.01852), zeros for biases and the linear path."""
        blank = nnx.to_pure_dict(_blueprint(self)[1])
        weights: Weights = jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), blank)
        for layer, gain in (*((layer, 2.0) for layer in weights["hidden"].values()), (weights["out"], 1.0)):
            shape = layer["kernel"].shape
            layer["kernel"] = rng.normal(0.0, (gain / shape[0]) ** 0.5, shape).astype(np.float32)
        return weights

    def enter(self, weights: Weights, x_bf: jax.Array) -> Entered:
        """The affine part: the first layer before its bend, and the linear path."""
        return _layers(self, weights).enter(x_bf)

    def finish(self, weights: Weights, entered: Entered, drop: Drop) -> jax.Array:
        """Outputs [b, k] of one member."""
        return _layers(self, weights).finish(entered, drop)


@lru_cache(maxsize=32)
def _blueprint(mlp: Mlp) -> tuple[Any, Any]:
    """The module's structure and its parameters' shapes, without any arrays."""
    empty = nnx.eval_shape(lambda: Layers(mlp.features, mlp.outputs, nnx.Rngs(0)))
    graph, state, _ = nnx.split(empty, nnx.Param, ...)
    return graph, state


def _layers(mlp: Mlp, weights: Weights) -> Layers:
    """The module with these weights: made anew at every call, so nothing is shared and nothing leaks."""
    graph, blank = _blueprint(mlp)
    state = jax.tree.map(lambda leaf: leaf, blank)
    nnx.replace_by_pure_dict(state, weights)
    layers: Layers = nnx.merge(graph, state)
    return layers


def net(features: int, outputs: int) -> Mlp:
    """The architecture for these sizes."""
    return Mlp(features, outputs)
