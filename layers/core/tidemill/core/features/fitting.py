"""Learning a feature program from the rows of the training split; the order of the rows makes no difference."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from tidemill.core.errors import BadTable
from tidemill.core.features.kinds import (
    CYCLES,
    HUGE,
    TINY,
    Array,
    Category,
    Column,
    Moment,
    Number,
    phase,
    signed_log1p,
)
from tidemill.core.features.program import Columns, Program

if TYPE_CHECKING:  # reading specifications is not needed where programs are only replayed
    from tidemill.core.spec import Spec

MAX_LEVELS = 64  # slots for the levels of one column; more rarely pay, and they cost width
MAX_WIDTH = 4096  # features in all; a float32 row of 16 kB
ENOUGH_SHARE = 0.0005  # a level or a missing value in fewer rows than this share teaches nothing
ENOUGH_ROWS = (2, 50)  # but never fewer than the first, and always at the second


def fit(columns: Columns, schema: dict[str, Any], spec: Spec) -> Program:
    """Fit the program on training columns.

    Where one slot per level would pass MAX_WIDTH features, the number of slots per column is halved until it fits:
    the rarest levels of the widest columns join the others first.
    """
    described = [item for item in schema["columns"] if item["role"] == "feature"]
    ignored = tuple(item["name"] for item in schema["columns"] if item["role"] != "feature")
    _check(columns, described)
    limit = MAX_LEVELS
    program = _fit(columns, described, ignored, spec, limit)
    while program.width > MAX_WIDTH and limit > 1:
        limit //= 2
        program = _fit(columns, described, ignored, spec, limit)
    if not 0 < program.width <= MAX_WIDTH:
        raise BadTable(
            f"The {len(described)} columns give {program.width} features; between 1 and {MAX_WIDTH} are possible.",
            code="NO_FEATURES" if program.width == 0 else "TOO_WIDE",
            remedy="Give columns that vary." if program.width == 0 else "Name columns to leave out in [data] drop.",
        )
    return program


def _check(columns: Columns, described: list[dict[str, Any]]) -> None:
    lacking = [item["name"] for item in described if item["name"] not in columns]
    if lacking or not described or not len(columns[described[0]["name"]]):
        what = f"Columns {lacking} are missing" if lacking else "There are no columns or no rows to learn from"
        raise BadTable(f"{what}.", code="NO_FEATURES", remedy="Prepare the dataset again.")


def _fit(
    columns: Columns, described: list[dict[str, Any]], ignored: tuple[str, ...], spec: Spec, limit: int
) -> Program:
    return Program(tuple(_column(columns[item["name"]], item, spec, limit) for item in described), ignored)


def _column(values: Array, item: dict[str, Any], spec: Spec, limit: int) -> Column:
    if item["kind"] == "category":
        return _category(values, item["name"], limit)
    if item["kind"] == "datetime":
        return _moment(values, item["name"], compact=item.get("order") == "yyyymmdd")
    return _number(values, item["name"], bool(item.get("log1p")) and spec.preprocess.skew == "log1p")


def enough(rows: int) -> int:
    """How many of the training rows must show a thing before it becomes a feature."""
    low, high = ENOUGH_ROWS
    return min(max(low, math.ceil(rows * ENOUGH_SHARE)), high)


def _number(values: Array, name: str, log1p: bool) -> Number:
    median, mean, scale, flag = _moments(values, log1p)
    return Number(name, log1p, median, mean, scale, flag)


def _moment(values: Array, name: str, *, compact: bool) -> Moment:
    known = values[~np.isnan(values)]
    cycles = tuple(cycle for cycle in CYCLES if len(np.unique(phase(known, cycle))) > 1)
    return Moment(name, *_moments(values, log1p=False), cycles=cycles, compact=compact)


def _moments(values: Array, log1p: bool) -> tuple[float, float, float, bool]:
    """Median as it comes; mean and standard deviation of the imputed, transformed values; whether missing is a feature.

    Sums run over sorted values, so that they do not depend on the order of the rows.
    """
    values = np.asarray(values, dtype=np.float64)
    known = np.sort(np.clip(values[~np.isnan(values)], -HUGE, HUGE) + 0.0)  # + 0.0: no -0.0
    gaps = len(values) - len(known)
    median = float(np.median(known)) if len(known) else 0.0
    filled = np.sort(np.concatenate([known, np.full(gaps, median)]))
    read = signed_log1p(filled) if log1p else filled
    mean, deviation = float(read.mean()), float(read.std())
    varies = len(known) > 0 and known[0] != known[-1] and deviation > max(1e-12 * abs(mean), TINY)
    return median, mean, deviation if varies else 0.0, gaps >= enough(len(values))


def _category(values: Array, name: str, limit: int) -> Category:
    counts: Counter[str | None] = Counter(values.tolist())
    missing, least = counts.pop(None, 0), enough(len(values))
    ranked = sorted(((count, level) for level, count in counts.items() if level is not None), key=_most_first)
    levels = tuple(level for count, level in ranked[:limit] if count >= least)
    rest = sum(count for count, _ in ranked[len(levels) :])
    with_missing = missing >= least
    with_other = rest + (0 if with_missing else missing) >= least
    if len(levels) + with_other + with_missing == 1:  # every row alike: nothing to tell apart
        levels, with_other, with_missing = (), False, False
    return Category(name, levels, with_other, with_missing)


def _most_first(ranked: tuple[int, str]) -> tuple[int, str]:
    return -ranked[0], ranked[1]
