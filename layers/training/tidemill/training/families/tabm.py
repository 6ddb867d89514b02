"""tabm: many small nets that share their weights, on piecewise-linear embeddings of the numbers.

TabM-mini (Gorishniy et al., arXiv 2410.24210): every one of the j nets scales the features by an adapter of its own
and has a head of its own; everything between is shared. The nets are trained on the mean of their losses and answer
with the mean of their answers. Numbers are first told by where they fall among the training rows' quantiles
(piecewise-linear encoding, arXiv 2203.05556), beside a plain linear term.

Axes: b batch rows, f features, m features that are numbers, r the rest, t bins, e embedding (of one number, then of all
features together), j nets, d units.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from numpy.typing import NDArray

from tidemill.training.families import Drop, Weights, bins, grid, modules

NAME = "tabm"
DESCRIPTION = "TabM: an ensemble of small networks that share weights, on piecewise-linear embeddings of the numbers."
MEMBERS = 8
WIDTH = 96
BLOCKS = 2
BINS = 32
EMBEDDING = 8
BEYOND = float(np.finfo(np.float32).max)  # no edge; not infinite, as averages of infinities are no numbers
FEW = 3  # a feature with no more distinct values than this is no number: a flag, a level
Array = NDArray[Any]


class Seen(NamedTuple):
    """Which features are numbers, and the edges of the bins of each: [m, t + 1], filled up with BEYOND."""

    numbers: tuple[int, ...]
    edges_mt: Array


class Sizes(NamedTuple):
    """What decides the shapes."""

    numbers: int
    rest: int
    bins: int
    members: int
    width: int
    outputs: int


class Layers(nnx.Module):  # type: ignore[misc]
    """The parameters, and what happens to encoded features."""

    def __init__(self, sizes: Sizes, rngs: nnx.Rngs) -> None:
        m, t, j, d = sizes.numbers, sizes.bins, sizes.members, sizes.width
        entering = m * EMBEDDING + sizes.rest
        self.edges = nnx.Param(jnp.zeros((m, t + 1)))  # constant: nothing pulls on it
        self.line = nnx.Param(jnp.zeros((m, EMBEDDING)))
        self.shift = nnx.Param(jnp.zeros((m, EMBEDDING)))
        self.pieces = nnx.Param(jnp.zeros((m, t, EMBEDDING)))
        self.adapter = nnx.Param(jnp.zeros((j, entering)))
        self.hidden = nnx.List([modules.Linear(a, d, rngs=rngs) for a in (entering, *[d] * (BLOCKS - 1))])
        self.head = nnx.Param(jnp.zeros((j, d, sizes.outputs)))
        self.bias = nnx.Param(jnp.zeros((j, sizes.outputs)))

    def embed(self, number_bm: jax.Array, rest_br: jax.Array) -> jax.Array:
        """Numbers become `e` features each; the rest stays."""
        code_bmt = encode(number_bm, jax.lax.stop_gradient(self.edges[...]))
        embedded_bme = (
            number_bm[:, :, None] * self.line + self.shift + jnp.einsum("bmt,mte->bme", code_bmt, self.pieces[...])
        )
        return jnp.concatenate([embedded_bme.reshape(number_bm.shape[0], -1), rest_br], axis=1)

    def enter(self, z_be: jax.Array) -> jax.Array:
        """The first layer of all nets [b, j, d], before its bend."""
        members, width, _ = self.head.shape
        z_ne = (z_be[:, None] * self.adapter).reshape(-1, z_be.shape[1])
        h_bjd: jax.Array = self.hidden[0](z_ne).reshape(-1, members, width)
        return h_bjd

    def finish(self, h_bjd: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, j, k] of all nets."""
        h_nd = drop(nnx.relu(h_bjd.reshape(-1, h_bjd.shape[2])))
        for layer in self.hidden[1:]:
            h_nd = drop(nnx.relu(layer(h_nd)))
        h_bjd = h_nd.reshape(h_bjd.shape)
        out_bjk: jax.Array = jnp.einsum("bjd,jdk->bjk", h_bjd, self.head[...]) + self.bias
        return out_bjk


