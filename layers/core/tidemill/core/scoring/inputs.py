"""Cells of a file as the model reads them: by what preparation learned of each column when the model's data came.

A cell means here what it means in the file the model was trained on: 1.234,5 is the number it was there, and a word
that stood for a missing value stands for one again. What does not fit is set aside with its row.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core.errors import SchemaMismatch
from tidemill.core.features.cells import check_names
from tidemill.core.limits import limit
from tidemill.core.prepare import convert
from tidemill.core.prepare.kinds import CATEGORY, TEXT, Plan
from tidemill.core.readers.chunks import BadRow
from tidemill.core.scoring.blocks import Block

Columns = dict[str, np.ndarray]
_REMEDIES = {
    "VALUE_TYPE": "Write the value as in the data the model was trained on, or leave the cell empty.",
    "VALUE_NOT_FINITE": "Write a finite number, or leave the cell empty.",
    "VALUE_OUT_OF_RANGE": "Write a number below 3.4e38, or leave the cell empty.",
    "ROW_TEXT_EMPTY": "Give a text in which something can be read.",
    "ROW_RAGGED": "Give the row as many fields as the header has.",
    "ROW_JSON": "Write one JSON object a line.",
    "ROW_ENCODING": "Save the file as UTF-8.",
    "ROW_NUL_BYTE": "Remove the NUL bytes.",
    "ROW_FIELD_TOO_LONG": "Shorten the value.",
    "MEMBER_NESTED_ARCHIVE": "Pack the files themselves, not archives of them.",
    "MEMBER_NAME": "Rename the file.",
}
REMEDY = "Correct the row and send it again."


@dataclass(frozen=True)
class Reader:
    """Reads the columns of a model; `levels` are the texts that its categories tell apart."""

    plans: tuple[Plan, ...]
    levels: Mapping[str, frozenset[str]]
    known: frozenset[str]  # every column of the training data
    identifiers: frozenset[str]
    inputs: frozenset[str]  # the columns the model reads

    @classmethod
    def of(cls, program: Any, schema: Mapping[str, Any]) -> Reader:
        """The reader for a feature program and the schema of the data set it was fitted on."""
        told = {column["name"]: column for column in schema.get("columns", [])}
        if program.modality == TEXT:
            plans: tuple[Plan, ...] = (Plan(program.column, TEXT),)
            levels: dict[str, frozenset[str]] = {}
        else:
            kinds = {column.name: column for column in getattr(program, "inputs", ())}
            levels = {name: frozenset(item.levels) for name, item in kinds.items() if item.kind == CATEGORY}
            plans = tuple(_plan(name, item.kind, told.get(name, {}), levels) for name, item in kinds.items())
        identifiers = {name for name, column in told.items() if column.get("reason") == "identifier"}
        return cls(plans, levels, frozenset(told), frozenset(identifiers), frozenset(program.columns))

    def check(self, names: Iterable[str]) -> None:
        """Raise SchemaMismatch (FEATURE_MISSING) where a file lacks columns that the model reads."""
        try:
            check_names([*names], [plan.name for plan in self.plans])
        except SchemaMismatch as error:
            error.remedy = "Give every column the model was trained on; leave cells empty where a value is not known."
            raise

    def carried(self, names: Iterable[str]) -> list[str]:
        """The columns that go with their row into the results: identifiers, and those that training never saw."""
        found = [name for name in names if name in self.identifiers or name not in self.known]
        return [name for name in found if name not in self.inputs][: limit("score_carried")]

    def read(self, block: Block) -> tuple[Columns, np.ndarray, list[BadRow]]:
        """The columns of the rows that fit, which those are, and the others."""
        typed = {plan.name: convert.convert(_cells(block, plan.name), plan) for plan in self.plans}
        wrong = np.zeros(len(block.rows), bool)
        for item in typed.values():
            wrong |= item.errors != convert.OK
        keep = ~wrong
        bad = [self._bad(block, typed, int(at)) for at in np.flatnonzero(wrong)]
        return {name: self._values(name, item)[keep] for name, item in typed.items()}, keep, bad

    def _values(self, name: str, item: convert.Typed) -> np.ndarray:
        if item.texts is None:
            return item.values
        levels = self.levels.get(name)
        texts = item.texts if levels is None else [level_of(text, levels) for text in item.texts]
        found: np.ndarray = np.array([*texts, None], dtype=object)[item.values]
        return found

    def _bad(self, block: Block, typed: Mapping[str, convert.Typed], at: int) -> BadRow:
        name, error = next((name, int(item.errors[at])) for name, item in typed.items() if item.errors[at])
        return BadRow(int(block.rows[at]), convert.CODES[error], convert.REASONS[error], name)


def remedy_of(code: str) -> str:
    """What to do about a row that was set aside."""
    return _REMEDIES.get(code, REMEDY)


def level_of(text: str, levels: frozenset[str]) -> str:
    """A cell's text as the level it names: files of different formats write 1, 1.0 and True differently."""
    if text in levels:
        return text
    forms = [text.lower(), text.capitalize(), text.upper()] if text.lower() in ("true", "false") else []
    if text.endswith(".0"):
        forms.append(text[:-2])
    elif text.removeprefix("-").isdecimal():
        forms.append(f"{text}.0")
    return next((form for form in forms if form in levels), text)


def _plan(name: str, kind: str, told: Mapping[str, Any], levels: Mapping[str, frozenset[str]]) -> Plan:
    return Plan(
        name,
        kind,
        comma_decimal=bool(told.get("decimal_comma")),
        order=str(told.get("order", "")),
        na_is_value=any(level.casefold() == "na" for level in levels.get(name, ())),
        missing_words=frozenset(told.get("missing_words", ())),
        out_of_range_is_missing=bool(told.get("out_of_range_is_missing")),
    )


def _cells(block: Block, name: str) -> Any:
    """A column of a block; JSON leaves out what it has no value for, so a block may lack one."""
    found = block.columns.get(name)
    return pa.nulls(len(block.rows), pa.string()) if found is None else found
