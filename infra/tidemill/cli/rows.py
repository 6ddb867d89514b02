"""Reads rows for predict and explain: from the command line, a CSV or JSON lines file, or standard input."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path
from typing import Any

import click

from tidemill.cli.failures import NoFile
from tidemill.core.errors import BadRequest

Row = dict[str, Any]
# A request carries far less than the limits of body and answer.
AT_ONCE = {"predict": 500, "explain": 100}  # rows of a table, texts
PICTURES_AT_ONCE = {"predict": 64, "explain": 4}  # five large ones are explained at once
BYTES_AT_ONCE = 4_500_000  # of the texts and pictures in the rows


def read_rows(row: str | None, file: str | None) -> list[Row]:
    """The rows that were given; exactly one of the two ways."""
    if (row is None) == (file is None):
        raise click.UsageError("Give either --row '{...}' or --file PATH ('-' reads standard input).")
    if row is not None:
        return [_object(row, "--row")]
    name = str(file)
    text = _text(name)
    rows = _csv(text) if _is_csv(name, text) else _json_lines(text, name)
    if not rows:
        raise BadRequest(f"{name} has no rows.", code="NO_ROWS", remedy="Give at least one row.")
    return rows


def batches(rows: list[Row], verb: str = "predict") -> list[list[Row]]:
    """The rows in portions that one request may carry."""
    portions: list[list[Row]] = []
    size = 0
    for row in rows:
        most = (PICTURES_AT_ONCE if "picture" in row or "key" in row else AT_ONCE)[verb]
        length = sum(len(cell.encode(errors="replace")) for cell in row.values() if isinstance(cell, str))
        if not portions or len(portions[-1]) >= most or size + length > BYTES_AT_ONCE:
            portions.append([])
            size = 0
        portions[-1].append(row)
        size += length
    return portions


def _text(name: str) -> str:
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        return raw.decode("utf-8-sig")
    except OSError as error:
        raise NoFile(f"{name} cannot be read ({error.strerror}).", remedy="Check the path.") from error
    except UnicodeDecodeError as error:
        raise BadRequest(f"{name} is not UTF-8.", code="BAD_ROWS", remedy="Save it as UTF-8.") from error


def _is_csv(name: str, text: str) -> bool:
    return name.lower().endswith((".csv", ".tsv")) or not text.lstrip().startswith(("{", "["))


def _csv(text: str) -> list[Row]:
    """Cells stay text (the API reads numbers in text); an empty cell is no value."""
    first = text.partition("\n")[0]
    delimiter = max(",;\t|", key=lambda sign: first.count(sign))
    found = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        rows = list(found)
    except csv.Error as error:
        raise BadRequest(f"Line {found.line_num}: {error}.", code="BAD_ROWS", remedy="Check the quotes.") from error
    for place, row in enumerate(rows, start=1):
        if None in row or None in row.values():
            raise BadRequest(
                f"Row {place} has another number of cells than the header has names.",
                code="BAD_ROWS",
                remedy="Give every row as many cells as the header.",
            )
    return [{str(name): cell if cell != "" else None for name, cell in row.items()} for row in rows]


def _json_lines(text: str, name: str) -> list[Row]:
    """One object a line, or one list of objects."""
    if text.lstrip().startswith("["):
        value = _parsed(text, name)
        return [_checked(item, f"{name}, row {place}") for place, item in enumerate(value, start=1)]
    lines = [(place, line) for place, line in enumerate(text.splitlines(), start=1) if line.strip()]
    return [_object(line, f"{name}, line {place}") for place, line in lines]


def _object(text: str, where: str) -> Row:
    return _checked(_parsed(text, where), where)


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequest(
            f"{where} is not JSON: {error}.", code="BAD_ROWS", remedy='Write an object: {"age": 39, "job": "clerk"}.'
        ) from error


def _checked(value: Any, where: str) -> Row:
    if not isinstance(value, dict):
        raise BadRequest(
            f"{where} is {type(value).__name__}, not an object.", code="BAD_ROWS", remedy='Write {"column": value}.'
        )
    return value
