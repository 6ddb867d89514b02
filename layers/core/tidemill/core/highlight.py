"""Where in a text its contributions stand: by token of the text as it was given, for colouring it.

Axes: m n-grams of a bag, t tokens of a sequence, p places of an explanation (m, then t), g n-grams as they stand in the
text, a pieces of the text that can be coloured, q stretches of text from start to end.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tidemill.core.features.texts import Spans, TextProgram

Array = np.ndarray[Any, Any]


class Mark(NamedTuple):
    """A piece of a text, from start to end in characters, and what it added to the answer."""

    start: int
    end: int
    contribution: float


class Pieces(NamedTuple):
    """Pieces of a text in its order; none overlaps another."""

    start_a: Array
    end_a: Array

    def touched(self, start_q: Array, end_q: Array) -> tuple[Array, Array]:
        """The first piece that each stretch touches, and the first behind it that it does not."""
        return np.searchsorted(self.end_a, start_q, "right"), np.searchsorted(self.start_a, end_q, "left")


def marks(program: TextProgram, text: str, bag_m: Array, contribution_p: Array) -> tuple[list[Mark], float]:
    """Contributions by token of the text, in its order, and the sum of those that have no place in it.

    An n-gram's is shared evenly by the tokens it touches in all its places; signs between tokens are marked where an
    n-gram is made of nothing else. Marks and the rest sum to the contributions.
    """
    spans = program.spans(text)
    pieces = _pieces(spans)
    given_p = np.asarray(contribution_p, np.float64)
    by_gram_a, rest = _by_gram(spans, pieces, np.asarray(bag_m), given_p[: len(bag_m)])
    by_token_a, beyond = _by_token(spans, pieces, given_p[len(bag_m) :])
    added_a = by_gram_a + by_token_a
    found = zip(pieces.start_a.tolist(), pieces.end_a.tolist(), added_a.tolist(), strict=True)
    return [Mark(start, end, added) for start, end, added in found if added], rest + beyond


def _pieces(spans: Spans) -> Pieces:
    """The tokens, and what n-grams cover that touch no token, such as several exclamation marks."""
    tokens = _merged(spans.start_t, spans.end_t)
    first_g, last_g = tokens.touched(spans.start_g, spans.end_g)
    loose = first_g == last_g
    between = _merged(spans.start_g[loose], spans.end_g[loose])
    return _merged(*(np.concatenate(pair) for pair in zip(tokens, between, strict=True)))


def _merged(start_q: Array, end_q: Array) -> Pieces:
    """Stretches in their order, those that overlap as one: a character such as a fraction may be several tokens."""
    order = np.lexsort((end_q, start_q))
    start_q, end_q = start_q[order].astype(np.int64), end_q[order].astype(np.int64)
    if not len(order):
        return Pieces(start_q, end_q)
    apart = start_q[1:] >= np.maximum.accumulate(end_q)[:-1]
    first = np.flatnonzero(np.append(True, apart))
    return Pieces(start_q[first], np.maximum.reduceat(end_q, first))


def _by_gram(spans: Spans, pieces: Pieces, bag_m: Array, given_m: Array) -> tuple[Array, float]:
    """What n-grams give to each piece, and what is left of those that stand nowhere."""
    count = len(pieces.start_a)
    if not len(bag_m) or not len(spans.slot_g):
        return np.zeros(count), float(given_m.sum())
    order_m = np.argsort(bag_m, kind="stable")
    at_g = np.minimum(np.searchsorted(bag_m[order_m], spans.slot_g), len(bag_m) - 1)
    held_g = np.flatnonzero(bag_m[order_m][at_g] == spans.slot_g)
    place_g = order_m[at_g[held_g]]
    first_g, last_g = pieces.touched(spans.start_g[held_g], spans.end_g[held_g])
    size_g = last_g - first_g
    shares_m = np.bincount(place_g, size_g, minlength=len(bag_m))
    share_m = np.divide(given_m, shares_m, out=np.zeros(len(bag_m)), where=shares_m > 0)
    at = np.arange(int(size_g.sum())) - np.repeat(np.cumsum(size_g) - size_g, size_g) + np.repeat(first_g, size_g)
    added_a = np.bincount(at, np.repeat(share_m[place_g], size_g), minlength=count)
    return added_a, float(given_m[shares_m == 0].sum())


def _by_token(spans: Spans, pieces: Pieces, given_t: Array) -> tuple[Array, float]:
    """What the tokens of the sequence give to each piece, and what is left behind the last token."""
    read = min(len(given_t), len(spans.start_t))
    at, _ = pieces.touched(spans.start_t[:read], spans.end_t[:read])
    added_a = np.bincount(at, given_t[:read], minlength=len(pieces.start_a)).astype(np.float64)
    return added_a, float(given_t[read:].sum())
