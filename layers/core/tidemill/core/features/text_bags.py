"""Texts as numbers: a bag of weighted n-grams each and the sequence of its tokens, ragged or padded.

Axes: n texts, m n-grams of a text, t tokens of a text; v n-grams of the vocabulary. Slot 0 and token 0 are padding.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from tidemill.core.features.kinds import Array
from tidemill.core.features.text_grams import CHARACTERS, KINDS, PHRASES, Grams
from tidemill.core.features.text_pieces import MOST_PIECES

MOST_GRAMS, MOST_TOKENS = 2_048, 256  # of a text: the strongest n-grams, the first tokens
NARROWEST = 16  # the least width of a padded batch; the others are its doubles, so that few shapes are compiled
_AT_ONCE = 4_096  # texts padded at once, so that the places of their numbers take little memory
_LOGS = np.array([0.0, *(1.0 + math.log(count) for count in range(1, 4_096))])  # 1 + ln(count); more count as the last


class Texts(NamedTuple):
    """Padded texts: slots and weights of their n-grams, ids of their tokens and how many each has, ids of pieces."""

    bag_nm: Array  # int32
    weight_nm: Array  # float32
    seq_nt: Array  # int32
    length_n: Array  # int32
    piece_nt: Array | None = None  # int32, pieces of words: where a network that was trained elsewhere reads them


@dataclass(frozen=True)
class Ragged:
    """Texts one after the other: those of text n stand from ends[n - 1] to ends[n]."""

    bag_ends: Array
    bag: Array
    weight: Array
    seq_ends: Array
    seq: Array
    piece_ends: Array | None = None
    piece: Array | None = None

    def __len__(self) -> int:
        return len(self.bag_ends) - 1

    def padded(self, chosen_n: Array | None = None) -> Texts:
        """All texts, or those chosen, in the narrowest usual widths that hold them."""
        chosen_n = np.arange(len(self)) if chosen_n is None else np.asarray(chosen_n)
        bag_nm = _filled(self.bag_ends, chosen_n, self.bag, MOST_GRAMS)
        weight_nm = _filled(self.bag_ends, chosen_n, self.weight, MOST_GRAMS)
        seq_nt = _filled(self.seq_ends, chosen_n, self.seq, MOST_TOKENS)
        lengths = np.diff(self.seq_ends)[chosen_n].astype(np.int32)
        if self.piece_ends is None or self.piece is None:
            return Texts(bag_nm, weight_nm, seq_nt, lengths)
        piece_nt = _filled(self.piece_ends, chosen_n, self.piece, MOST_PIECES)
        return Texts(bag_nm, weight_nm, seq_nt, lengths, piece_nt)


def joined(parts: Sequence[Ragged]) -> Ragged:
    """Batches as one."""
    if len(parts) == 1:
        return parts[0]
    bag_ends, bag, weight = _behind(parts, "bag_ends", "bag", "weight")
    seq_ends, seq = _behind(parts, "seq_ends", "seq")
    if parts[0].piece_ends is None:
        return Ragged(bag_ends, bag, weight, seq_ends, seq)
    return Ragged(bag_ends, bag, weight, seq_ends, seq, *_behind(parts, "piece_ends", "piece"))


def _behind(parts: Sequence[Ragged], ends: str, *names: str) -> list[Array]:
    """The ends of parts one behind the other, and their arrays."""
    sizes = np.concatenate([np.diff(getattr(part, ends)) for part in parts])
    arrays = [np.concatenate([getattr(part, name) for part in parts]) for name in names]
    return [np.append(0, np.cumsum(sizes)).astype(np.int64), *arrays]


def width_of(longest: int, most: int) -> int:
    """The usual width that holds as much."""
    width = NARROWEST
    while width < min(longest, most):
        width *= 2
    return width


def bags(text_g: Array, slot_g: Array, idf_v: Array, kind_v: Array, count: int) -> tuple[Array, Array, Array]:
    """Ends, slots and weights of the bags of a batch: (1 + ln tf) idf, scaled to length 1 for each kind of n-gram."""
    width = np.int64(len(idf_v) + 1)
    pairs = np.sort(text_g.astype(np.int64) * width + slot_g)
    first = np.flatnonzero(np.append(True, pairs[1:] != pairs[:-1])) if len(pairs) else np.empty(0, np.int64)
    often = np.diff(np.append(first, len(pairs)))
    text, slot = np.divmod(pairs[first], width)
    weight = _LOGS[np.minimum(often, len(_LOGS) - 1)] * idf_v[slot - 1]
    owner = text * KINDS + kind_v[slot - 1]
    # bincount adds one after the other: a text has the same sum in every batch
    squares = np.bincount(owner, weight * weight, minlength=count * KINDS)
    phrases = bool((kind_v == PHRASES).any())
    share_nk = _share(np.bincount(owner, minlength=count * KINDS).reshape(count, KINDS), phrases)
    weight = (weight * share_nk.reshape(-1)[owner] / np.sqrt(squares[owner])).astype(np.float32)
    return _strongest(text, slot.astype(np.int32), weight, count)


def _share(count_nk: Array, phrases: bool) -> Array:
    """What each kind of n-gram weighs in each text: words and their parts alike, Chinese by its share.

    Without it the one "ok" in a Chinese text would weigh twice as much as all that is Chinese. Vocabularies from before
    there were `phrases` have one kind of Chinese n-grams, which weighs as much as two.
    """
    chinese_k = np.isin(np.arange(KINDS), (CHARACTERS, PHRASES))
    share_n = count_nk[:, chinese_k].sum(axis=1) / np.maximum(count_nk.sum(axis=1), 1)
    kinds = 2 if phrases else 1
    share_nk: Array = np.sqrt(np.where(chinese_k, 2.0 / kinds * share_n[:, None], 1.0 - share_n[:, None]))
    return share_nk


def _strongest(text: Array, slot: Array, weight: Array, count: int) -> tuple[Array, Array, Array]:
    sizes = np.bincount(text, minlength=count)
    ends = np.append(0, np.cumsum(sizes))
    long = np.flatnonzero(sizes > MOST_GRAMS).tolist()
    if not long:
        return ends, slot, weight
    keep = np.ones(len(slot), bool)
    for number in long:
        part = slice(ends[number], ends[number + 1])
        keep[part] = False
        keep[ends[number] + np.argsort(-weight[part], kind="stable")[:MOST_GRAMS]] = True
    return np.append(0, np.cumsum(np.minimum(sizes, MOST_GRAMS))), slot[keep], weight[keep]


def sequences(found: Grams, id_t: Array, count: int) -> tuple[Array, Array]:
    """Ends and token ids of a batch, the first tokens of each text."""
    sizes = np.bincount(found.text_t, minlength=count)
    starts = np.cumsum(sizes) - sizes
    at = np.arange(len(id_t)) - np.repeat(starts, sizes)
    kept = np.minimum(sizes, MOST_TOKENS)
    return np.append(0, np.cumsum(kept)), id_t[at < MOST_TOKENS].astype(np.int32)


def _filled(ends: Array, chosen_n: Array, values: Array, most: int) -> Array:
    starts, sizes = ends[:-1][chosen_n], np.diff(ends)[chosen_n]
    filled = np.zeros((len(chosen_n), width_of(int(sizes.max(initial=0)), most)), values.dtype)
    for first in range(0, len(chosen_n), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        start, size = starts[part], sizes[part]
        at = np.arange(int(size.sum())) - np.repeat(np.cumsum(size) - size, size)
        filled[np.repeat(np.arange(len(size)) + first, size), at] = values[at + np.repeat(start, size)]
    return filled
