"""Learning a text program: which n-grams and tokens are known, and how rare each is.

Axes: v n-grams kept, t tokens kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from tidemill.core.errors import BadTable
from tidemill.core.features.kinds import Array
from tidemill.core.features.program import Columns
from tidemill.core.features.text_cleaning import clean
from tidemill.core.features.text_grams import HASH_BITS, LETTERS, PHRASES, batches, grams
from tidemill.core.features.texts import TextProgram

if TYPE_CHECKING:  # reading specifications is not needed where programs are only replayed
    from tidemill.core.spec import Spec

MOST_KEPT = 1 << 17  # n-grams of a vocabulary: 1.5 MiB of hashes and weights
MOST_WORDS = 30_000  # ids of a sequence model's vocabulary, padding and unknown included
ENOUGH_TEXTS = 2  # texts a token must stand in to have an id; n-grams of one text alone only fill up what is left
MOST_HELD = 1 << 23  # n-grams counted at once, 16 bytes each: beyond, those seen in one text so far are forgotten
_TEXT = np.uint64((1 << HASH_BITS) - 1)


class Counts:
    """How often each hash was counted; equal hashes are merged when the newest outgrow the older ones."""

    def __init__(self) -> None:
        self._hash, self._count = np.empty(0, np.uint64), np.empty(0, np.int64)
        self._new: list[Array] = []
        self._waiting = 0

    def add(self, sorted_hashes: Array) -> None:
        """Count each hash once as often as it is given."""
        self._new.append(sorted_hashes)
        self._waiting += len(sorted_hashes)
        if self._waiting > max(1 << 20, len(self._hash)):
            self._merge()

    def read(self) -> tuple[Array, Array]:
        """Every hash with its count."""
        self._merge()
        return self._hash, self._count

    def _merge(self) -> None:
        if not self._new:
            return
        new, often = _counted(np.sort(np.concatenate(self._new)))
        self._new, self._waiting = [], 0
        hashes = np.concatenate([self._hash, new])
        order = np.argsort(hashes, kind="stable")
        ordered, counts = hashes[order], np.concatenate([self._count, often])[order]
        first = _firsts(ordered)
        self._hash, self._count = ordered[first], np.add.reduceat(counts, first) if len(first) else counts
        if len(self._hash) > MOST_HELD:
            again = self._count > 1
            self._hash, self._count = self._hash[again], self._count[again]


def fit(columns: Columns, schema: dict[str, Any], spec: Spec) -> TextProgram:
    """Fit the program on the texts that a model learns from; what they are labelled is not read."""
    del spec  # nothing of it concerns texts yet
    name = next(item["name"] for item in schema["columns"] if item["role"] == "feature")
    ignored = tuple(item["name"] for item in schema["columns"] if item["role"] != "feature")
    texts = columns[name]
    kept, words = Counts(), Counts()
    cleaned = [clean(text) for text in texts.tolist()]
    for part in batches(cleaned):
        found = grams(cleaned[part])
        pairs = np.sort((found.text_g.astype(np.uint64) << np.uint64(HASH_BITS)) | found.hash_g)
        kept.add(np.sort(pairs[_firsts(pairs)] & _TEXT))
        words.add(np.sort(found.hash_t))
    hash_v, count_v = _most(*kept.read())
    if not (count_v >= ENOUGH_TEXTS).any():
        raise BadTable(
            f"No word or part of a word stands in two of the {len(texts):,} texts.",
            code="NO_FEATURES",
            remedy="Upload more texts, or texts of one language.",
        )
    idf_v = (np.log((1.0 + len(texts)) / (1.0 + count_v)) + 1.0).astype(np.float32)
    return TextProgram(name, hash_v, idf_v, *_vocabulary(*words.read()), ignored, len(texts))


def _most(hashes: Array, counts: Array) -> tuple[Array, Array]:
    """The n-grams of most texts: half of the places for parts of words, half for words, what one leaves to the other.

    Parts of words stand in more texts than the words they are in, and would leave no place for pairs of words; so do
    parts of Chinese phrases. What stands in one text alone has the places that are left.
    """
    if len(hashes) <= MOST_KEPT:
        return hashes, counts
    parts = np.isin(hashes & np.uint64(3), (LETTERS, PHRASES))
    order = np.lexsort((hashes, -counts))
    often = counts[order] >= ENOUGH_TEXTS
    first, second = order[parts[order] & often], order[~parts[order] & often]
    half = MOST_KEPT // 2
    of_first = min(len(first), max(half, MOST_KEPT - len(second)))
    kept = np.concatenate([first[:of_first], second[: MOST_KEPT - of_first], order[~often]])[:MOST_KEPT]
    chosen = np.sort(kept)
    return hashes[chosen], counts[chosen]


def _vocabulary(hashes: Array, counts: Array) -> tuple[Array, Array]:
    """Sorted hashes of the most frequent tokens and their ids, 2 for the most frequent."""
    order = np.lexsort((hashes, -counts))
    order = order[counts[order] >= ENOUGH_TEXTS][: MOST_WORDS - 2]
    ids = np.arange(2, 2 + len(order), dtype=np.int32)
    by_hash = np.argsort(hashes[order])
    return hashes[order][by_hash], ids[by_hash]


def _counted(ordered: Array) -> tuple[Array, Array]:
    first = _firsts(ordered)
    return ordered[first], np.diff(np.append(first, len(ordered)))


def _firsts(ordered: Array) -> Array:
    return np.flatnonzero(np.append(True, ordered[1:] != ordered[:-1])) if len(ordered) else np.empty(0, np.int64)
