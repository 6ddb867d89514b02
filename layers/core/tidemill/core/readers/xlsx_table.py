"""An Excel workbook as a table: its first visible sheet, streamed into text that is then read as any CSV is.

Nothing of a workbook is evaluated: a formula counts with the value that the program which saved it stored beside it.
"""

from __future__ import annotations

import contextlib
import csv
import datetime as dt
import re
import shutil
import tempfile
import weakref
import zipfile
from collections import Counter
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any
from xml.parsers import expat

from tidemill.core.errors import BadTable
from tidemill.core.limits import MIB, limit
from tidemill.core.readers import streams
from tidemill.core.readers.chunks import Chunk, Warned
from tidemill.core.readers.csv_table import CsvTable

_REFERENCE = re.compile(r"([A-Z]{1,3})([0-9]{1,7})")
_DATES = frozenset({*range(14, 23), *range(27, 37), *range(45, 48), *range(50, 59)})  # Excel's own date formats
_QUOTED = re.compile(r'"[^"]*"|\[[^\]]*\]|\\.')
_EPOCH = dt.datetime(1899, 12, 30)
_SEEN = 5  # rows looked at to tell a title from a header


class XlsxTable:
    """The first visible sheet of a workbook, read from its start as often as wanted."""

    text = ""

    def __init__(self, path: Path) -> None:
        folder = tempfile.mkdtemp(prefix="tidemill-xlsx-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        copied = Path(folder) / "sheet.csv"
        try:
            with zipfile.ZipFile(path) as book:
                _check_size(book, path.stat().st_size)
                sheets, place = _sheets(book)
                sheet = Sheet(_shared(book), _date_styles(book))
                with copied.open("w", newline="", encoding="utf-8") as file:
                    sheet.write(_blocks(book, place), csv.writer(file))
        except (zipfile.BadZipFile, expat.ExpatError, KeyError, ValueError, NotImplementedError, RuntimeError) as error:
            raise _corrupt() from error
        head = streams.head_of(copied, False, limit("line") + 1)
        if not head:
            raise BadTable("The first sheet is empty.", code="EMPTY_FILE", remedy="Upload a table with rows.")
        self._table = CsvTable(copied, False, head)
        self.names, self.given = self._table.names, self._table.given
        self.warnings = self._table.warnings
        self.facts: dict[str, Any] = {**self._table.facts, "format": "xlsx", "sheet": sheets[0]}
        self._warn(sheets, sheet.unsaved)

    def chunks(self) -> Iterator[Chunk]:
        """The rows as chunks of text columns."""
        self._table.text = self.text
        return self._table.chunks()

    def _warn(self, sheets: list[str], unsaved: Counter[int]) -> None:
        if len(sheets) > 1:
            message = f"The workbook has {len(sheets)} sheets; only the first visible one, {sheets[0]!r}, is read."
            remedy = "Move the table to the first sheet, or save its sheet as CSV."
            self.warnings.append(Warned("WARN_MULTIPLE_SHEETS", message, remedy=remedy))
        for column, count in sorted(unsaved.items()):
            name = self.names[column] if column < len(self.names) else f"column {column + 1}"
            message = f"{count:,} cells of {name!r} are formulas without a stored value; they are read as missing."
            remedy = "Open the workbook in Excel and save it, or paste the column as values."
            self.warnings.append(Warned("COLUMN_FORMULA", message, name, remedy))


class Sheet:
    """Turns the XML of a sheet into rows of text."""

    def __init__(self, shared: list[str], dates: list[bool]) -> None:
        self.shared, self.dates = shared, dates
        self.unsaved: Counter[int] = Counter()  # formulas without a value, by column
        self.width = self.height = 0
        self.row: dict[int, str] = {}
        self.ready: list[list[str]] = []
        self.first: list[tuple[int, int]] = []  # number and filled cells of the first rows
        self.column, self.kind, self.style, self.formula, self.text = 0, "", 0, False, ""
        self.inside = False

    def write(self, blocks: Generator[bytes, None, None], out: Any) -> None:
        """Every row that has a cell, as CSV."""
        for block in _parse(blocks, self._start, self._end, self._data):
            del block
            out.writerows([*row, *[""] * (self.width - len(row))] for row in self.ready)
            self.ready.clear()
        self._check_title()

    def _start(self, tag: str, given: dict[str, str]) -> None:
        if tag == "c":
            self._place(given.get("r", ""))
            self.kind, self.style = given.get("t", "n"), int(given.get("s") or 0)
            self.formula, self.text = False, ""
        elif tag == "row":
            self.row, self.column = {}, -1
        elif tag == "f":
            self.formula = True
        self.inside = tag in ("v", "t")

    def _data(self, text: str) -> None:
        if self.inside:
            self.text += text

    def _end(self, tag: str) -> None:
        self.inside = False
        if tag == "c":
            if self.formula and not self.text:
                self.unsaved[self.column] += 1
            if self.text:
                self.row[self.column] = self._cell()
        elif tag == "row" and self.row:
            self._add()

    def _add(self) -> None:
        self.width = self.width or max(self.row) + 1
        self.ready.append([self.row.get(at, "") for at in range(max(self.row) + 1)])
        if len(self.first) < _SEEN:
            self.first.append((self.height, len(self.row)))
            self._check_title(last=False)

    def _place(self, reference: str) -> None:
        found = _REFERENCE.fullmatch(reference)
        if found:
            letters, row = found.groups()
            self.column = -1
            for letter in letters:
                self.column = (self.column + 1) * 26 + ord(letter) - ord("A")
            self.height = max(self.height, int(row))
        else:
            self.column += 1
        if (cells := (self.column + 1) * self.height) > limit("sheet_cells"):
            raise BadTable(
                f"The sheet reaches to {reference}: {cells:,} cells; the limit is {limit('sheet_cells'):,}.",
                code="TOO_MANY_CELLS",
                remedy="Delete what lies far outside the table, or save the table as CSV.",
            )

    def _cell(self) -> str:
        if self.kind == "s":
            return self.shared[int(self.text)]
        if self.kind == "b":
            return "true" if self.text == "1" else "false"
        if self.kind == "e":
            return ""  # #N/A, #DIV/0! and their like say that there is no value
        if self.kind == "n" and self.style < len(self.dates) and self.dates[self.style]:
            return _day(self.text)
        return self.text

    def _check_title(self, last: bool = True) -> None:
        """A sheet whose first row has one cell and whose next rows have more begins with a title."""
        if len(self.first) > 1 and self.first[0][1] == 1 and (wider := [n for n, cells in self.first if cells > 1]):
            raise BadTable(
                f"Row {self.first[0][0]} of the sheet holds a title, not the names of columns; "
                f"row {wider[0]} looks like the header.",
                code="HEADER_MISSING",
                remedy="Delete the rows above the header.",
            )


def _check_size(book: zipfile.ZipFile, packed: int) -> None:
    total = sum(info.file_size for info in book.infolist())
    most = max(limit("expansion_ratio") * packed, limit("expansion_floor"))
    if total > most or total > limit("expanded"):
        raise BadTable(
            f"{packed:,} bytes of workbook unpack to {total:,}.",
            code="EXPANSION_RATIO",
            remedy="Save the table as CSV or Parquet.",
        )


def _sheets(book: zipfile.ZipFile) -> tuple[list[str], str]:
    """The names of the sheets, the first visible one first, and where that one is."""
    found: list[tuple[str, str, bool]] = []
    targets: dict[str, str] = {}

    def sheet(tag: str, given: dict[str, str]) -> None:
        if tag == "sheet":
            found.append((given["name"], given.get("id", ""), given.get("state", "visible") == "visible"))

    def relation(tag: str, given: dict[str, str]) -> None:
        if tag == "Relationship":
            targets[given["Id"]] = given["Target"]

    list(_parse(_blocks(book, "xl/workbook.xml"), sheet))
    list(_parse(_blocks(book, "xl/_rels/workbook.xml.rels"), relation))
    found.sort(key=lambda item: not item[2])
    target = targets[found[0][1]] if found else ""
    return [name for name, _, _ in found], target.removeprefix("/") if target.startswith("/") else f"xl/{target}"


def _shared(book: zipfile.ZipFile) -> list[str]:
    """The texts that cells refer to by number."""
    texts: list[str] = []
    inside = [False, False]  # in a <t>; in a phonetic hint, which is no text of the cell

    def start(tag: str, _: dict[str, str]) -> None:
        if tag == "si":
            texts.append("")
        inside[0], inside[1] = tag == "t", inside[1] or tag == "rPh"

    def end(tag: str) -> None:
        inside[0], inside[1] = False, inside[1] and tag != "rPh"

    def data(text: str) -> None:
        if inside[0] and not inside[1] and texts:
            texts[-1] += text

    if "xl/sharedStrings.xml" in book.namelist():
        list(_parse(_blocks(book, "xl/sharedStrings.xml"), start, end, data))
    return texts


def _date_styles(book: zipfile.ZipFile) -> list[bool]:
    """For each style of a cell whether it shows a number as a day."""
    own: dict[int, bool] = {}
    styles: list[bool] = []
    within: list[str] = []

    def start(tag: str, given: dict[str, str]) -> None:
        if tag == "numFmt":
            shown = _QUOTED.sub("", given.get("formatCode", "")).lower()
            own[int(given["numFmtId"])] = bool(re.search("[dy]|h.*m|m.*s", shown))
        elif tag == "xf" and "cellXfs" in within:
            code = int(given.get("numFmtId") or 0)
            styles.append(own.get(code, code in _DATES))
        within.append(tag)

    def end(tag: str) -> None:
        within.pop()

    if "xl/styles.xml" in book.namelist():
        list(_parse(_blocks(book, "xl/styles.xml"), start, end))
    return styles


def _day(text: str) -> str:
    try:
        when = _EPOCH + dt.timedelta(days=float(text))
    except (ValueError, OverflowError):
        return text
    whole = when.time() == dt.time()
    return when.date().isoformat() if whole else when.replace(microsecond=0).isoformat(" ")


def _blocks(book: zipfile.ZipFile, name: str) -> Generator[bytes, None, None]:
    with book.open(name) as member:
        while block := member.read(MIB):
            yield block


def _parse(blocks: Generator[bytes, None, None], start: Any, end: Any = None, data: Any = None) -> Iterator[None]:
    """Feed a parser that knows no entities; one step a block, so that what was read can be written in between."""
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = _no_doctype
    parser.StartElementHandler = lambda tag, given: start(
        tag.rpartition(":")[2], {name.rpartition(":")[2]: value for name, value in given.items()}
    )
    if end:
        parser.EndElementHandler = lambda tag: end(tag.rpartition(":")[2])
    if data:
        parser.CharacterDataHandler = data
    with contextlib.closing(blocks):
        for block in blocks:
            parser.Parse(block, False)
            yield
    parser.Parse(b"", True)
    yield


def _no_doctype(*_: Any) -> None:
    raise BadTable(
        "The workbook's XML declares a document type, which no spreadsheet program writes.",
        code="XLSX_UNSAFE_XML",
        remedy="Save the workbook anew with a spreadsheet program, or as CSV.",
    )


def _corrupt() -> BadTable:
    return BadTable(
        "The workbook cannot be read: it is cut, packed in an unknown way, or encrypted.",
        code="XLSX_CORRUPT",
        remedy="Save it anew without a password, or as CSV.",
    )
