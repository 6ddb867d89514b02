"""Answers that admit their doubt: intervals and sets of labels that hold the truth in a stated share of rows.

Split conformal prediction: the errors of held-out rows say how wide an answer must be. The promise holds for rows like
those, on average over them and not for every kind of row. Held-out rows answered by the models of several folds carry
it over to the final model closely, not exactly (Barber 2021, arXiv 1905.02928).

Axes: n rows, k classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LEVELS = (0.5, 0.8, 0.9, 0.95, 0.99)  # shares of rows that can be asked for; between them nothing was fitted
SMALLEST = 2.0**-126  # the smallest normal float32; a spread is never less


def rank(rows: int, level: float) -> int:
    """Which of the sorted errors bounds a new one with this probability: ceil((n + 1) level), Lei 2018."""
    return math.ceil((rows + 1) * level - 1e-9)  # 1e-9: 10 * 0.9 must not become 10


def interval_factors(y_n: Array, value_n: Array, spread_n: Array | None = None) -> dict[float, float | None]:
    """By level, how many spreads an interval reaches to either side; None where the rows are too few to tell.

    Scores |y - value| / spread (Papadopoulos 2008, Lei 2018): wide where the model expects large errors. Without a
    spread, every interval is as wide as every other.
    """
    score_n = np.sort(np.abs(np.asarray(y_n, np.float64) - np.asarray(value_n, np.float64)) / _spread(spread_n))
    return {level: _at(score_n, rank(len(score_n), level)) for level in LEVELS}


def set_thresholds(y_n: Array, p_nk: Array) -> dict[float, float | None]:
    """By level, the probability a label needs to be in the set; None where the rows are too few to tell.

    Score 1 - p of the true class (LAC; Sadinle 2019, arXiv 1609.00451), kept as the probability itself.
    """
    true_n = np.asarray(p_nk, np.float64)[np.arange(len(y_n)), np.asarray(y_n, np.int64)]
    falling_n = -np.sort(-true_n)
    return {level: _at(falling_n, rank(len(true_n), level)) for level in LEVELS}


def intervals(value_n: Array, spread_n: Array | None, factor: float, least: float | None = None) -> tuple[Array, Array]:
    """Lower and upper ends, float64 [n]; `least` is what the target never falls below."""
    value_n = np.asarray(value_n, np.float64)
    half_n = factor * _spread(spread_n) * np.ones_like(value_n)
    low_n, high_n = value_n - half_n, value_n + half_n
    return (low_n if least is None else np.maximum(low_n, np.minimum(least, value_n))), high_n


def sets(p_nk: Array, threshold: float, *, never_empty: bool = True) -> Array:
    """Which labels are in the set of each row, bool [n, k]; with `never_empty` the most probable one always is."""
    p_nk = np.asarray(p_nk)
    member_nk = p_nk >= np.asarray(threshold, p_nk.dtype)
    if never_empty:
        member_nk[np.arange(len(p_nk)), p_nk.argmax(1)] = True
    return member_nk


def offered(by_level: Mapping[float, float | None]) -> list[float]:
    """The levels that were fitted."""
    return [level for level, found in by_level.items() if found is not None]


def _spread(spread_n: Array | None) -> Array:
    return np.ones(1) if spread_n is None else np.maximum(np.asarray(spread_n, np.float64).reshape(-1), SMALLEST)


def _at(sorted_n: Array, place: int) -> float | None:
    """The place-th value, counted from one; None past the end or where it is no number."""
    if place > len(sorted_n) or not np.isfinite(sorted_n[place - 1]):
        return None
    return float(sorted_n[place - 1])
