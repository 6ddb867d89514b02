"""How a text file is laid out: its delimiter and its header, found from its first lines."""

from __future__ import annotations

import csv
import io
import re
from collections import Counter
from dataclasses import dataclass

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit

DELIMITERS = (",", ";", "\t", "|")
SAMPLE_RECORDS = 200
_SEP_LINE = re.compile(r'"?sep=(.)"?[ \t]*$', re.IGNORECASE)
_NUMBER = re.compile(r"[+-]?(?:\d+(?:[.,]\d+)*|\.\d+)(?:[eE][+-]?\d+)?%?")
_YEAR = re.compile(r"(?:19|20|21)\d\d")
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}(?:[ T].*)?")


@dataclass(frozen=True)
class Dialect:
    """A text file's delimiter and header, and how many physical lines stand before the first row."""

    delimiter: str
    header: list[str]
    skipped_lines: int


def find(sample: str, whole: bool) -> Dialect:
    """The layout of a text file from its first characters (`whole`: there are no more)."""
    _check_first_line(sample)
    delimiter, offset = _sep_line(sample)
    lines = _lines(sample, whole)[offset:]
    delimiter = delimiter or _delimiter(lines)
    records, header_lines = _records(lines, delimiter)
    if not records and max(map(len, lines), default=0) > csv.field_size_limit():
        raise BadTable(
            f"A name in the first line has more than {csv.field_size_limit():,} characters.",
            code="COLUMN_NAME_TOO_LONG",
            remedy=f"Column names have at most {limit('column_name')} characters.",
        )
    if not records:
        raise BadTable("The file holds no text.", code="EMPTY_FILE", remedy="Upload a table with a header and rows.")
    header = records[0]
    if len(header) > limit("columns"):
        raise BadTable(
            f"The header names {len(header):,} columns; the limit is {limit('columns'):,}.",
            code="TOO_MANY_COLUMNS",
            remedy="Leave out columns, or turn wide one-hot columns back into one category column.",
        )
    header = _without_phantom(header, records[1:])
    _check_header(header, records[1:])
    return Dialect(delimiter, header, offset + header_lines)


def _check_first_line(sample: str) -> None:
    end = re.search(r"[\r\n]", sample)
    if (end.start() if end else len(sample)) > limit("line"):
        raise BadTable(
            f"The first line has more than {limit('line'):,} characters.",
            code="LINE_TOO_LONG",
            remedy="Write one row a line, with line breaks between rows.",
        )


def _lines(sample: str, whole: bool) -> list[str]:
    lines = list(io.StringIO(sample, newline=""))
    return lines if whole or len(lines) < 2 else lines[:-1]


def _sep_line(sample: str) -> tuple[str, int]:
    first = sample.splitlines()[0] if sample.splitlines() else ""
    match = _SEP_LINE.fullmatch(first.strip("\ufeff"))
    return (match[1], 1) if match else ("", 0)


def _records(lines: list[str], delimiter: str) -> tuple[list[list[str]], int]:
    """The first records that can be read, and the number of lines up to the end of the first."""
    records: list[list[str]] = []
    first_end = 0
    reader = csv.reader(lines, delimiter=delimiter)
    try:
        for record in reader:
            if len(record) > 1 or (record and record[0].strip()):
                first_end = first_end or reader.line_num
                records.append(record)
            if len(records) > SAMPLE_RECORDS:
                break
    except csv.Error:
        pass  # what was read so far is enough to see the layout; the reader proper reports the line
    return records, first_end


def _delimiter(lines: list[str]) -> str:
    scores = {}
    for rank, delimiter in enumerate(DELIMITERS):
        records, _ = _records(lines[: SAMPLE_RECORDS * 2], delimiter)
        widths = Counter(len(record) for record in records[1:] or records)
        if not widths:
            continue
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
        if width < 2 and len(records[0]) < 2:
            continue
        share = count / widths.total() if width > 1 else 0.0
        scores[delimiter] = (share + 0.5 * (len(records[0]) == width), width, -rank)
    return max(scores, key=lambda delimiter: scores[delimiter]) if scores else ","


def _without_phantom(header: list[str], rows: list[list[str]]) -> list[str]:
    """The header without a last empty name that no row has a field for."""
    phantom = len(header) > 1 and not header[-1].strip() and rows and all(len(row) < len(header) for row in rows)
    return header[:-1] if phantom else header


def _check_header(header: list[str], rows: list[list[str]]) -> None:
    if not rows:
        return
    width, count = Counter(map(len, rows)).most_common(1)[0]
    extra_empty = all(not "".join(row[len(header) :]).strip() for row in rows)
    if width != len(header) and count >= 0.9 * len(rows) and not extra_empty:
        _refuse_width(header, rows, width)
    if _looks_like_data(header, [row for row in rows if len(row) == len(header)]):
        raise BadTable(
            f"The first line looks like data, not like column names: {_shown(header)}.",
            code="HEADER_MISSING",
            remedy="Add a first line with a name for every column.",
        )


def _refuse_width(header: list[str], rows: list[list[str]], width: int) -> None:
    if len([cell for cell in header if cell.strip()]) == 1 and width > 1 and rows[0] and len(rows[0]) == width:
        raise BadTable(
            f"The first line is a title ({_shown(header)}); the next looks like the header: {_shown(rows[0])}.",
            code="HEADER_MISSING",
            remedy="Delete the lines above the column names.",
        )
    raise BadTable(
        f"The header names {len(header)} columns, but the rows have {width} fields.",
        code="HEADER_MISMATCH",
        remedy="Name every column, row names included, and leave no field without a name.",
    )


def _looks_like_data(header: list[str], rows: list[list[str]]) -> bool:
    """Whether a header is made of values: numbers above numbers, or words that its own columns hold."""
    if len(rows) < 2:
        return False
    cells = [cell.strip() for cell in header]
    if cells == [str(number) for number in range(len(cells))] or all(_YEAR.fullmatch(cell) for cell in cells if cell):
        return False
    votes = [_vote(cell, [row[index].strip() for row in rows]) for index, cell in enumerate(cells) if cell]
    for_data, against = votes.count(1), votes.count(-1)
    return for_data > 0 and for_data > against


def _vote(cell: str, below: list[str]) -> int:
    """1: the cell is like the values below it; -1: it is unlike them; 0: no telling."""
    values = [value for value in below if value]
    if not values:
        return 0
    like_number = [pattern for pattern in (_NUMBER, _DATE) if pattern.fullmatch(cell)]
    numbers = sum(bool(_NUMBER.fullmatch(value) or _DATE.fullmatch(value)) for value in values)
    if like_number:
        return 0 if _YEAR.fullmatch(cell) else (1 if numbers > 0.8 * len(values) else 0)
    if numbers > 0.8 * len(values):
        return -1
    if cell in values:
        return 1
    return -1 if len(set(values)) < 0.5 * len(values) else 0


def _shown(cells: list[str]) -> str:
    text = ", ".join(repr(cell[:20]) for cell in cells[:4])
    return text + (", ..." if len(cells) > 4 else "")
