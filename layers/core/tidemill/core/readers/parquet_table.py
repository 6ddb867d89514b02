"""Parquet as a table: its footer is checked against the limits before any page is read."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.readers.chunks import BadRow, Chunk, Warned, name_columns

_MAGIC, _ENCRYPTED = b"PAR1", b"PARE"
_EXTENSION = b"ARROW:extension:name"


class ParquetTable:
    """A Parquet file, read batch by batch."""

    def __init__(self, path: Path) -> None:
        self._path = path
        _check_footer(path)
        with _opened(path) as file:
            _check_sizes(file.metadata, path.stat().st_size)
            schema = file.schema_arrow
            self._batch_rows = _batch_rows(file.metadata)
        _check_types(schema)
        self.warnings: list[Warned] = []
        self.text = ""
        leaves = [leaf for field in schema for leaf in _leaves(field, (), self.warnings)]
        named = name_columns([".".join(route) for route, _ in leaves])
        self.warnings += named.warnings
        self.names, self.given = named.names, named.given
        self._routes = _indexed(schema, leaves)
        self.facts: dict[str, Any] = {"format": "parquet", "packed": False, "header": True}

    def chunks(self) -> Iterator[Chunk]:
        """The rows as chunks of text columns."""
        first = 1
        with _opened(self._path) as file:
            batches = file.iter_batches(batch_size=self._batch_rows, use_threads=False)
            while (batch := next(batches, None)) is not None:
                columns = [_as_text(_follow(batch, route)) for route in self._routes]
                rows = np.arange(first, first + batch.num_rows, dtype=np.int64)
                first += batch.num_rows
                yield _without_long(Chunk(self.names, rows, columns), self.text)


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        if isinstance(error, FileNotFoundError | PermissionError):
            raise
        raise BadTable(
            f"The Parquet file cannot be read: {str(error).splitlines()[0][:160]}",
            code="PARQUET_CORRUPT",
            remedy="Write and upload the file again.",
        ) from error


def _check_footer(path: Path) -> None:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(4)
        file.seek(max(0, size - 8))
        tail = file.read()
    if _ENCRYPTED in (head, tail[-4:]):
        raise BadTable("The Parquet file is encrypted.", code="PARQUET_ENCRYPTED", remedy="Upload it decrypted.")
    length = int.from_bytes(tail[:4], "little")
    if len(tail) < 8 or tail[-4:] != _MAGIC or length + 12 > size:
        raise BadTable(
            "The Parquet file has no complete footer; it is cut or damaged.",
            code="PARQUET_CORRUPT",
            remedy="Write and upload the file again.",
        )
    if length > limit("parquet_footer"):
        raise BadTable(
            f"The Parquet footer has {length:,} bytes; the limit is {limit('parquet_footer'):,}.",
            code="TOO_MANY_COLUMNS",
            remedy="Write fewer columns and larger row groups.",
        )


def _check_sizes(metadata: Any, size: int) -> None:
    if metadata.num_columns > limit("columns"):
        raise BadTable(
            f"The table has {metadata.num_columns:,} columns; the limit is {limit('columns'):,}.",
            code="TOO_MANY_COLUMNS",
            remedy="Leave out columns, or turn wide one-hot columns back into one category column.",
        )
    if metadata.num_rows > limit("rows"):
        raise BadTable(
            f"The table has {metadata.num_rows:,} rows; the limit is {limit('rows'):,}.",
            code="TOO_MANY_ROWS",
            remedy="Upload a sample, or split the file.",
        )
    groups = [metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups)]
    total, largest = sum(groups), max(groups, default=0)
    if total > max(limit("expansion_ratio") * size, limit("expansion_floor")) or total > limit("expanded"):
        raise BadTable(
            f"{size:,} bytes of Parquet unpack to {total:,}; the limit is {limit('expansion_ratio')} times.",
            code="EXPANSION_RATIO",
            remedy="Leave out what repeats.",
        )
    if largest > limit("parquet_group"):
        raise BadTable(
            f"A row group has {largest:,} bytes; the limit is {limit('parquet_group'):,}.",
            code="PARQUET_GROUP_TOO_LARGE",
            remedy="Write smaller row groups.",
        )


def _batch_rows(metadata: Any) -> int:
    """Rows a batch, so that a batch stays within its bytes as text (about 20 a cell when the footer says less)."""
    rows = max(1, metadata.num_rows)
    total = sum(metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
    width = max(total / rows, 20 * metadata.num_columns)
    return int(max(1, min(limit("chunk_rows"), limit("chunk") / width)))


def _check_types(schema: Any) -> None:
    for field in schema:
        metadata = field.metadata or {}
        if _EXTENSION in metadata or isinstance(field.type, pa.BaseExtensionType):
            raise BadTable(
                f"The column {field.name[:80]!r} has an extension type, which is not read.",
                code="PARQUET_EXTENSION_TYPE",
                remedy="Write the column with a plain type.",
            )


def _leaves(field: Any, route: tuple[str, ...], warnings: list[Warned]) -> list[tuple[tuple[str, ...], Any]]:
    """The columns that can be read in a field: itself, or the members of a struct."""
    route = (*route, field.name)
    name, kind = ".".join(route)[: limit("column_name")], field.type
    if pa.types.is_struct(kind) and len(route) <= limit("json_depth"):
        warnings.append(Warned("COLUMN_NESTED", f"{name!r} is a struct; its members are columns of their own.", name))
        return [leaf for index in range(kind.num_fields) for leaf in _leaves(kind.field(index), route, warnings)]
    if pa.types.is_nested(kind):
        warnings.append(Warned("COLUMN_NESTED", f"{name!r} holds {kind}; it is left out.", name))
        return []
    if not _is_readable(kind):
        warnings.append(Warned("COLUMN_UNSUPPORTED_TYPE", f"{name!r} is of type {kind}; it is left out.", name))
        return []
    return [(route, kind)]


def _is_readable(kind: Any) -> bool:
    types = pa.types
    if types.is_dictionary(kind):
        return _is_readable(kind.value_type)
    checks = (
        types.is_integer,
        types.is_floating,
        types.is_boolean,
        types.is_decimal,
        types.is_string,
        types.is_large_string,
        types.is_date,
        types.is_timestamp,
        types.is_null,
    )
    return any(check(kind) for check in checks)


def _indexed(schema: Any, leaves: list[tuple[tuple[str, ...], Any]]) -> list[tuple[int, tuple[str, ...]]]:
    """For each leaf the place of its top field (names may repeat) and the way down from there."""
    routes: list[tuple[int, tuple[str, ...]]] = []
    remaining = list(leaves)
    for place, field in enumerate(schema):
        count = len(_leaves(field, (), []))
        routes += [(place, route[1:]) for route, _ in remaining[:count]]
        remaining = remaining[count:]
    return routes


def _follow(batch: Any, route: tuple[int, tuple[str, ...]]) -> Any:
    column = batch.column(route[0])
    for member in route[1]:
        column = pc.struct_field(column, member)
    return column


def _as_text(column: Any) -> Any:
    """A column as the text a person would write; timestamps in ISO, in UTC."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _as_text(column.dictionary_decode())
    if pa.types.is_string(kind):
        return column
    if pa.types.is_timestamp(kind):
        if kind.tz:
            column = column.cast(pa.timestamp(kind.unit, "UTC")).cast(pa.timestamp(kind.unit))
        return pc.cast(column.cast(pa.timestamp("us"), safe=False), pa.string())
    if pa.types.is_float16(kind):
        column = column.cast(pa.float32())
    if pa.types.is_decimal(kind):
        column = column.cast(pa.float64())
    return column.cast(pa.string())


def _without_long(chunk: Chunk, free: str) -> Chunk:
    """A chunk without rows that hold a cell past the limit, but in the column `free`."""
    wrong = np.zeros(len(chunk.rows), bool)
    for name, column in zip(chunk.names, chunk.columns, strict=True):
        if name != free and len(column) and (pc.max(pc.binary_length(column)).as_py() or 0) > limit("field"):
            wrong |= pc.greater(pc.utf8_length(column), limit("field")).fill_null(False).to_numpy(zero_copy_only=False)
    if not wrong.any():
        return chunk
    reason = f"a cell has more than {limit('field'):,} characters"
    bad = [BadRow(int(row), "ROW_FIELD_TOO_LONG", reason) for row in chunk.rows[wrong]]
    keep = pa.array(~wrong)
    return Chunk(chunk.names, chunk.rows[~wrong], [column.filter(keep) for column in chunk.columns], bad)
