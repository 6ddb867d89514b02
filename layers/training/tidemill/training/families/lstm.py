"""lstm: tokens as vectors, a recurrent layer that reads them in turn (Hochreiter and Schmidhuber 1997), and its mean.

Axes: b batch rows, t tokens, e of an embedding, d units, k outputs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tidemill.training.families import Drop, Weights, grid, modules, words
from tidemill.training.families.recurrence import states

NAME = "lstm"
DESCRIPTION = "A recurrent network (LSTM) over the words of a text."
EMBEDDING, UNITS = 64, 64
AT_ONCE = 256  # texts read at once: 16 MiB of states where they are long
FORGET = 1.0  # bias of the forget gate at the start (Jozefowicz et al. 2015)


class Layers(nnx.Module):  # type: ignore[misc]
    """The layers as Flax sees them; the gates stand side by side: in, forget, new, out."""

    def __init__(self, tokens: int, outputs: int, units: int, rngs: nnx.Rngs) -> None:
        self.embedding = nnx.Param(jnp.zeros((tokens, EMBEDDING)))
        self.seen = modules.Linear(EMBEDDING, 4 * units, rngs=rngs)
        self.kept = modules.Linear(units, 4 * units, use_bias=False, rngs=rngs)
        self.out = modules.Linear(units, outputs, rngs=rngs)


@dataclass(frozen=True)
class Lstm:
    """The sizes: n-grams and tokens known, outputs, units."""

    features: tuple[int, int]
    outputs: int
    units: int

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Uniform by Glorot; forget gates open."""
        weights = words.begun(modules.blank(Layers, *self._sizes), rng)
        bias = weights["seen"]["bias"].copy()
        bias[self.units : 2 * self.units] = FORGET
        return {**weights, "seen": {**weights["seen"], "bias": bias}}

    def decayed(self, weights: Weights) -> Any:
        """Kernels, not biases or embeddings."""
        return {**modules.matrices(weights), "embedding": False}

    def encode(self, weights: Weights, x: Any) -> jax.Array:
        """Tokens as vectors, padding marked."""
        return words.embedded(weights["embedding"], x.seq_nt)

    def origin(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """Vectors of nothing."""
        return words.origin(encoded)

    def by_place(self, value_bte: jax.Array, x: Any) -> jax.Array:
        """Values by token."""
        return words.by_place(value_bte, x)

    def enter(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """What comes first is not affine in padding; all is left to `finish`."""
        return encoded

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, k]: of the mean state over the tokens."""
        layers = modules.with_weights(weights, Layers, *self._sizes)
        z_bte, real_bt = words.parted(entered)
        kernels = layers.seen.kernel[...], layers.seen.bias[...], layers.kept.kernel[...]

        def mean_state(z_bte: jax.Array, real_bt: jax.Array) -> jax.Array:
            return words.mean(states(z_bte.swapaxes(0, 1), *kernels).swapaxes(0, 1), real_bt)

        out_bk: jax.Array = layers.out(drop(words.by_rows(mean_state, AT_ONCE, drop(z_bte), real_bt)))
        return out_bk

    @property
    def _sizes(self) -> tuple[int, int, int]:
        return self.features[1], self.outputs, self.units


def look(x: Any, y_n: NDArray[Any] | None, classes: int, like: Any = None) -> None:
    """This net needs to know nothing before."""


def net(features: Any, outputs: int, seen: Any, members: int | None = None, width: int | None = None) -> Lstm:
    """The architecture for these sizes."""
    return Lstm(tuple(features), outputs, width or UNITS)


def trials(task: str, rows: int) -> list[dict[str, float]]:
    """Around Adam's usual step size; texts are few for a net of words, so that dropout is strong."""
    default = {"learning_rate": 2e-3, "weight_decay": 1e-2, "l1": 0.0, "dropout": 0.3, "width": 0.0}
    return grid(default, learning_rate=(2e-3, 1e-3, 5e-3), dropout=(0.3, 0.5), weight_decay=(1e-2, 0.1))
