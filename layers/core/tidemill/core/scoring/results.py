"""What comes back of a scored file: predictions in the format of the file, rows set aside as CSV, part by part.

Axes: n rows, k labels.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as compute
import pyarrow.csv as pc
import pyarrow.parquet as pq

from tidemill.core.limits import limit
from tidemill.core.readers.chunks import BadRow
from tidemill.core.scoring.blocks import CSV, JSONL, PARQUET, Block
from tidemill.core.scoring.inputs import remedy_of

Array = np.ndarray[Any, Any]
CONTENT = {CSV: "text/csv; charset=utf-8", JSONL: "application/jsonl", PARQUET: "application/vnd.apache.parquet"}
REJECTS = ("row", "code", "column", "sentence", "remedy")
DIGITS = 7  # what float32 holds
_PLAIN = pc.WriteOptions(include_header=False)
# What a spreadsheet would compute gets an apostrophe, as OWASP advises; numbers and telephone numbers stay as they are
# (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA, _NUMBER = r"^[=+\-@\t\r]", r"^[+\-][\d\s().,/\-]*$"


def table_of(
    block: Block, keep: Array, carried: Sequence[str], version: int, score_nk: Array, labels: Sequence[str], rule: Any
) -> Any:
    """The rows that were scored, as an Arrow table: row, identifiers, version, and what was predicted.

    `rule` is the place of the label to act on and the probability from which to act, or None.
    """
    kept, count = pa.array(keep), len(score_nk)
    columns: dict[str, Any] = {"row": pa.array(block.rows[keep])}
    predicted = {"version": pa.array(np.full(count, version)), **_predicted(score_nk, labels, rule)}
    for name in carried:
        cells = block.columns.get(name)
        cells = pa.nulls(count, pa.string()) if cells is None else cells.filter(kept).cast(pa.string())
        columns[_free(name, [*columns, *predicted])] = cells
    return pa.table({**columns, **predicted})


def _predicted(score_nk: Array, labels: Sequence[str], rule: Any) -> dict[str, Any]:
    """The columns of what was predicted, with the numbers that the API shows."""
    if not labels:
        return {"value": pa.array([float(f"{value:.{DIGITS}g}") for value in score_nk[:, 0].tolist()], pa.float64())}
    best_n = score_nk.argmax(axis=1).astype(np.int32)
    shown_nk = np.round(score_nk.astype(np.float64), DIGITS)
    found = {"label": pa.DictionaryArray.from_arrays(best_n, pa.array(labels, pa.string())).cast(pa.string())}
    if len(labels) <= limit("score_labels"):
        found |= {f"probability:{label}": pa.array(shown_nk[:, k]) for k, label in enumerate(labels)}
    else:
        found["probability"] = pa.array(np.take_along_axis(shown_nk, best_n[:, None], 1)[:, 0])
    if rule is not None:
        place, threshold = rule
        found["act"] = pa.array(score_nk[:, place] >= threshold)
    return found


def _free(name: str, taken: Sequence[str]) -> str:
    """A carried column's name that no other column has."""
    final, count = name, 2
    while final in taken:
        final, count = f"{name}__{count}", count + 1
    return final


def packed(table: Any, kind: str) -> bytes:
    """A part of the predictions: CSV without its header, lines of JSON, or a Parquet file."""
    if kind == JSONL:
        lines = [json.dumps(row, ensure_ascii=False) for row in table.to_pylist()]
        return "".join(f"{line}\n" for line in lines).encode()
    stream = io.BytesIO()
    if kind == PARQUET:
        pq.write_table(table, stream, compression="zstd")
    else:
        columns = [_escaped(column) if pa.types.is_string(column.type) else column for column in table.columns]
        pc.write_csv(pa.table(columns, table.column_names), stream, _PLAIN)
    return stream.getvalue()


def header(names: Sequence[str], kind: str) -> bytes:
    """What stands before the parts."""
    return _line([_escaped(pa.array(names, pa.string())).to_pylist()]) if kind == CSV else b""


def packed_rejects(bad: Iterable[BadRow]) -> bytes:
    """Rows that were set aside: where they stand, why, and what to do. What stood in them is not repeated."""
    rows = list(bad)
    names = _escaped(pa.array([row.column or "" for row in rows], pa.string())).to_pylist()
    told = zip(rows, names, strict=True)
    return _line((row.row, row.code, name, _sentence(row), remedy_of(row.code)) for row, name in told)


def _escaped(cells: Any) -> Any:
    """Texts of which none is taken for a formula."""
    formula, number = (compute.match_substring_regex(cells, pattern) for pattern in (_FORMULA, _NUMBER))
    return compute.if_else(compute.and_not(formula, number), compute.binary_join_element_wise("'", cells, ""), cells)


def _sentence(row: BadRow) -> str:
    sentence = row.reason[:1].upper() + row.reason[1:]
    return sentence if sentence.endswith(".") else f"{sentence}."


def _line(rows: Iterable[Sequence[Any]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def join_parquet(parts: Iterable[bytes], path: Path) -> None:
    """Parts, each a Parquet file, as one file with a row group of each."""
    writer = None
    try:
        for part in parts:
            table = pq.read_table(io.BytesIO(part))
            writer = writer or pq.ParquetWriter(path, table.schema, compression="zstd")
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


class Joined(io.RawIOBase):
    """Pieces of bytes read as one stream, which knows its size and hash once it is read; holds one piece at a time."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, memoryview(b"")
        self._digest, self.size_bytes = hashlib.sha256(), 0

    @property
    def sha256(self) -> str:
        """The hex SHA-256 of what was read so far."""
        return self._digest.hexdigest()

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Any) -> int:
        """The next bytes; 0 at the end."""
        while not self._rest:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._digest.update(self._rest[:count])
        self.size_bytes += count
        self._rest = self._rest[count:]
        return count
