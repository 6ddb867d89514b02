"""Hashes of values and rows that depend on their content only: not on row order, column order or the table.

Each cell is hashed with its column's name; a row's hash mixes the sum over its columns. Equal rows therefore have
equal hashes in every upload. The mixer is splitmix64 (Steele, Lea, Flood 2014, doi:10.1145/2660193.2660195).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from tidemill.core.prepare.cells import canonical

SPAN = float(2**64)
LONG = 400  # characters from which on a text is not kept in a cache
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)


def mix(values: np.ndarray) -> np.ndarray:
    """splitmix64 of each unsigned 64-bit integer."""
    mixed = values + _GOLDEN
    mixed ^= mixed >> np.uint64(30)
    mixed *= _FIRST
    mixed ^= mixed >> np.uint64(27)
    mixed *= _SECOND
    mixed ^= mixed >> np.uint64(31)
    return mixed


@lru_cache(maxsize=1 << 16)
def hash_text(text: str) -> int:
    """64 bits of a text's content, in NFC."""
    data = canonical(text).encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")


def hash_texts(texts: Sequence[str | None]) -> np.ndarray:
    """The hash of each text; 0 for none."""
    return np.fromiter((0 if text is None else _hash_of(text) for text in texts), np.uint64, len(texts))


def _hash_of(text: str) -> int:
    """The hash of a text; a long one is not remembered, for it would be seen once and hold its memory."""
    return hash_text(text) if len(text) <= LONG else hash_text.__wrapped__(text)


def hash_numbers(values: np.ndarray) -> np.ndarray:
    """The hash of each number by its bits; -0.0 is 0.0 and every NaN is the same."""
    plain = np.where(np.isnan(values), np.nan, values + 0.0)
    return mix(plain.view(np.uint64))


def in_column(name: str, hashes: np.ndarray) -> np.ndarray:
    """Value hashes bound to the column they stand in; add them over columns, then `mix` the sum."""
    return mix(hashes ^ np.uint64(hash_text("column " + name)))


class Sketch:
    """The k smallest hashes of a stream: its distinct values counted, exactly up to k and to about 1.5 % beyond.

    Bar-Yossef et al. 2002, doi:10.1007/3-540-45726-7_1. The result does not depend on the order of the stream.
    """

    K = 4096

    def __init__(self) -> None:
        self._least = np.empty(0, np.uint64)

    def add(self, hashes: np.ndarray) -> None:
        """Take in the hashes of some values."""
        if len(self._least) == self.K:
            hashes = hashes[hashes < self._least[-1]]
        if len(hashes):
            self._least = np.unique(np.concatenate([self._least, hashes]))[: self.K]

    def count(self) -> int:
        """The number of distinct hashes seen."""
        if len(self._least) < self.K:
            return len(self._least)
        return round((self.K - 1) * SPAN / float(self._least[-1]))
