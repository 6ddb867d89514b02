"""Measure the rows that are used: every column's statistics and its tie to the target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from tidemill.core.prepare.hashing import hash_numbers, hash_texts, in_column, mix
from tidemill.core.prepare.kinds import CATEGORY, TEXT
from tidemill.core.prepare.measure import CategoryMeasure, NumberMeasure
from tidemill.core.prepare.passes import Recipe
from tidemill.core.prepare.spool import ROW, Spool
from tidemill.core.prepare.text_measure import TextMeasure
from tidemill.core.progress import Progress, Report

Measure = NumberMeasure | CategoryMeasure | TextMeasure


@dataclass(frozen=True)
class Measured:
    """The measures of the features and of the target."""

    columns: dict[str, Measure]
    target: NumberMeasure | CategoryMeasure
    target_name: str

    def add_bins(self, chunk: dict[str, Any], keep: np.ndarray) -> None:
        """Fill the histograms with one chunk, the extremes being known."""
        for name, item in [*self.columns.items(), (self.target_name, self.target)]:
            if isinstance(item, NumberMeasure):
                item.add_bins(chunk[name].to_numpy(zero_copy_only=False)[keep])

    def hashes_without(self, typed: Spool, recipe: Recipe) -> np.ndarray:
        """The row hashes over the features of a recipe."""
        parts = []
        for chunk in typed.chunks():
            total = np.zeros(len(chunk[ROW]), np.uint64)
            for plan in recipe.features:
                total += in_column(plan.name, _hashes(chunk[plan.name], plan.kind == CATEGORY))
            parts.append(mix(total))
        return np.concatenate(parts)


def _empty(kind: str) -> Measure:
    if kind == TEXT:
        return TextMeasure()
    return CategoryMeasure() if kind == CATEGORY else NumberMeasure()


def measure(typed: Spool, recipe: Recipe, keep: np.ndarray, labels: list[str], report: Report) -> Measured:
    """The statistics of all used rows."""
    columns = {plan.name: _empty(plan.kind) for plan in recipe.features}
    target: NumberMeasure | CategoryMeasure = CategoryMeasure() if recipe.classes else NumberMeasure()
    places = {label: place for place, label in enumerate(labels)}
    start = 0
    for chunk in typed.chunks():
        kept = keep[start : start + len(chunk[ROW])]
        start += len(kept)
        outcome = _outcome(chunk[recipe.target.name], target, places, kept)
        for name, item in columns.items():
            _add(item, chunk[name], kept, outcome, len(labels))
        report(Progress("measuring", message=f"{start:,} rows measured"))
    return Measured(columns, target, recipe.target.name)


def _outcome(
    column: Any, target: NumberMeasure | CategoryMeasure, places: dict[str, int], kept: np.ndarray
) -> np.ndarray:
    """The target of the kept rows, as numbers or as classes; it is measured on the way."""
    if isinstance(target, NumberMeasure):
        values: np.ndarray = column.to_numpy(zero_copy_only=False)[kept]
        target.add(values)
        return values
    texts, codes = _coded(column)
    target.add(codes[kept], texts)
    table = np.array([places.get(text, 0) for text in texts] or [0], np.int64)
    classes: np.ndarray = table[codes[kept]]
    return classes


def _add(item: Measure, column: Any, kept: np.ndarray, outcome: np.ndarray, classes: int) -> None:
    if isinstance(item, TextMeasure):
        texts, codes = _coded(column)
        item.add(codes[kept], texts)
        return
    if isinstance(item, CategoryMeasure):
        texts, codes = _coded(column)
        item.add(codes[kept], texts)
        if classes:
            seen = codes[kept] >= 0
            item.tie.add_values(codes[kept][seen], texts, outcome[seen])
        return
    values = column.to_numpy(zero_copy_only=False)[kept]
    item.add(values)
    if classes:
        present = ~np.isnan(values)
        item.tie.add_values(values[present], None, outcome[present])
    if classes in (0, 2):
        item.tie.add_line(values, outcome.astype(np.float64))


def _coded(column: Any) -> tuple[list[str], np.ndarray]:
    codes: np.ndarray = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return column.dictionary.to_pylist(), codes


def _hashes(column: Any, text: bool) -> np.ndarray:
    if not text:
        return hash_numbers(column.to_numpy(zero_copy_only=False))
    texts, codes = _coded(column)
    hashes: np.ndarray = np.append(hash_texts(texts), np.uint64(0))[codes]
    return hashes
