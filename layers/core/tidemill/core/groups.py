"""How the model does for groups of rows: metrics with intervals, how often it is right to select, how often it selects.

A group is the rows with one level of a column, which need not be an input of the model. Too small groups are put
together, because a metric over a few rows says nothing and may tell who they are.

Axes: n rows, k classes, r resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.evaluation import INTERVAL
from tidemill.core.metrics import Metric, metrics_of, resamples

Array = NDArray[Any]

LEAST = 20  # rows below which a group is not shown by itself
MOST = 30  # groups of a column; the rows of the smallest beyond are put together
BINS = 4  # parts that a column of numbers is cut into
NUMBERS = 8  # different numbers up to which each is a group of its own
MISSING, OTHER = "(missing)", "other"
_DECIDED = frozenset({"accuracy", "precision", "recall", "f1"})  # judged by the decision, not by the probability


def group_report(
    task: str,
    labels: Sequence[str],
    y_n: Array,
    answer_nk: Array,
    columns: Mapping[str, Array],
    threshold: float | None = None,
    seed: int = 0,
    *,
    positive: str = "",
) -> list[dict[str, Any]]:
    """What the card shows by group: for every column its groups, the largest first.

    `y_n` holds class numbers or values, `answer_nk` probabilities [n, k] or values [n] or [n, 1]. A column holds text
    (None: missing) or numbers, which are cut into quarters. A table of two classes is decided by `threshold` on the
    probability of `positive` (empty: labels[1]); without one, and with more classes, the most probable class decides.
    Groups of fewer than LEAST rows are put together as "other" and marked `merged`; if they are still too few,
    their metrics are None. Rates are None but for two classes: `positive_rate` is the share of rows of the positive
    label, `selected_rate` the share decided to be. Regressions tell the mean `actual` and the mean `answered` value.
    `selection_ratio` is the lowest selected rate over the highest (29 CFR 1607.4 D calls 4/5 the bar).
    """
    y_n, answer_nk = np.asarray(y_n), np.asarray(answer_nk, np.float64)
    if task == "regression":
        y_n, answer_nk = y_n.astype(np.float64), answer_nk.reshape(-1)
    two = len(labels) == 2
    if two and positive == labels[0]:  # the metrics of two classes are about the second
        y_n, answer_nk, labels = 1 - y_n, answer_nk[:, ::-1], labels[::-1]
    decided_n = None if task == "regression" else _decided(answer_nk, threshold if two else None)
    report = []
    for name, values in columns.items():
        groups = []
        for level, row_n, merged in _groups(np.asarray(values)):
            chosen_n = None if decided_n is None else decided_n[row_n]
            entry = {"level": level, "rows": len(row_n), "merged": merged}
            groups.append({**entry, **_measured(task, len(labels), y_n[row_n], answer_nk[row_n], chosen_n, seed)})
        told = {"column": name, "positive": labels[1] if two else None, "threshold": threshold if two else None}
        report.append({**told, "groups": groups, "selection_ratio": _ratio(groups)})
    return report


def levels_of(values: Array) -> Array:
    """The group of every row as text, None where it is missing: texts as they are, numbers by quarters."""
    if values.dtype.kind not in "fiub":
        return np.array([None if value is None else str(value) for value in values.tolist()], dtype=object)
    number_n = values.astype(np.float64)
    present_n = np.isfinite(number_n)
    distinct = np.unique(number_n[present_n])
    level_n = np.full(len(number_n), None, dtype=object)
    if len(distinct) <= NUMBERS:
        level_n[present_n] = [f"{value:.10g}" for value in number_n[present_n].tolist()]
        return level_n
    edges = np.unique(np.quantile(number_n[present_n], np.linspace(0, 1, BINS + 1), method="lower"))
    bin_n = np.clip(np.searchsorted(edges, number_n, side="right") - 1, 0, len(edges) - 2)
    for at in range(len(edges) - 1):
        part_n = present_n & (bin_n == at)
        if part_n.any():
            level_n[part_n] = f"{number_n[part_n].min():.10g} to {number_n[part_n].max():.10g}"
    return level_n


def _groups(values: Array) -> list[tuple[str, Array, bool]]:
    """Levels with their rows, the largest first, numbers from low to high; small ones together at the end."""
    level_n = levels_of(values)
    places: dict[str, list[int]] = {}
    for row, level in enumerate(level_n.tolist()):
        places.setdefault(MISSING if level is None else level, []).append(row)
    ordered = sorted(places.items(), key=lambda item: (-len(item[1]), item[0]))
    large = [(level, rows) for level, rows in ordered if len(rows) >= LEAST][:MOST]
    if values.dtype.kind in "fiub":
        large.sort(key=lambda item: (item[0] == MISSING, float(values[item[1][0]])))
    kept = {level for level, _ in large}
    rest = sorted(row for level, rows in ordered if level not in kept for row in rows)
    found = [(level, np.array(rows, np.int64), False) for level, rows in large]
    if rest:
        count = len(ordered) - len(large)
        name = f"{OTHER} ({count} group{'s' if count > 1 else ''})"
        found.append((name, np.array(rest, np.int64), True))
    return found


def _decided(p_nk: Array, threshold: float | None) -> Array:
    """The class decided on for every row."""
    decided_n: Array = p_nk.argmax(1) if threshold is None else (p_nk[:, 1] >= threshold).astype(np.int64)
    return decided_n


def _measured(task: str, k: int, y_n: Array, answer_nk: Array, decided_n: Array | None, seed: int) -> dict[str, Any]:
    """Metrics of one group and its rates; None where there are too few rows to tell."""
    blank: dict[str, Any] = {"metrics": None, "positive_rate": None, "selected_rate": None}
    if len(y_n) < LEAST:
        return blank
    if decided_n is None:
        asked = [(metric, answer_nk) for metric in metrics_of(task)]
        means = {"actual": float(y_n.mean()), "answered": float(answer_nk.mean())}
        return {**blank, "metrics": _with_intervals(asked, y_n, seed), **means}
    decided_nk = np.eye(k)[decided_n]
    asked = [(metric, decided_nk if metric.name in _DECIDED else answer_nk) for metric in metrics_of(task)]
    if k > 2:
        return {**blank, "metrics": _with_intervals(asked, y_n, seed)}
    found = _with_intervals([*asked, (_FALSE_ALARMS, decided_nk)], y_n, seed)
    rates = {"positive_rate": float((y_n == 1).mean()), "selected_rate": float((decided_n == 1).mean())}
    return {"metrics": found, **rates}


def _false_positive_rate(y_n: Array, decided_nk: Array, w_rn: Array) -> Array:
    """Of the rows of the first class, the share decided to be of the second; NaN where there are none."""
    negative_n = (y_n == 0).astype(np.float64)
    below_r = w_rn @ negative_n
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(below_r > 0, w_rn @ (negative_n * decided_nk[:, 1]) / below_r, np.nan)


_FALSE_ALARMS = Metric("false_positive_rate", "False positive rate", "lower", _false_positive_rate)


def _with_intervals(asked: Sequence[tuple[Metric, Array]], y_n: Array, seed: int) -> dict[str, Any]:
    """Metrics over one group's rows with their bootstrap intervals; None where they are not defined."""
    once, drawn = np.ones((1, len(y_n))), [list[Array]() for _ in asked]
    for w_rn in resamples(len(y_n), seed, max(answer.shape[1] if answer.ndim == 2 else 1 for _, answer in asked)):
        for (metric, answer), kept in zip(asked, drawn, strict=True):
            kept.append(metric.formula(y_n, answer, w_rn))
    found = {}
    for (metric, answer), kept in zip(asked, drawn, strict=True):
        value, drawn_r = float(metric.formula(y_n, answer, once)[0]), np.concatenate(kept)
        numbers = _interval(value, drawn_r[np.isfinite(drawn_r)])
        found[metric.name] = {**numbers, "label": metric.label, "better": metric.better}
    return found


def _interval(value: float, drawn_r: Array) -> dict[str, float | None]:
    if not np.isfinite(value) or not len(drawn_r):
        return {"value": None, "low": None, "high": None}
    low, high = np.percentile(drawn_r, INTERVAL)
    return {"value": value, "low": min(float(low), value), "high": max(float(high), value)}


def _ratio(groups: Sequence[Mapping[str, Any]]) -> float | None:
    """The lowest selected rate over the highest, of groups shown by themselves; None where there are not two."""
    rates = [item["selected_rate"] for item in groups if item["selected_rate"] is not None and not item["merged"]]
    return min(rates) / max(rates) if len(rates) > 1 and max(rates) > 0 else None
