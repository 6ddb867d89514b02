"""CSV records with the lines they stand on: fast where a block is clean, careful where it is not.

A block without quotes is split into columns at once. A block that parses strictly to its end is a whole number of
records, so nothing is lost by parsing it at once. One that does not is read record by record: a record that cannot be
read costs its first line only, and reading goes on with the next, so that a quote nobody closed does not swallow the
file.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as arrow_csv

from tidemill.core.limits import limit
from tidemill.core.readers.chunks import BadRow

Record = list[str]


@dataclass
class Batch:
    """Records of one block (or its columns at once), the line each starts on, its text, and lines set aside."""

    records: list[Record]
    lines: np.ndarray
    text: str
    bad: list[BadRow] = field(default_factory=list)
    columns: list[Any] | None = None


@dataclass
class _Rest:
    text: str = ""
    line: int = 1


def batches(
    blocks: Iterable[str], delimiter: str, skip_lines: int, width: int, widest: int | None = None
) -> Iterator[Batch]:
    """Every record of a text, block by block; `skip_lines` physical lines (the header) come before the first.

    `widest` bounds the characters of a field where the usual bound of csv is too narrow.
    """
    rest = _Rest()
    for block, last in _with_last(_without(blocks, skip_lines, rest)):
        text = rest.text + block
        cut = len(text) if last else _cut(text)
        if cut == 0:
            rest.text = text
            yield from _overlong(rest)
            continue
        rest.text = text[cut:]
        with _fields_up_to(widest):
            batch = _at_once(text[:cut], delimiter, rest, width) or _parse(text[:cut], delimiter, rest, last)
        yield batch


@contextmanager
def _fields_up_to(widest: int | None) -> Iterator[None]:
    """The bound on fields is one for all of csv, so it is changed for no longer than it takes to parse a block."""
    usual = csv.field_size_limit()
    csv.field_size_limit(widest or usual)
    try:
        yield
    finally:
        csv.field_size_limit(usual)


def _at_once(text: str, delimiter: str, rest: _Rest, width: int) -> Batch | None:
    """A block without quotes in which every line is a full row, split by Arrow; None for any other block.

    Without quotes a record is a line and a field what stands between delimiters, so both readers must agree.
    """
    if '"' in text or "\x00" in text or width < 2 or "\r" in text.replace("\r\n", "\n"):
        return None
    names = [str(index) for index in range(width)]
    try:
        table = arrow_csv.read_csv(
            pa.BufferReader(text.encode()),
            read_options=arrow_csv.ReadOptions(column_names=names, use_threads=False, block_size=2 * len(text) + 64),
            parse_options=arrow_csv.ParseOptions(delimiter=delimiter, quote_char=False, ignore_empty_lines=True),
            convert_options=arrow_csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=False
            ),
        )
    except (pa.ArrowInvalid, UnicodeEncodeError):
        return None
    lines = text.count("\n") + (not text.endswith("\n"))
    if table.num_rows != lines:
        return None
    first, rest.line = rest.line, rest.line + lines
    columns = [column.combine_chunks() for column in table.combine_chunks().columns]
    return Batch([], np.arange(first, first + lines, dtype=np.int64), text, columns=columns)


def _parse(text: str, delimiter: str, rest: _Rest, last: bool) -> Batch:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        records = list(reader)
    except csv.Error:
        return _carefully(text, delimiter, rest, last)
    first = rest.line
    rest.line += reader.line_num
    if reader.line_num == len(records):
        return Batch(records, np.arange(first, rest.line, dtype=np.int64), text)
    return Batch(records, np.asarray(_starts(text, delimiter, first), np.int64), text)


def _starts(text: str, delimiter: str, first: int) -> list[int]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    ends = [reader.line_num for _ in reader]
    return [first + end for end in [0, *ends[:-1]]]


def _carefully(text: str, delimiter: str, rest: _Rest, last: bool) -> Batch:
    """Record by record; an unfinished record at the end goes back to the rest, to be read with the next block."""
    lines = list(io.StringIO(text, newline=""))
    batch, position = Batch([], np.empty(0, np.int64), text), 0
    starts: list[int] = []
    while position < len(lines):
        before = position
        position, why = _run(lines, position, delimiter, batch.records, starts)
        if not why:
            continue
        unfinished = "unexpected end" in why and not last
        if unfinished and sum(map(len, lines[position:])) <= limit("line"):
            rest.text = "".join(lines[position:]) + rest.text
            break
        batch.bad.append(_bad(lines[position], rest.line + position, why))
        position = max(position, before) + 1
    batch.lines = np.asarray(starts, np.int64) + rest.line
    rest.line += position
    return batch


def _run(lines: list[str], start: int, delimiter: str, records: list[Record], starts: list[int]) -> tuple[int, str]:
    """Read records from a line on until the end ('') or an error (its words); the line reached."""
    remaining = (lines[index] for index in range(start, len(lines)))
    reader = csv.reader(remaining, delimiter=delimiter, strict=True)
    done = 0
    try:
        for record in reader:
            records.append(record)
            starts.append(start + done)
            done = reader.line_num
    except csv.Error as error:
        return start + done, str(error)
    return start + done, ""


def _bad(line: str, number: int, why: str) -> BadRow:
    if len(line) > limit("field"):
        reason = f"a field of the row has more than {limit('field'):,} characters"
        return BadRow(number, "ROW_FIELD_TOO_LONG", reason, text=line[: limit("quarantine_text")])
    reason = f"the quotes of the row do not match ({why})"
    return BadRow(number, "ROW_QUOTE", reason, text=line.rstrip("\r\n")[: limit("quarantine_text")])


def _overlong(rest: _Rest) -> Iterator[Batch]:
    """Give up a line without an end that outgrew the limit; its remainder is skipped by the caller's next block."""
    if len(rest.text) > limit("line"):
        rest.text = rest.text[: limit("line") + 1]
    return iter(())


def _with_last(blocks: Iterable[str]) -> Iterator[tuple[str, bool]]:
    previous: str | None = None
    for block in blocks:
        if previous is not None:
            yield previous, False
        previous = block
    if previous is not None:
        yield previous, True


def _without(blocks: Iterable[str], skip_lines: int, rest: _Rest) -> Iterator[str]:
    """The blocks without their first physical lines, which fit the first block."""
    for index, block in enumerate(blocks):
        if index or not skip_lines:
            yield block
            continue
        lines = list(io.StringIO(block, newline=""))
        rest.line += skip_lines
        yield "".join(lines[skip_lines:])


def _cut(text: str) -> int:
    """The end of the last complete line of a text, 0 where there is none."""
    newline = text.rfind("\n")
    if newline >= 0:
        return newline + 1
    return text.rfind("\r", 0, len(text) - 1) + 1