@dataclass(frozen=True)
class Tabm:
    """The sizes, and which features are numbers."""

    features: int
    outputs: int
    numbers: tuple[int, ...]
    bins: int = BINS
    members: int = MEMBERS
    width: int = WIDTH

    @property
    def rest(self) -> Array:
        """The features that are no numbers."""
        return np.setdiff1d(np.arange(self.features), self.numbers)

    @property
    def sizes(self) -> Sizes:
        """What decides the shapes."""
        rest = self.features - len(self.numbers)
        return Sizes(len(self.numbers), rest, self.bins, self.members, self.width, self.outputs)

    def init(self, rng: np.random.Generator, width: int, seen: Seen) -> Weights:
        """As the authors start: nets that differ by normal adapters, pieces at zero, layers uniform by their inputs."""
        sizes, weights = self.sizes, modules.blank(Layers, self.sizes)

        def uniform(like: Array, bound: float) -> Array:
            return rng.uniform(-bound, bound, like.shape).astype(np.float32)

        weights["edges"] = seen.edges_mt.astype(np.float32)
        weights["line"], weights["shift"] = (uniform(weights[name], 1.0) for name in ("line", "shift"))
        by_column = rng.normal(size=(self.members, sizes.numbers)).repeat(EMBEDDING, axis=1)
        others = (
            rng.normal(size=(self.members, sizes.rest)) if sizes.numbers else _signs(rng, (self.members, sizes.rest))
        )
        weights["adapter"] = np.concatenate([by_column, others], axis=1).astype(np.float32)
        live = np.arange(self.width) < width
        for at, layer in sorted(weights["hidden"].items()):
            inputs = layer["kernel"].shape[0] if at == 0 else min(width, self.width)
            layer["kernel"] = np.where(live, uniform(layer["kernel"], inputs**-0.5), 0)
            layer["bias"] = np.where(live, uniform(layer["bias"], inputs**-0.5), 0)
        bound = min(width, self.width) ** -0.5
        weights["head"], weights["bias"] = uniform(weights["head"], bound), uniform(weights["bias"], bound)
        return weights

    def decayed(self, weights: Weights) -> Any:
        """Layers, pieces and heads; not the quantiles, biases and adapters."""
        pulled = dict.fromkeys(weights, False)
        hidden = {at: {"kernel": True, "bias": False} for at in weights["hidden"]}
        return {**pulled, "line": True, "pieces": True, "head": True, "hidden": hidden}

    def encode(self, weights: Weights, x_bf: jax.Array) -> jax.Array:
        """Embedded numbers, then the rest [b, e]."""
        return self._layers(weights).embed(x_bf[:, np.array(self.numbers, int)], x_bf[:, self.rest])

    def by_feature(self, value_be: jax.Array) -> jax.Array:
        """Values of an encoding's columns [b, e] summed by the feature they tell of [b, f]."""
        embedded = len(self.numbers) * EMBEDDING
        value_bm = value_be[:, :embedded].reshape(-1, len(self.numbers), EMBEDDING).sum(2)
        place_f = np.argsort([*self.numbers, *self.rest])
        return jnp.concatenate([value_bm, value_be[:, embedded:]], axis=1)[:, place_f]

    def enter(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """The first layer of all nets [b, j, d], before its bend."""
        return self._layers(weights).enter(encoded)

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, j, k] of the nets."""
        return self._layers(weights).finish(entered, drop)

    def _layers(self, weights: Weights) -> Layers:
        return modules.with_weights(weights, Layers, self.sizes)


def encode(number_bm: jax.Array, edges_mt: jax.Array) -> jax.Array:
    """Piecewise-linear encoding [b, m, t]: 1 for bins below the number, 0 above, the place within its own bin.

    The first bin is open below and the last one above, so that numbers far out go on along a line.
    """
    low_mt, high_mt = edges_mt[:, :-1], edges_mt[:, 1:]
    real_mt = high_mt < BEYOND
    last_mt = real_mt & ~jnp.concatenate([real_mt[:, 1:], jnp.zeros_like(real_mt[:, :1])], axis=1)
    low_mt = jnp.where(real_mt, low_mt, 0.0)
    place_bmt = (number_bm[:, :, None] - low_mt) / jnp.where(real_mt, high_mt - low_mt, 1.0)
    floor_mt = jnp.where(jnp.arange(low_mt.shape[1]) == 0, -LARGE, 0.0)
    code_bmt: jax.Array = jnp.where(real_mt, jnp.clip(place_bmt, floor_mt, jnp.where(last_mt, LARGE, 1.0)), 0.0)
    return code_bmt


LARGE = 1e3  # bins' widths that a number may lie beyond the training rows


def look(x_nf: Array, y_n: Array | None, classes: int, like: Seen | None = None) -> Seen:
    """Find the numbers among the features, if they are not known, and where to cut them."""
    numbers = like.numbers if like else tuple(f for f, x_n in enumerate(x_nf.T) if len(np.unique(x_n)) > FEW)
    edges_mt = np.full((len(numbers), BINS + 1), BEYOND, np.float32)
    for row, f in zip(edges_mt, numbers, strict=True):
        found = bins.edges(x_nf[:, f], y_n, classes, BINS)
        row[: len(found)] = found
    return Seen(numbers, edges_mt)


def net(features: int, outputs: int, seen: Seen, members: int | None = None, width: int | None = None) -> Tabm:
    """The architecture for these sizes."""
    return Tabm(features, outputs, seen.numbers, members=members or MEMBERS, width=width or WIDTH)


def trials(task: str, rows: int) -> list[dict[str, float]]:
    """Around the authors' defaults; regressions like larger steps."""
    default = {"learning_rate": 2e-3, "weight_decay": 3e-4, "l1": 0.0, "dropout": 0.1, "width": WIDTH}
    return grid(
        default,
        learning_rate=(5e-3, 2e-3, 1e-3, 8e-3, 3e-3),
        weight_decay=(3e-4, 3e-2, 0.2),
        dropout=(0.0, 0.1, 0.25, 0.05),
        width=(WIDTH, WIDTH, WIDTH // 2),
    )


def _signs(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    signs: Array = rng.integers(0, 2, shape) * 2.0 - 1.0
    return signs
