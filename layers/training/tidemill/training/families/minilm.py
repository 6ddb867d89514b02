"""backbone, for texts: a sentence encoder that others have trained (MiniLM, arXiv 2002.10957), and a linear layer.

The encoder reads pieces of words and is never changed; what it says of a text is a vector of length one. The layer that
is solved reads this vector, in some configurations together with the n-grams of the text: what words mean and which
words they are, weighed against each other by one problem instead of by a blend of two answers.

Axes: n rows, b batch rows, s pieces, m n-grams, e of an embedding, d of a vector, k outputs.
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
from scipy import sparse

from tidemill.core.errors import BadBackbone
from tidemill.core.features.text_bags import width_of
from tidemill.core.features.text_pieces import MOST_PIECES, VOCABULARY, Pieces
from tidemill.core.features.texts import TextProgram
from tidemill.training import solving
from tidemill.training.families import Drop, Weights, bert, words
from tidemill.training.families.bert import Encoder, read
from tidemill.training.frozen import Beside, applied

NAME = "backbone"
DESCRIPTION = "A sentence encoder trained elsewhere (frozen), and a linear layer on what it says and on n-grams."
MARKS = 2  # columns of the encoding that are no vector: whether there is a piece, and whether it is of the text itself
BLOCK = 32  # texts read at once
ALONE = (100.0, 10.0, 1000.0, 1.0)  # strengths of L2 over the number of rows, on standardised vectors
LEAST = 1e-3  # strength that is told from none where there are n-grams, too
TOGETHER = ((100.0, 1.0), (300.0, 0.3), (300.0, 1.0))  # of vectors, and of n-grams
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
            "table": np.zeros((self.features[0], self.outputs), np.float32),
            "bias": np.zeros(self.outputs, np.float32),
        }

    def decayed(self, weights: Weights) -> Any:
        """The kernel and the table, not the bias."""
        return {"kernel": True, "table": True, "bias": False}

    def encode(self, weights: Weights, x: Any) -> Any:
        """Pieces as vectors with their marks [b, s, e + 2], and slots and weights of n-grams [b, m].

        A text's first piece is its start, its last is its end. Slots are whole floats, as everything in an encoding is.
        """
        real_bs = (x.piece_nt > 0).astype(jnp.float32)
        within_bs = words.following(real_bs) * words.preceding(real_bs)
        vector_bse = jnp.asarray(self.encoder.weights["word"])[x.piece_nt]
        piece_bse = jnp.concatenate([vector_bse, real_bs[..., None], within_bs[..., None]], -1)
        return {"pieces": piece_bse, "slots": x.bag_nm.astype(jnp.float32), "grams": x.weight_nm}

    def origin(self, weights: Weights, encoded: Any) -> Any:
        """Pieces of nothing between the same start and end, and no n-grams."""
        vector_bse, marks_bs2 = encoded["pieces"][..., :-MARKS], encoded["pieces"][..., -MARKS:]
        piece_bse = jnp.concatenate([vector_bse * (1.0 - marks_bs2[..., 1:]), marks_bs2], -1)
        return {"pieces": piece_bse, "slots": encoded["slots"], "grams": jnp.zeros_like(encoded["grams"])}

    def by_place(self, value: Any, x: Any) -> jax.Array:
        """Values of n-grams and of pieces, and nothing for tokens."""
        return words.placed(x, gram_bm=value["grams"], piece_bs=value["pieces"][..., :-MARKS].sum(-1))

    def enter(self, weights: Weights, encoded: Any) -> Beside:
        """What the encoder says [b, d] beside the n-grams: not affine, but the same for every head."""
        piece_bse = encoded["pieces"]
        vector_bd = read(self.encoder.weights, piece_bse[..., :-MARKS], piece_bse[..., -MARKS])
        return Beside(vector_bd, encoded["slots"].astype(jnp.int32), encoded["grams"])

    def finish(self, weights: Weights, entered: Beside, drop: Drop) -> jax.Array:
        """Outputs [b, k]."""
        out_bk: jax.Array = applied(weights, entered)
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


def solve(given: Beside, target_nk: Array, weight_n: Array, settings: Mapping[str, Any], classes: bool) -> Weights:
    """The best layer on what `frozen` gave for these rows, and on their n-grams where `grams` is not 0.

    `weight_decay` is the strength of L2 on standardised vectors, `grams` that on n-grams.
    """
    slots, told = int(settings["slots"]), (target_nk, weight_n)
    table_vk = np.zeros((slots, target_nk.shape[1]), np.float32)
    if not settings["grams"]:
        kernel_dk, bias_k = solving.on_standardised(
            given.feature_nd, *told, settings["weight_decay"] / len(weight_n), classes
        )
        return {"kernel": kernel_dk.astype(np.float32), "table": table_vk, "bias": bias_k.astype(np.float32)}
    mean_d, unit_d = solving.standard(given.feature_nd)
    x_nv = solving.table_of(given.bag_nm, given.weight_nm, slots)
    used = np.flatnonzero(np.diff(x_nv.tocsc().indptr))
    # one strength for all of them: columns are scaled by what their own strength would be
    pull, pull_grams = max(settings["weight_decay"], LEAST) ** -0.5, settings["grams"] ** -0.5
    z_nd = (given.feature_nd - mean_d) / unit_d * pull
    both = sparse.hstack([sparse.csr_matrix(z_nd), x_nv[:, used] * pull_grams], "csr")
    w_vk, bias_k = solving.solved(both, *told, 1.0 / len(weight_n), classes)
    kernel_dk = w_vk[: len(mean_d)] * pull / unit_d[:, None]
    table_vk[used] = w_vk[len(mean_d) :] * pull_grams
    bias_k = bias_k - mean_d @ kernel_dk
    return {"kernel": kernel_dk.astype(np.float32), "table": table_vk, "bias": bias_k.astype(np.float32)}


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
    """Strengths of L2, with n-grams and without."""
    default = {"learning_rate": 0.0, "l1": 0.0, "dropout": 0.0, "width": 0.0}
    together = [{**default, "weight_decay": pull, "grams": grams} for pull, grams in TOGETHER]
    return [*together, *({**default, "weight_decay": pull, "grams": 0.0} for pull in ALONE)]
