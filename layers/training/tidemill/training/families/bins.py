"""Where to cut a number into bins: at quantiles of the rows, and where the target changes most.

The second kind are the splits of a small decision tree of that one number, grown best first (target-aware bins of
arXiv 2203.05556): a net that sees them follows steps and thresholds that fall between quantiles. Splits are judged by
chi-square, for which every class counts as much as its rows depart from chance: by the Gini index a class of one row in
three hundred, known by a threshold far out, would never get a cut.

Axes: n rows, s candidate places, k classes or moments of the target.
"""

from __future__ import annotations

import heapq
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

FINE = 4096  # places looked at
LEAF_ROWS = 8  # on either side of a cut
ROUNDING = 1e-6
LEAST_GAIN = 4.0  # chi-square like: what a cut must explain, in units of what chance gives on average


def quantiles(x_n: Array, bins: int) -> Array:
    """At most bins + 1 edges at equal shares of the rows, the extremes included."""
    found: Array = np.unique(np.quantile(x_n, np.linspace(0, 1, bins + 1)).astype(np.float32))
    return found


def edges(x_n: Array, y_n: Array | None, classes: int, bins: int) -> Array:
    """At most bins + 1 edges: half at quantiles, the others where the target changes; all at quantiles without one."""
    if y_n is None:
        return quantiles(x_n, bins)
    cuts = target_cuts(x_n, y_n, classes, bins // 2)
    return np.unique(np.concatenate([quantiles(x_n, bins - len(cuts)), cuts]).astype(np.float32))[: bins + 1]


def target_cuts(x_n: Array, y_n: Array, classes: int, most: int) -> Array:
    """The thresholds of a tree with at most `most` splits, the most telling first, as float32."""
    places = np.unique(np.quantile(x_n, np.linspace(0, 1, FINE + 1), method="nearest"))
    if len(places) < 3:
        return np.empty(0, np.float32)
    middles = ((places[1:] + places[:-1]) / 2).astype(np.float32)
    bin_n = np.searchsorted(middles, x_n)
    told_nk, weight_k = _told(y_n, classes)
    count_s = np.bincount(bin_n, minlength=len(places)).astype(float)
    sum_sk = np.stack([np.bincount(bin_n, column, minlength=len(places)) for column in told_nk.T], 1)
    heap: list[tuple[float, int, int, int]] = []
    _push(heap, count_s, sum_sk, weight_k, 0, len(places))
    cuts: list[float] = []
    while heap and len(cuts) < most:
        _, low, cut, high = heapq.heappop(heap)
        cuts.append(float(middles[cut - 1]))
        _push(heap, count_s, sum_sk, weight_k, low, cut)
        _push(heap, count_s, sum_sk, weight_k, cut, high)
    return np.array(cuts, np.float32)


def _told(y_n: Array, classes: int) -> tuple[Array, Array]:
    """What the rows' targets are told as [n, k], and the weight of each column: one over its variance.

    Classes too small for a leaf weigh nothing: chi-square is no guide to so few.
    """
    if classes <= 1:
        return ((y_n - y_n.mean()) / (y_n.std() or 1.0))[:, None], np.ones(1)
    told_nk = np.eye(classes)[y_n]
    share_k = told_nk.mean(0)
    variance_k = share_k * (1 - share_k)
    heard_k = (told_nk.sum(0) >= LEAF_ROWS) & (variance_k > 0)
    return told_nk, np.where(heard_k, 1 / np.where(heard_k, variance_k, 1), 0.0)


def _push(
    heap: list[tuple[float, int, int, int]], count_s: Array, sum_sk: Array, weight_k: Array, low: int, high: int
) -> None:
    """Add the best cut of the bins from low to high, if there is one worth its name."""
    count_c, sum_ck = np.cumsum(count_s[low:high])[:-1], np.cumsum(sum_sk[low:high], 0)[:-1]
    all_count, all_k = count_s[low:high].sum(), sum_sk[low:high].sum(0)
    if len(count_c) == 0:
        return
    allowed = (count_c >= LEAF_ROWS) & (all_count - count_c >= LEAF_ROWS)
    if not allowed.any():
        return
    left = np.square(sum_ck) @ weight_k / np.maximum(count_c, 1)
    right = np.square(all_k - sum_ck) @ weight_k / np.maximum(all_count - count_c, 1)
    gain = np.where(allowed, left + right - np.square(all_k) @ weight_k / all_count, -np.inf)
    best = int(np.argmax(gain))
    if gain[best] > LEAST_GAIN * _chance(sum_sk[low:high], weight_k, all_count) + ROUNDING:
        heapq.heappush(heap, (-float(gain[best]), low, low + best + 1, high))


def _chance(sum_sk: Array, weight_k: Array, rows: float) -> float:
    """What a random cut gains on average: the variance of one row's target, column by column, by their weights."""
    share_k = sum_sk.sum(0) / rows
    return float((share_k * (1 - share_k)) @ weight_k) if len(weight_k) > 1 else 1.0
