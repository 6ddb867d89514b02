"""backbone, for texts: a sentence encoder that others have trained (MiniLM, arXiv 2002.10957), and a linear layer.

The encoder reads pieces of words and is never changed; what it says of a text is a vector of length one, and the layer
on it is solved.

Axes: n rows, b batch rows, s pieces, e of an embedding, d of a vector, k outputs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import BadBackbone
from tidemill.core.features.text_bags import width_of
from tidemill.core.features.text_pieces import MOST_PIECES, VOCABULARY, Pieces
from tidemill.core.features.texts import TextProgram
from tidemill.training import solving
from tidemill.training.families import Drop, Weights, bert, words
from tidemill.training.families.bert import Encoder, read

NAME = "backbone"
DESCRIPTION = "A sentence encoder trained elsewhere (frozen), and a linear layer."
MARKS = 2  # columns of the encoding that are no vector: whether there is a piece, and whether it is of the text itself
BLOCK = 32  # texts read at once
STRENGTHS = (10.0, 100.0, 1.0, 1000.0)  # of L2 over the number of rows, on standardised vectors
Array = NDArray[Any]


@dataclass(frozen=True)
class MiniLm:
    """The sizes, and the encoder."""

    features: tuple[int, int]
    outputs: int
    encoder: Encoder

    ORIGIN: ClassVar[str] = "a text without words between its start and its end"

    def init(self, rng: np.random.Generator, width: int, seen: Any) -> Weights:
        """Zeros: the problem is convex, every start leads to the same end."""
        return {
            "kernel": np.zeros((self.encoder.width, self.outputs), np.float32),
            "bias": np.zeros(self.outputs, np.float32),
        }

    def decayed(self, weights: Weights) -> Any:
        """The kernel, not the bias."""
        return {"kernel": True, "bias": False}

    def encode(self, weights: Weights, x: Any) -> jax.Array:
        """Pieces as vectors, and their marks [b, s, e + 2]; a text's first piece is its start, its last is its end."""
        real_bs = (x.piece_nt > 0).astype(jnp.float32)
        within_bs = words.following(real_bs) * words.preceding(real_bs)
        vector_bse = jnp.asarray(self.encoder.weights["word"])[x.piece_nt]
        return jnp.concatenate([vector_bse, real_bs[..., None], within_bs[..., None]], -1)

    def origin(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """Pieces of nothing between the same start and end."""
        vector_bse, marks_bs2 = encoded[..., :-MARKS], encoded[..., -MARKS:]
        return jnp.concatenate([vector_bse * (1.0 - marks_bs2[..., 1:]), marks_bs2], -1)

    def by_place(self, value_bse: jax.Array, x: Any) -> jax.Array:
        """Values of pieces, behind nothing for n-grams and tokens."""
        return words.placed(x, piece_bs=value_bse[..., :-MARKS].sum(-1))

    def enter(self, weights: Weights, encoded: jax.Array) -> jax.Array:
        """What the encoder says [b, d]: not affine, but the same for every head."""
        return read(self.encoder.weights, encoded[..., :-MARKS], encoded[..., -MARKS])

    def finish(self, weights: Weights, entered: jax.Array, drop: Drop) -> jax.Array:
        """Outputs [b, k]."""
        out_bk: jax.Array = entered @ weights["kernel"] + weights["bias"]
        return out_bk


def frozen(net: MiniLm, x_n: Any) -> Array:
    """What the encoder says of any number of texts [n, d]; those of like length are read together."""
    size_n = (x_n.piece_nt > 0).sum(1)
    width_n = np.array([width_of(int(size), MOST_PIECES) for size in size_n], int)
    found_nd = np.zeros((len(size_n), net.encoder.width), np.float32)
    with jax.default_matmul_precision("highest"):
        weights = _on_device(net.encoder)
        for width in np.unique(width_n):
            at_n = np.flatnonzero(width_n == width)
            for at_b in np.split(at_n, range(BLOCK, len(at_n), BLOCK)):
                piece_bs = np.zeros((BLOCK, width), np.int32)
                cut = x_n.piece_nt[at_b, :width]
                piece_bs[: len(at_b), : cut.shape[1]] = cut
                found_nd[at_b] = np.asarray(_vectors(weights, piece_bs))[: len(at_b)]
    return found_nd


@lru_cache(maxsize=2)
def _on_device(encoder: Encoder) -> Weights:
    return jax.device_put(encoder.weights)


@jax.jit
def _vectors(weights: Weights, piece_bs: jax.Array) -> jax.Array:
    return read(weights, weights["word"][piece_bs], (piece_bs > 0).astype(jnp.float32))


def solve(vector_nd: Array, target_nk: Array, weight_n: Array, settings: Mapping[str, Any], classes: bool) -> Weights:
    """The best layer on what `frozen` gave for these rows."""
    strength = settings["weight_decay"] / len(weight_n)
    kernel_dk, bias_k = solving.on_standardised(vector_nd, target_nk, weight_n, strength, classes)
    return {"kernel": kernel_dk.astype(np.float32), "bias": bias_k.astype(np.float32)}


def load(folder: Path) -> Encoder:
    """Read the encoder; raises BadBackbone unless its weights and its vocabulary are those of one."""
    encoder, pieces = bert.load(folder), Pieces.load(folder / VOCABULARY)
    if len(pieces.vocabulary) != encoder.pieces:
        raise BadBackbone(
            f"{VOCABULARY} has {len(pieces.vocabulary):,} pieces, and the encoder embeds {encoder.pieces:,}.",
            remedy="Give the two files of one network.",
        )
    return encoder


def reading(program: TextProgram, folder: Path) -> TextProgram:
    """The feature program with the pieces that the encoder reads."""
    return program.reading(Pieces.load(folder / VOCABULARY))


def look(x: Any, y_n: Array | None, classes: int, like: Any = None) -> None:
    """What the net must know comes with its weights: `load` gives it, not the rows."""


def net(features: Any, outputs: int, seen: Encoder, members: int | None = None, width: int | None = None) -> MiniLm:
    """The architecture for these sizes; `seen` is what `load` gave."""
    return MiniLm(tuple(features), outputs, seen)


def trials(task: str, rows: int) -> list[dict[str, float]]:
    """Strengths of L2."""
    default = {"learning_rate": 0.0, "l1": 0.0, "dropout": 0.0, "width": 0.0}
    return [{**default, "weight_decay": strength} for strength in STRENGTHS]
