"""Where in a text its contributions stand: by token of the text as it was given, for colouring it.

Axes: m n-grams of a bag, t tokens of a sequence, s pieces of words that a network trained elsewhere reads, p places of
an explanation (m, then t, then s), g n-grams as they stand in the text, a pieces of the text that can be coloured, q
stretches of text from start to end.
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


def marks(
    program: TextProgram, text: str, bag_m: Array, contribution_p: Array, tokens: int
) -> tuple[list[Mark], float]:
    """Contributions by token of the text, in its order, and the sum of those that have no place in it.

    `tokens` is the width of the sequence as the model read it, padding included. An n-gram's contribution is shared
    evenly by the tokens it touches in all its places, a piece's by those it touches; signs between tokens are marked
    where an n-gram or a piece is made of nothing else. Marks and the rest sum to the contributions.
    """
    spans = program.spans(text)
    pieces = _pieces(spans)
    given_p = np.asarray(contribution_p, np.float64)
    by_gram_a, rest = _by_gram(spans, pieces, np.asarray(bag_m), given_p[: len(bag_m)])
    given_t, given_s = np.split(given_p[len(bag_m) :], [tokens])
    by_token_a, beyond = _by_token(spans, pieces, given_t)
    by_piece_a, outside = _by_piece(spans, pieces, given_s)
    added_a = by_gram_a + by_token_a + by_piece_a
    found = zip(pieces.start_a.tolist(), pieces.end_a.tolist(), added_a.tolist(), strict=True)
    return [Mark(start, end, added) for start, end, added in found if added], rest + beyond + outside


def _pieces(spans: Spans) -> Pieces:
    """The tokens, and what n-grams and pieces cover that touch no token, such as several exclamation marks."""
    tokens, some = _merged(spans.start_t, spans.end_t), spans.start_p < spans.end_p
    start_q = np.concatenate([spans.start_g, spans.start_p[some]])
    end_q = np.concatenate([spans.end_g, spans.end_p[some]])
    first_q, last_q = tokens.touched(start_q, end_q)
    loose = first_q == last_q
    between = _merged(start_q[loose], end_q[loose])
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
    return _added(first_g, size_g, share_m[place_g], count), float(given_m[shares_m == 0].sum())


def _by_token(spans: Spans, pieces: Pieces, given_t: Array) -> tuple[Array, float]:
    """What the tokens of the sequence give to each piece, and what is left behind the last token."""
    read = min(len(given_t), len(spans.start_t))
    at, _ = pieces.touched(spans.start_t[:read], spans.end_t[:read])
    added_a = np.bincount(at, given_t[:read], minlength=len(pieces.start_a)).astype(np.float64)
    return added_a, float(given_t[read:].sum())


def _by_piece(spans: Spans, pieces: Pieces, given_s: Array) -> tuple[Array, float]:
    """What pieces of words give to each piece of the text, and what is left: a text's start, its end, padding."""
    read = min(len(given_s), len(spans.start_p))
    first_s, last_s = pieces.touched(spans.start_p[:read], spans.end_p[:read])
    size_s = np.where(spans.start_p[:read] < spans.end_p[:read], last_s - first_s, 0)
    share_s = np.divide(given_s[:read], size_s, out=np.zeros(read), where=size_s > 0)
    return _added(first_s, size_s, share_s, len(pieces.start_a)), float(
        given_s[read:].sum() + given_s[:read][size_s == 0].sum()
    )


def _added(first_q: Array, size_q: Array, share_q: Array, count: int) -> Array:
    """Sums by piece of shares that each go to `size` pieces from a first one on."""
    at = np.arange(int(size_q.sum())) - np.repeat(np.cumsum(size_q) - size_q, size_q) + np.repeat(first_q, size_q)
    added_a: Array = np.bincount(at, np.repeat(share_q, size_q), minlength=count).astype(np.float64)
    return added_a
