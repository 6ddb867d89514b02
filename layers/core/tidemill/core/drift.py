"""Have the rows changed? Each column and score of recent requests against what the model's own rows looked like.

Kolmogorov-Smirnov for numbers, chi-square for levels, exact or chi-square for missing values; Bonferroni over all tests
of a report, so that a quiet window raises a false alarm with a chance of ALPHA at most. The tests take rows as
independent of each other: one row sent a thousand times looks like drift.

The population stability index is shown because people ask for it and decides nothing: its usual bound of 0.2 knows
neither the number of rows nor the number of bins.

Axes: n rows, l levels.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from tidemill.core import pvalues
from tidemill.core.reference import QUANTILES, Summary

Array = np.ndarray[Any, Any]

ALPHA = 0.05  # chance of any false alarm in a report about rows that have not changed
BINS = 20  # of a picture
PSI_BINS = 10  # what everybody takes
PSI_FLOOR = 1e-4  # a share of nothing has no logarithm
LEAST_EXPECTED = 5  # rows of a cell below which chi-square is no good (Cochran, Biometrics 10, 1954)
SHOWN_LEVELS = 12
NEW_LEVELS = 10  # named; the others are counted


@dataclass(frozen=True)
class Finding:
    """What was found about one column or score; `p` of the distribution, `missing_p` of the share of missing values."""

    name: str
    kind: str  # number or category; of scores also number
    test: str  # Kolmogorov-Smirnov or chi-square
    rows: int
    statistic: float
    p: float
    psi: float
    missing: tuple[float, float]  # share then and now
    missing_p: float
    new_levels: tuple[str, ...] = ()
    new_rows: int = 0
    shape: dict[str, Any] = field(default_factory=dict)  # what a picture shows: names or edges, shares then and now
    drifted: bool = False
    missing_drifted: bool = False

    @property
    def alarming(self) -> bool:
        """Whether anything about it has changed beyond chance."""
        return self.drifted or self.missing_drifted

    def to_json(self) -> dict[str, Any]:
        """As plain values."""
        return {**vars(self), "missing": list(self.missing), "new_levels": list(self.new_levels)}


def compare(then: Summary, now_n: Array) -> Finding:
    """One column of the reference against the values of recent rows; nothing is decided yet."""
    return _levels(then, now_n) if then.category else _numbers(then, now_n)


def judged(findings: list[Finding], others: int = 0) -> tuple[list[Finding], float]:
    """The findings with what drifted marked, and the bound: ALPHA shared out over all their tests and `others`."""
    bound = ALPHA / max(1, 2 * len(findings) + others)
    marked = [replace(item, drifted=item.p < bound, missing_drifted=item.missing_p < bound) for item in findings]
    return marked, bound


def _numbers(then: Summary, now_n: Array) -> Finding:
    known_n = np.asarray(now_n, np.float64)
    known_n = np.sort(known_n[np.isfinite(known_n)])
    quantiles, known = np.asarray(then.values, np.float64), then.rows - then.missing
    statistic, p, psi = 0.0, 1.0, 0.0
    if len(known_n) and len(quantiles):
        statistic = _distance(quantiles, known_n)
        p = pvalues.kolmogorov(max(0.0, statistic - _coarseness(known)), known, len(known_n))
        psi = _stability(*_deciles(quantiles, known_n))
    found = Finding(then.name, "number", "Kolmogorov-Smirnov", len(known_n), statistic, p, psi, (0.0, 0.0), 1.0)
    return _with_missing(replace(found, shape=_histogram(quantiles, known_n)), then, len(now_n), len(known_n))


def _distance(quantiles: Array, sorted_n: Array) -> float:
    """The greatest distance of two step functions, which lies at a step of one of them."""
    at = np.concatenate([quantiles, sorted_n])
    then, now = (np.searchsorted(values, at, side="right") / len(values) for values in (quantiles, sorted_n))
    return float(np.abs(then - now).max())


def _coarseness(known: int) -> float:
    """How far the distribution that the kept quantiles draw may be off the one of all rows."""
    return 0.0 if known <= QUANTILES else 1 / (QUANTILES - 1)


def _deciles(quantiles: Array, sorted_n: Array) -> tuple[Array, Array]:
    edges = np.unique(np.quantile(quantiles, np.linspace(0, 1, PSI_BINS + 1)[1:-1]))
    return _shares(quantiles, edges), _shares(sorted_n, edges)


def _shares(sorted_n: Array, edges: Array) -> Array:
    """The shares of values up to each edge and beyond the last."""
    below = np.searchsorted(sorted_n, edges, side="right")
    return np.diff(np.concatenate([[0], below, [len(sorted_n)]])) / max(1, len(sorted_n))


def _stability(then: Array, now: Array) -> float:
    then, now = np.maximum(then, PSI_FLOOR), np.maximum(now, PSI_FLOOR)
    return float(((now - then) * np.log(now / then)).sum())


def _histogram(quantiles: Array, sorted_n: Array) -> dict[str, Any]:
    """Shares of rows in bins of equal width over nearly all of both; what lies beyond counts to the outermost bins."""
    if not len(quantiles) or not len(sorted_n):
        return {}
    ends = [np.quantile(values, (0.005, 0.995)) for values in (quantiles, sorted_n)]
    low, high = min(end[0] for end in ends), max(end[1] for end in ends)
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    shares = [_shares(values, edges[1:-1]).tolist() for values in (quantiles, sorted_n)]
    return {"edges": edges.tolist(), "then": shares[0], "now": shares[1]}


def _levels(then: Summary, now_n: Array) -> Finding:
    counts = Counter(str(value) for value in now_n.tolist() if value is not None)
    # where the reference does not name every level, nobody knows which are new
    new = {} if then.other else {level: counts[level] for level in sorted(counts.keys() - set(then.levels))}
    names = [*then.levels, *new]
    then_l = np.array([*then.values.tolist(), *[0] * len(new)], np.int64)
    now_l = np.array([counts[name] for name in names], np.int64)
    others = then.other, counts.total() - int(now_l.sum())
    statistic, p = _homogeneity(then_l, now_l, others)
    found = Finding(then.name, "category", "chi-square", counts.total(), statistic, p, 0.0, (0.0, 0.0), 1.0)
    if counts and then.rows > then.missing:
        shares = [
            np.append(part, rest) / (part.sum() + rest) for part, rest in zip((then_l, now_l), others, strict=True)
        ]
        found = replace(found, psi=_stability(shares[0], shares[1]), shape=_bars(names, *shares))
    often = sorted(new, key=lambda level: (-new[level], level))[:NEW_LEVELS]
    found = replace(found, new_levels=tuple(often), new_rows=sum(new.values()))
    return _with_missing(found, then, len(now_n), counts.total())


def _homogeneity(then_l: Array, now_l: Array, others: tuple[int, int]) -> tuple[float, float]:
    """Chi-square of two rows of counts; the statistic and its p-value.

    Rare levels are put together, new ones with them: of many rare levels some are always seen for the first time, so
    a cell of new levels alone would look like drift in every large window. `others` are counts of unnamed levels.
    """
    table = np.stack([then_l, now_l]).astype(np.float64)
    rows = table.sum(1) + others
    if not rows.all():
        return 0.0, 1.0
    expected = table.sum(0) * rows.min() / rows.sum()
    often = expected >= LEAST_EXPECTED
    rare = table[:, ~often].sum(1) + others
    if often.any() and 0 < rare.sum() * rows.min() / rows.sum() < LEAST_EXPECTED:  # too rare by themselves
        least = np.flatnonzero(often)[expected[often].argmin()]
        often[least] = False
        rare = rare + table[:, least]
    table = np.concatenate([table[:, often], rare[:, None]], 1)
    table = table[:, table.sum(0) > 0]
    wanted = np.outer(rows, table.sum(0)) / rows.sum()
    statistic = float((np.square(table - wanted) / wanted).sum())
    return statistic, pvalues.chi_square(statistic, table.shape[1] - 1)


def _bars(names: list[str], then: Array, now: Array) -> dict[str, Any]:
    """Shares of the most frequent levels then and now, and of all others."""
    named = np.argsort(-np.maximum(then, now)[:-1], kind="stable")[:SHOWN_LEVELS]
    shares = [[*share[named].tolist(), max(0.0, float(1 - share[named].sum()))] for share in (then, now)]
    return {"names": [*(names[at] for at in named), "all others"], "then": shares[0], "now": shares[1]}


def _with_missing(found: Finding, then: Summary, rows: int, known: int) -> Finding:
    p = pvalues.shares(rows - known, rows, then.missing, then.rows)
    share = (then.missing / max(1, then.rows), (rows - known) / max(1, rows))
    return replace(found, missing=share, missing_p=p)
