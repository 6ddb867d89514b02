"""What replay looks up, worked out once per program."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidemill.core.features import cells
from tidemill.core.features.kinds import CLIP, HUGE, Array, Category, Column, Cycle, Moment, Number, signed_log1p

NO_SLOT = -1
MISSING, UNKNOWN = "missing", "rare or never seen"  # what is told of a cell


@dataclass(frozen=True)
class Slots:
    """A category's levels as positions in the feature vector."""

    of_level: dict[Any, int]  # None stands for missing
    other: int

    @classmethod
    def of(cls, column: Category, start: int) -> Slots:
        """Number the levels of a column whose first feature is `start`."""
        end = start + len(column.levels)
        other = end if column.other else NO_SLOT
        of_level: dict[Any, int] = {level: start + i for i, level in enumerate(column.levels)}
        of_level[None] = end + column.other if column.missing else other
        return cls(of_level, other)


@dataclass(frozen=True)
class Plan:
    """The numeric columns (m), the categories, and where in the feature vector each of them writes."""

    numeric: tuple[Number | Moment, ...]
    categories: tuple[tuple[Category, Slots], ...]
    readers: dict[str, Callable[[list[Any]], list[Any]]]
    median_m: Array
    mean_m: Array
    scale_m: Array
    logged: Array
    valued: Array
    flagged: Array
    value_slots: Array
    flag_slots: Array
    waves: tuple[tuple[int, Cycle, int], ...]
    mark_slots: Array
    marks: tuple[tuple[int, str, str], ...]  # features that tell of a cell: where, of which column, what
    always: tuple[str, ...]  # numbers that training never missed, so that no feature tells of it
    bare: tuple[tuple[int, int, str], ...]  # categories that show by no feature at all that a level is unknown

    @classmethod
    def of(cls, inputs: tuple[Column, ...]) -> Plan:
        """Lay out the features of these columns, one after the other."""
        starts = np.cumsum([0, *(len(column.features()) for column in inputs)]).tolist()
        placed = list(zip(inputs, starts[:-1], strict=True))
        numeric = [(column, start) for column, start in placed if not isinstance(column, Category)]
        slotted = [(column, Slots.of(column, start)) for column, start in placed if isinstance(column, Category)]
        scale_m = np.array([column.scale for column, _ in numeric])
        valued = np.flatnonzero(scale_m > 0)
        marks = tuple(_marks(numeric, slotted))
        flagged = np.array([m for m, (column, _) in enumerate(numeric) if column.flag], dtype=np.intp)
        start_m = np.array([start for _, start in numeric], dtype=np.intp)
        return cls(
            numeric=tuple(column for column, _ in numeric),
            categories=tuple(slotted),
            readers={
                **{column.name: _reader(column) for column, _ in numeric},
                **{column.name: cells.reader("category", column.name, slots.of_level) for column, slots in slotted},
            },
            median_m=np.array([column.median for column, _ in numeric]),
            mean_m=np.array([column.mean for column, _ in numeric]),
            scale_m=np.where(scale_m > 0, scale_m, 1.0),
            logged=np.array([m for m, (column, _) in enumerate(numeric) if column.log1p], dtype=np.intp),
            valued=valued,
            flagged=flagged,
            value_slots=start_m[valued],
            flag_slots=start_m[flagged] + (scale_m > 0)[flagged],
            waves=tuple(_waves(numeric)),
            mark_slots=np.array([slot for slot, _, _ in marks], dtype=np.intp),
            marks=marks,
            always=tuple(column.name for column, _ in numeric if not column.flag),
            bare=tuple(
                (min(slots.of_level[level] for level in column.levels), len(column.features()), column.name)
                for column, slots in slotted
                if column.levels and not column.other
            ),
        )

    def scale(self, value_nm: Array, missing_nm: Array) -> Array:
        """Impute, take the logarithm where the column asks for it, standardise, clip."""
        scaled_nm = np.where(missing_nm, self.median_m, value_nm)
        np.maximum(scaled_nm, -HUGE, out=scaled_nm)
        np.minimum(scaled_nm, HUGE, out=scaled_nm)
        if len(self.logged):
            scaled_nm[:, self.logged] = signed_log1p(scaled_nm[:, self.logged])
        scaled_nm -= self.mean_m
        scaled_nm /= self.scale_m
        np.maximum(scaled_nm, -CLIP, out=scaled_nm)
        return np.minimum(scaled_nm, CLIP, out=scaled_nm)


def _marks(
    numeric: Iterable[tuple[Number | Moment, int]], slotted: Iterable[tuple[Category, Slots]]
) -> Iterable[tuple[int, str, str]]:
    for column, start in numeric:
        if column.flag:
            yield start + (column.scale > 0), column.name, MISSING
    for category, slots in slotted:
        if category.other:
            yield slots.other, category.name, UNKNOWN
        if category.missing:
            yield slots.of_level[None], category.name, MISSING


def _reader(column: Number | Moment) -> cells.Reader:
    return cells.reader(column.kind, column.name, compact=isinstance(column, Moment) and column.compact)


def _waves(numeric: Iterable[tuple[Number | Moment, int]]) -> Iterable[tuple[int, Cycle, int]]:
    for m, (column, start) in enumerate(numeric):
        if isinstance(column, Moment):
            first = start + (column.scale > 0) + column.flag
            for i, cycle in enumerate(column.cycles):
                yield m, cycle, first + 2 * i
