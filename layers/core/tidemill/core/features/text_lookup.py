"""Where hashes stand among sorted ones: most are not there, and a small table says so without a search.

Axes: v sorted hashes, b buckets, q hashes that are looked for.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidemill.core.features.kinds import Array
from tidemill.core.features.text_grams import HASH_BITS

ABSENT = -1
_MOST_BITS = 20  # of a table of 4 MiB; eight times as many buckets as hashes are kept, so most buckets are empty


@dataclass(frozen=True)
class Lookup:
    """Sorted hashes, and where those with the same leading bits begin."""

    hash_v: Array
    first_b: Array
    shift: int
    fullest: int  # hashes in the fullest bucket: as many looks are needed

    @classmethod
    def of(cls, hash_v: Array) -> Lookup:
        """The table for sorted hashes; building it takes a few milliseconds."""
        bits = min(_MOST_BITS, len(hash_v).bit_length() + 3)
        shift = HASH_BITS - bits
        sizes = np.bincount((hash_v >> np.uint64(shift)).astype(np.int64), minlength=1 << bits)
        first_b = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32)
        return cls(hash_v, first_b, shift, int(sizes.max()))

    def places(self, hash_q: Array) -> Array:
        """The place of each hash among the sorted ones (int32), ABSENT where it is not there."""
        place_q = np.full(len(hash_q), ABSENT, np.int32)
        bucket_q = (hash_q >> np.uint64(self.shift)).astype(np.int32)
        first_q = self.first_b[bucket_q]
        open_q = np.flatnonzero(self.first_b[bucket_q + 1] > first_q)
        place, end, wanted = first_q[open_q], self.first_b[bucket_q[open_q] + 1], hash_q[open_q]
        for _ in range(self.fullest):
            found = self.hash_v[place] == wanted
            place_q[open_q[found]] = place[found]
            more = ~found & (place + 1 < end)
            open_q, place, end, wanted = open_q[more], place[more] + 1, end[more], wanted[more]
        return place_q
