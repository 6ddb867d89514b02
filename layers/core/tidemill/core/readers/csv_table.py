"""Delimited text as a table: encoding, delimiter and header are found, rows that do not fit are set aside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tidemill.core.errors import BadTable
from tidemill.core.limits import MIB, limit
from tidemill.core.readers import dialect, encoding, records, streams
from tidemill.core.readers.chunks import BadRow, Chunk, Warned, name_columns

_MARKS = re.compile(
    r"[\u0300-\u036f\u0483-\u0489\u0591-\u05bd\u0610-\u061a\u064b-\u065f\u1ab0-\u1aff\u1dc0-\u1dff"
    r"\u20d0-\u20ff\ufe20-\ufe2f]+"
)


class CsvTable:
    """A delimited text file, read from its start as often as wanted."""

    def __init__(self, path: Path, packed: bool, head: bytes) -> None:
        encoding.check_text(head[: 64 * 1024])
        first = self._first_text(head)
        if not first.strip("\ufeff \t\r\n"):
            self._refuse_blank(path, packed, head)
        self._path, self._packed = path, packed
        dialect._check_first_line(first)
        self._encoding = encoding.detect(head, streams.blocks(path, packed))
        whole = len(head) < limit("line") + 1
        self._dialect = dialect.find(self._sample(), whole)
        named = name_columns(self._dialect.header)
        self.names, self.given = named.names, named.given
        self.text = ""
        self.warnings: list[Warned] = [*named.warnings, *self._encoding_warnings()]
        self.facts: dict[str, Any] = {
            "format": "csv",
            "packed": packed,
            "encoding": "windows-1252" if self._encoding.codec == "cp1252" else self._encoding.codec,
            "encoding_found": self._encoding.how,
            "delimiter": self._dialect.delimiter,
            "header": True,
            "header_lines": self._dialect.skipped_lines,
        }

    @staticmethod
    def _first_text(head: bytes) -> str:
        codec = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "latin-1"
        return head.decode(codec, "replace").removeprefix("ï»¿")

    @staticmethod
    def _refuse_blank(path: Path, packed: bool, head: bytes) -> None:
        raise BadTable(
            f"The file is empty ({len(head):,} bytes of nothing).",
            code="EMPTY_FILE",
            remedy="Upload a table with a header and rows.",
        )

    def _sample(self) -> str:
        parts, size = [], 0
        for text in encoding.decoded(streams.blocks(self._path, self._packed), self._encoding):
            parts.append(text)
            size += len(text)
            if size > limit("line"):
                break
        return "".join(parts)[: limit("line") + 1]

    def _encoding_warnings(self) -> list[Warned]:
        if self._encoding.how != "guessed":
            return []
        name = "windows-1252" if self._encoding.codec == "cp1252" else self._encoding.codec
        message = f"The file is not UTF-8; it was read as {name}, which is a guess."
        return [Warned("ENCODING_GUESSED", message, remedy="Look at the text; if it is wrong, save the file as UTF-8.")]

    def chunks(self) -> Iterator[Chunk]:
        """The rows as chunks of text columns."""
        text = encoding.decoded(streams.blocks(self._path, self._packed, 4 * MIB), self._encoding)
        ended = ""
        widest = limit("line") if self.text else None
        for batch in records.batches(
            text, self._dialect.delimiter, self._dialect.skipped_lines, len(self.names), widest
        ):
            ended = batch.text[-1:] or ended
            if batch.columns is not None:
                yield from self._plain_chunks(batch)
                continue
            for start in range(0, len(batch.records) or 1, limit("chunk_rows")):
                part = slice(start, start + limit("chunk_rows"))
                bad = batch.bad if start == 0 else []
                yield self._chunk(batch.records[part], batch.lines[part].tolist(), batch.text, bad)
        if ended not in ("\n", "\r", ""):
            message = "The file does not end with a line break; the upload may have been cut."
            self.warnings.append(
                Warned("NO_FINAL_LINE_BREAK", message, remedy="Compare the last rows with the source.")
            )

    def _plain_chunks(self, batch: records.Batch) -> Iterator[Chunk]:
        """A block that was read as columns at once; only cells past their limit can be wrong with it."""
        columns = batch.columns or []
        if (long := _overlong(columns, batch.text, self._free)) is not None and len(long):
            rows = [list(cells) for cells in zip(*(column.to_pylist() for column in columns), strict=True)]
            yield self._chunk(rows, batch.lines.tolist(), batch.text, [])
            return
        for start in range(0, len(batch.lines), limit("chunk_rows")):
            part = [column.slice(start, limit("chunk_rows")) for column in columns]
            yield Chunk(self.names, batch.lines[start : start + limit("chunk_rows")], part)

    def _chunk(self, rows: list[list[str]], lines: list[int], text: str, bad: list[BadRow]) -> Chunk:
        bad = list(bad)
        width = len(self.names)
        if any(len(row) != width for row in rows):
            rows, lines = self._fitting(rows, lines, bad)
        if "\x00" in text:
            rows, lines = self._without(rows, lines, bad, _has_nul, _NUL)
        if self._encoding.broken and encoding.undecoded(text):
            rows, lines = self._without(rows, lines, bad, encoding.undecoded, _UNDECODED)
        columns = _columns(rows, width)
        if (long := _overlong(columns, text, self._free)) is not None and len(long):
            chosen = set(long.tolist())
            bad += [_too_long(lines[index], rows[index]) for index in sorted(chosen)]
            keep = [index for index in range(len(rows)) if index not in chosen]
            rows, lines = [rows[index] for index in keep], [lines[index] for index in keep]
            columns = _columns(rows, width)
        return Chunk(self.names, np.asarray(lines, np.int64), columns, bad)

    def _fitting(self, rows: list[list[str]], lines: list[int], bad: list[BadRow]) -> tuple[list[list[str]], list[int]]:
        width = len(self.names)
        good: list[list[str]] = []
        kept: list[int] = []
        for row, line in zip(rows, lines, strict=True):
            cells = row
            if len(row) > width and not "".join(row[width:]).strip():
                cells = row[:width]
            if len(cells) == width:
                good.append(cells)
                kept.append(line)
            elif len(row) > 1 or (row and row[0].strip()):
                bad.append(
                    BadRow(line, "ROW_RAGGED", f"the row has {len(row)} fields, not {width}", text=self._joined(row))
                )
        return good, kept

    def _without(
        self, rows: list[list[str]], lines: list[int], bad: list[BadRow], wrong: Any, why: tuple[str, str]
    ) -> tuple[list[list[str]], list[int]]:
        good: list[list[str]] = []
        kept: list[int] = []
        for row, line in zip(rows, lines, strict=True):
            column = next((index for index, cell in enumerate(row) if wrong(cell)), None)
            if column is None:
                good.append(row)
                kept.append(line)
            else:
                bad.append(BadRow(line, why[0], why[1], self.names[column], self._joined(row)))
        return good, kept

    @property
    def _free(self) -> int | None:
        """The place of the column whose cells may be of any length."""
        return self.names.index(self.text) if self.text in self.names else None

    def _joined(self, row: list[str]) -> str:
        return joined(row, self._dialect.delimiter)


def _has_nul(cell: str) -> bool:
    return "\x00" in cell


_NUL = ("ROW_NUL_BYTE", "the cell holds a NUL byte")
_UNDECODED = ("ROW_ENCODING", "the cell holds bytes that are not text in the file's encoding")


def joined(cells: list[str], delimiter: str = ",") -> str:
    """A row as one line of text for the quarantine, cut."""
    return delimiter.join(cell[: limit("quarantine_text")] for cell in cells[:200])[: limit("quarantine_text")]


def _columns(rows: list[list[str]], width: int) -> list[Any]:
    if not rows:
        return [pa.array([], pa.string()) for _ in range(width)]
    return [pa.array(cells, pa.string()) for cells in zip(*rows, strict=True)]


def _overlong(columns: list[Any], text: str, free: int | None) -> np.ndarray | None:
    """The rows with a cell past the limit, but in the column `free`, or more marks on a letter than scripts have."""
    if not columns or not len(columns[0]):
        return None
    found: list[np.ndarray] = []
    plain = text.isascii()
    for place, column in enumerate(columns):
        lengths = pc.binary_length(column)
        longest = pc.max(lengths).as_py() or 0
        if longest > limit("field") and place != free:
            found.append(np.flatnonzero(pc.greater(pc.utf8_length(column), limit("field")).to_numpy(False)))
        if longest > 2 * limit("marks") and not plain:
            suspects = np.flatnonzero(lengths.to_numpy(zero_copy_only=False) > 2 * limit("marks"))
            stacked = [index for index in suspects if _stacked(column[int(index)].as_py())]
            found.append(np.asarray(stacked, np.int64))
    return np.unique(np.concatenate(found)) if found else None


def _stacked(cell: str) -> bool:
    return any(len(run) > limit("marks") for run in _MARKS.findall(cell))


def _too_long(line: int, row: list[str]) -> BadRow:
    reason = f"a cell has more than {limit('field'):,} characters, or more than {limit('marks')} marks on one letter"
    return BadRow(line, "ROW_FIELD_TOO_LONG", reason, text=joined(row))
