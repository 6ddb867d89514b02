"""Open a file as a table: its content decides the reader, and must agree with its name."""

from __future__ import annotations

from pathlib import Path

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.readers import sniff, streams
from tidemill.core.readers.chunks import Table


def open_table(path: Path, filename: str) -> Table:
    """The table in a file; raises BadTable where it is none, or where it breaks a limit that shows at once."""
    size = path.stat().st_size
    if size > limit("upload"):
        raise BadTable(
            f"The file has {size:,} bytes; the limit is {limit('upload'):,}.",
            code="FILE_TOO_LARGE",
            remedy="Upload fewer rows, or Parquet.",
        )
    raw = streams.head_of(path, False, 64 * 1024)
    if not raw:
        raise BadTable("The file has 0 bytes.", code="EMPTY_FILE", remedy="Upload a table with a header and rows.")
    packed = sniff.check_packing(raw, filename)
    head = streams.head_of(path, packed, limit("line") + 1)
    return _reader(path, sniff.choose(head, filename, packed), packed, head)


def _reader(path: Path, kind: str, packed: bool, head: bytes) -> Table:
    if kind == sniff.PARQUET:
        from tidemill.core.readers.parquet_table import ParquetTable

        return ParquetTable(path)
    if kind == sniff.XLSX:
        from tidemill.core.readers.xlsx_table import XlsxTable

        return XlsxTable(path)
    if kind == sniff.JSON:
        from tidemill.core.readers.json_table import JsonTable

        return JsonTable(path, packed, head)
    from tidemill.core.readers.csv_table import CsvTable

    return CsvTable(path, packed, head)
