"""The arithmetic of the comparison of searches: what a configuration costs, what compiling does, who is how far behind.

A cost is a median over turns in CPU seconds per configuration. The first turn of a way warms up and counts for nothing
but compiling.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from typing import NamedTuple

OURS = "Tidemill, all K at once"
AT = 32  # the K at which contenders are compared


class Taken(NamedTuple):
    """One answer of a contender."""

    way: str
    count: int  # configurations trained
    turn: int  # 0: the warm-up
    cpu_s: float  # for all of them
    losses: tuple[float, ...] = ()  # validation log loss of each


def cost(taken: Iterable[Taken], way: str, count: int) -> float | None:
    """CPU seconds per configuration where `count` of them are trained; None where that was not measured.

    A way measured with one count only trains one configuration after the other: its cost is the same for every count.
    """
    warm = [one for one in taken if one.way == way and one.turn]
    counts = {one.count for one in warm}
    asked = count if count in counts else counts.pop() if len(counts) == 1 else None
    chosen = [one.cpu_s / one.count for one in warm if one.count == asked]
    return statistics.median(chosen) if chosen else None


def compiling(taken: Iterable[Taken], way: str, count: int) -> float | None:
    """CPU seconds, in all, that the first turn took beyond a later one; None where either was not measured."""
    own = [one for one in taken if one.way == way and one.count == count]
    first = [one.cpu_s for one in own if not one.turn]
    later = [one.cpu_s for one in own if one.turn]
    return max(0.0, first[0] - statistics.median(later)) if first and later else None


def with_compiling(taken: Sequence[Taken], way: str, count: int) -> float | None:
    """CPU seconds per configuration if the program has to be compiled first."""
    warm, once = cost(taken, way, count), compiling(taken, way, count)
    return None if warm is None or once is None else warm + once / count


def times(taken: Sequence[Taken], way: str, ours: float | None) -> float | None:
    """How many times as much a way costs at K = AT."""
    return ratio(cost(taken, way, AT), ours)


def ratio(theirs: float | None, ours: float | None) -> float | None:
    """One over the other; None where either is missing."""
    return theirs / ours if theirs is not None and ours else None


def loss(taken: Iterable[Taken], way: str, compared: int) -> float | None:
    """The mean validation loss of the first configurations, from the turn that trained the most of them."""
    own = [one for one in taken if one.way == way and len(one.losses) >= compared]
    return statistics.fmean(max(own, key=lambda one: one.count).losses[:compared]) if own else None


def verdict(what: str, found: float | None, target: float, *, at_most: bool) -> str:
    """A target, and whether it is met, in a sentence."""
    wanted = f"{what}: {'at most' if at_most else 'at least'} {target:g}"
    if found is None:
        return f"{wanted}; not measured."
    return f"{wanted}; {'met' if (found <= target if at_most else found >= target) else 'MISSED'} with {found:.3g}."
