"""cnn_lstm: a convolution with pooling, whose rows two stacked LSTMs read from top to bottom (Hochreiter 1997).

Axes: b batch rows, t rows of the picture, e of a row's values, d units, k outputs.
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
from tidemill.training.families.picture import Pictures, shrunk, smaller, stacked
from tidemill.training.families.pixels import Shape

NAME = "cnn_lstm"
DESCRIPTION = "A convolution with pooling; two recurrent layers (LSTM) read its rows from top to bottom."
FILTERS = 32
MOST_ROWS = 16  # larger pictures are convolved and pooled once more
UNITS = 64
FORGET = 1.0  # bias of the forget gate at the start (Jozefowicz et al. 2015)
GLOROT = np.float32(0.5**0.5)  # gates do not bend at zero: half the variance that He draws

look = picture.look
trials = picture.trials


class Reader(nnx.Module):  # type: ignore[misc]
    """One recurrent layer; its gates stand side by side: in, forget, new, out."""

    def __init__(self, values: int, units: int, rngs: nnx.Rngs) -> None:
        self.seen = modules.Linear(values, 4 * units, rngs=rngs)
        self.kept = modules.Linear(units, 4 * units, use_bias=False, rngs=rngs)


class Layers(nnx.Module):  # type: ignore[misc]
    """The layers as Flax sees them."""

    def __init__(self, shape: Shape, outputs: int, filters: tuple[int, ...], units: int, rngs: nnx.Rngs) -> None:
        _, width, channels = smaller(shape)
        self.convolutions = nnx.List([nnx.Conv(a, b, (3, 3), rngs=rngs) for a, b in pairwise((channels, *filters))])
        self.readers = nnx.List(
            [Reader(values, units, rngs) for values in (width // 2 ** len(filters) * filters[-1], units)]
        )
        self.out = modules.Linear(units, outputs, rngs=rngs)
        self.mean = nnx.Param(jnp.zeros(shape))  # of the training pictures: constant, nothing pulls on it


@dataclass(frozen=True)
class CnnLstm(Pictures):
    """The sizes: filters of the convolutions, units of the recurrent layers."""

    filters: tuple[int, ...]
    units: int

    KIND: ClassVar[Any] = Layers

    @property
    def sizes(self) -> tuple[Any, ...]:
        """What the layers are made of."""
        return self.features, self.outputs, self.filters, self.units

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Normal, by He for the convolutions and by Glorot for the gates; forget gates open."""
        weights = super().init(rng, width, seen)
        for reader in weights["readers"].values():
            reader["seen"]["kernel"], reader["kept"]["kernel"] = (
                reader[name]["kernel"] * GLOROT for name in ("seen", "kept")
            )
            reader["seen"]["bias"] = np.repeat(np.array([0, FORGET, 0, 0], np.float32), self.units)
        return weights

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, k]: of the state behind the last row."""
        layers = self.layers(weights)
        z_btwc = stacked(layers.convolutions, shrunk(entered))
        z_bte = z_btwc.reshape(*z_btwc.shape[:2], -1)
        for reader in layers.readers:
            z_bte = states(reader, drop(z_bte), self.units)
        out_bk: jax.Array = layers.out(drop(z_bte[:, -1]))
        return out_bk


def states(reader: Reader, x_bte: jax.Array, units: int) -> jax.Array:
    """The state behind each row [b, t, d]."""
    gates_tbg = reader.seen(x_bte).swapaxes(0, 1)

    def step(carry: tuple[jax.Array, jax.Array], gate_bg: jax.Array) -> tuple[tuple[jax.Array, jax.Array], jax.Array]:
        state_bd, memory_bd = carry
        into, forget, new, out = jnp.split(gate_bg + reader.kept(state_bd), 4, axis=-1)
        memory_bd = nnx.sigmoid(forget) * memory_bd + nnx.sigmoid(into) * jnp.tanh(new)
        state_bd = nnx.sigmoid(out) * jnp.tanh(memory_bd)
        return (state_bd, memory_bd), state_bd

    empty_bd = jnp.zeros((x_bte.shape[0], units), x_bte.dtype)
    _, state_tbd = jax.lax.scan(step, (empty_bd, empty_bd), gates_tbg)
    found: jax.Array = state_tbd.swapaxes(0, 1)
    return found


def net(features: Any, outputs: int, seen: Any, members: int | None = None, width: int | None = None) -> CnnLstm:
    """The architecture for these sizes."""
    rows, filters = smaller(tuple(features))[0] // 2, [FILTERS]
    while rows > MOST_ROWS:
        filters.append(FILTERS)
        rows //= 2
    return CnnLstm(tuple(features), outputs, tuple(filters), width or UNITS)
