"""Put rows that were predicted and then labelled below the rows of an upload, as one Parquet file of text.

Cells are written as the upload's own reader gave them, so that the same row keeps its hash, and with it its split.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.core.errors import BadTable, SchemaMismatch
from tidemill.core.features.cells import reader
from tidemill.core.labelled import Labelled
from tidemill.core.limits import limit
from tidemill.core.prepare.dates import COMPACT
from tidemill.core.readers.archive import open_archive
from tidemill.core.readers.chunks import Table
from tidemill.core.readers.opening import open_table

Cell = Callable[[Any], str | None]


def merge(source: Path, filename: str, schema: dict[str, Any], labelled: Sequence[Labelled], out: Path) -> int:
    """Write the rows of an upload and the labelled ones to `out`; how many labelled ones could be written.

    Raises BadTable for an archive of files: its rows are no table that others could be put below.
    """
    if open_archive(source, filename) is not None:
        raise BadTable(
            f"{filename} is an archive of files; labelled requests cannot be put into it.",
            code="FEEDBACK_NOT_MERGED",
            remedy="Upload an archive that has the new files too.",
        )
    text = next((item["name"] for item in schema["columns"] if item["kind"] == "text"), "")
    names = _names(_opened(source, filename, text))
    fields = pa.schema([(name, pa.string()) for name in names])
    written = _cells(labelled, schema)
    with pq.ParquetWriter(out, fields, compression="zstd") as writer:
        for chunk in _opened(source, filename, text).chunks():
            held = dict(zip(chunk.names, chunk.columns, strict=True))
            nothing = pa.nulls(len(chunk.rows), pa.string())
            writer.write_table(pa.Table.from_arrays([held.get(name, nothing) for name in names], schema=fields))
        step = limit("chunk_rows")
        for start in range(0, len(written), step):
            writer.write_table(pa.Table.from_pylist(written[start : start + step], schema=fields))
    return len(written)


def _opened(source: Path, filename: str, text: str) -> Table:
    table = open_table(source, filename)
    table.text = text
    return table


def _names(table: Table) -> list[str]:
    """Every column of a table, in the order they first come: records of JSON may bring new ones late."""
    names: dict[str, None] = {}
    for chunk in table.chunks():
        names.update(dict.fromkeys(chunk.names))
    return list(names)


def _cells(labelled: Sequence[Labelled], schema: dict[str, Any]) -> list[dict[str, str | None]]:
    """Labelled rows as the text that a person would have written into the file; what does not fit stays out."""
    writers = {
        item["name"]: writer_of(item, schema) for item in schema["columns"] if item["role"] in ("feature", "target")
    }
    found = []
    for item in labelled:
        try:
            row = {**item.row, schema["target"]: item.label}
            found.append({name: write(row.get(name)) for name, write in writers.items()})
        except (SchemaMismatch, ValueError, OverflowError):
            continue  # the recipe reads the column differently by now
    return found


def writer_of(column: dict[str, Any], schema: dict[str, Any]) -> Cell:
    """How a value of a request is written in a column's cells."""
    name, kind = column["name"], column["kind"]
    if kind == "text":
        return lambda value: None if value is None else str(value)
    if kind == "category":
        levels = schema["labels"] if column["role"] == "target" else column.get("levels") or []
        as_level = reader("category", name, set(levels))
        return lambda value: as_level([value])[0]
    as_number = reader(kind, name, compact=column.get("order") == COMPACT)
    if kind == "datetime":
        shape = "%Y%m%d" if column.get("order") == COMPACT else "%Y-%m-%dT%H:%M:%S.%fZ"
        return lambda value: _moment(as_number([value])[0], shape)
    return lambda value: _number(as_number([value])[0], bool(column.get("decimal_comma")))


def _moment(seconds: float, shape: str) -> str | None:
    return None if math.isnan(seconds) else datetime.fromtimestamp(seconds, UTC).strftime(shape)


def _number(value: float, comma: bool) -> str | None:
    if math.isnan(value):
        return None
    text = str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
    return text.replace(".", ",") if comma else text
