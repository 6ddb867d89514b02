"""The fitted program and its replay: columns or rows in, a float32 matrix out.

Axes: n rows, f features, m numeric columns (numbers and the seconds of moments), s categories.

Every input column owns a run of neighbouring features, in the order of the columns:
a number   its standardised value, then "is missing"
a category one slot per frequent level, then the slots for other levels and for missing, where training saw such rows
a moment   its standardised seconds, then "is missing", then sine and cosine of the cycles that varied in training

Replay is elementwise, so a batch of n rows gives exactly what n batches of one row give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np

from tidemill.core.errors import BadBundle, SchemaMismatch
from tidemill.core.features import cells
from tidemill.core.features.kinds import Array, Category, Column, Moment, Number, wave
from tidemill.core.features.plan import MISSING, NO_SLOT, UNKNOWN, Plan, Slots

Columns = dict[str, Array]

FORMAT = 1


@dataclass(frozen=True)
class Program:
    """A fitted feature program: plain data, and the two ways to replay it."""

    modality: ClassVar[str] = "table"
    inputs: tuple[Column, ...]
    ignored: tuple[str, ...] = ()  # the target, dropped columns: welcome in a row, never read

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The names of the input columns, in the order of the table."""
        return tuple(column.name for column in self.inputs)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return tuple(name for column in self.inputs for name in column.features())

    @cached_property
    def owner_f(self) -> Array:
        """For every feature, the index of the input column it comes from."""
        widths = [len(column.features()) for column in self.inputs]
        return np.repeat(np.arange(len(widths)), widths)

    @cached_property
    def width(self) -> int:
        """The number of features."""
        return len(self.names)

    @property
    def shape(self) -> int:
        """What a network must know of its input: the number of features."""
        return self.width

    def apply(self, columns: Mapping[str, Array]) -> Array:
        """The features x_nf (float32, C order) of whole columns; raises SchemaMismatch where one is missing."""
        cells.check_names(columns.keys(), self.columns)
        plan = self._plan
        count = len(columns[self.columns[0]])
        value_nm = np.empty((count, len(plan.numeric)))
        for m, column in enumerate(plan.numeric):
            value_nm[:, m] = _floats(columns[column.name], column.name)
        slot_ns = [_slots(columns[column.name].tolist(), slots) for column, slots in plan.categories]
        return self._assemble(value_nm, slot_ns)

    def read_rows(self, rows: Sequence[Mapping[str, Any]]) -> Columns:
        """Rows as a request brings them, as columns; raises SchemaMismatch naming the row, the column and the value."""
        read = self._read(rows)
        columns: Columns = {}
        for column in self.inputs:
            kind = object if isinstance(column, Category) else np.float64
            columns[column.name] = np.array(read[column.name], dtype=kind)
        return columns

    def x_of_rows(self, rows: Sequence[Mapping[str, Any]]) -> Array:
        """Exactly apply(read_rows(rows)), without building the columns on the way."""
        read, plan = self._read(rows), self._plan
        value_mn = np.array([read[column.name] for column in plan.numeric])
        slot_ns = [_slots(read[column.name], slots) for column, slots in plan.categories]
        return self._assemble(value_mn.reshape(len(plan.numeric), len(rows)).T, slot_ns)

    def noticed(self, rows: Sequence[Mapping[str, Any]], x_nf: Array) -> Iterator[tuple[int, str, str]]:
        """Cells of rows, given with their features, that had no known value: the row, the column, and what was so."""
        plan = self._plan
        hit_nm = x_nf[:, plan.mark_slots] > 0
        if hit_nm.any():
            for row, m in np.argwhere(hit_nm).tolist():
                yield row, *plan.marks[m][1:]
        for name in plan.always:
            yield from ((n, name, MISSING) for n, row in enumerate(rows) if row[name] is None)
        for start, count, name in plan.bare:
            for row in np.flatnonzero(~x_nf[:, start : start + count].any(axis=1)).tolist():
                yield row, name, UNKNOWN

    def to_json(self) -> dict[str, Any]:
        """The program as plain values; floats survive json exactly."""
        return {"format": FORMAT, "inputs": [asdict(column) for column in self.inputs], "ignored": list(self.ignored)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Program:
        """The program that `to_json` wrote; raises BadBundle for anything else."""
        kinds: dict[str, Callable[..., Column]] = {"number": Number, "datetime": Moment, "category": Category}
        try:
            if value["format"] != FORMAT:
                raise BadBundle(
                    f"features.json is of format {value['format']!r}; this code reads {FORMAT}.",
                    remedy="Deploy the version that wrote it, or train again.",
                )
            inputs = tuple(kinds[item["kind"]](**_tuples(item)) for item in value["inputs"])
            return cls(inputs, tuple(value["ignored"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise BadBundle(f"features.json cannot be read: {error!r}.", remedy="Train again.") from error

    @cached_property
    def _plan(self) -> Plan:
        return Plan.of(self.inputs)

    def _read(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
        """The cells of every input column, read."""
        readers = self._plan.readers
        for index, row in enumerate(rows):
            if len(row) != len(readers):
                cells.check_names(row.keys(), self.columns, self.ignored, row=index)
        try:
            return {name: read([row[name] for row in rows]) for name, read in readers.items()}
        except KeyError:  # as many columns as there should be, but others
            for index, row in enumerate(rows):
                cells.check_names(row.keys(), self.columns, self.ignored, row=index)
            raise

    def _assemble(self, value_nm: Array, slot_ns: list[list[int]]) -> Array:
        """Fill the feature matrix from numeric values (NaN = missing) and the slots of the categories."""
        plan = self._plan
        x_nf = np.zeros((len(value_nm), self.width), dtype=np.float32)
        if plan.numeric:
            missing_nm = np.isnan(value_nm)
            x_nf[:, plan.value_slots] = plan.scale(value_nm, missing_nm)[:, plan.valued]
            if len(plan.flagged):
                x_nf[:, plan.flag_slots] = missing_nm[:, plan.flagged]
        if slot_ns:
            slot_sn = np.array(slot_ns, dtype=np.intp)
            at_sn = slot_sn + np.arange(0, x_nf.size, self.width)
            x_nf.reshape(-1)[at_sn[slot_sn != NO_SLOT]] = 1.0
        for m, cycle, slot in plan.waves:
            x_nf[:, slot : slot + 2] = wave(value_nm[:, m], cycle)
        return x_nf


def _slots(levels: list[Any], slots: Slots) -> list[int]:
    get, other = slots.of_level.get, slots.other
    return [get(level, other) for level in levels]


def _floats(column: Array, name: str) -> Array:
    try:
        return np.asarray(column, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise SchemaMismatch(
            f"Column {name!r} holds something that is not a number: {error}.",
            remedy="Give numbers, with NaN where a value is missing.",
            column=name,
        ) from error


def _tuples(item: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(value) if isinstance(value, list) else value for key, value in item.items()}
