"""quarantine.parquet: every row that is not used, with where it stood, why, and what it looked like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.readers.chunks import BadRow

SCHEMA = pa.schema(
    [
        ("row", pa.int64()),
        ("code", pa.string()),
        ("column", pa.string()),
        ("reason", pa.string()),
        ("text", pa.string()),
    ]
)
FILE = "quarantine.parquet"
# What the specification or the missing label sets aside is no fault of the file and does not count as bad; neither do
# members of an archive that nobody has looked into.
POLICY = frozenset({"MISSING_TARGET", "MISSING_VALUE", "DUPLICATE_ROW", "CLASS_TOO_SMALL"}) | {
    *("ROW_EMPTY", "ROW_TEXT_EMPTY", "MEMBER_NAME", "MEMBER_NESTED_ARCHIVE")
}
_BUFFER = 2_000
_HOPELESS = 20_000


class Quarantine:
    """The rows set aside so far, written in bounded pieces."""

    def __init__(self, folder: Path) -> None:
        self._writer = pq.ParquetWriter(folder / FILE, SCHEMA, compression="zstd")
        self._buffer: list[BadRow] = []
        self.codes: Counter[str] = Counter()
        self.examples: dict[str, BadRow] = {}

    @property
    def count(self) -> int:
        """How many rows are set aside."""
        return self.codes.total()

    @property
    def bad(self) -> int:
        """How many of them are the file's fault."""
        return sum(count for code, count in self.codes.items() if code not in POLICY)

    def add(self, rows: Iterable[BadRow]) -> None:
        """Set rows aside."""
        for row in rows:
            self.codes[row.code] += 1
            self.examples.setdefault(row.code, row)
            self._buffer.append(row)
            if len(self._buffer) >= _BUFFER:
                self._flush()

    def check(self, read: int, fraction: float, final: bool) -> None:
        """Raise BadTable where more rows are bad than may be (before the end: where that is certain to stay so)."""
        too_many = self.bad > fraction * read + 1e-9 if final else self.bad > max(_HOPELESS, 0.5 * read)
        if not too_many:
            return
        code, worst = max(
            ((code, count) for code, count in self.codes.items() if code not in POLICY), key=lambda item: item[1]
        )
        example = self.examples[code]
        raise BadTable(
            f"{self.bad:,} of {read:,} rows cannot be used ({worst:,} times {code}; the first is row {example.row:,}: "
            f"{example.reason[: limit('reason_text')]}).",
            code="TOO_MANY_BAD_ROWS",
            remedy=f"Repair the file, or raise [preprocess] max_bad_fraction (now {fraction:g}).",
            bad_rows=self.bad,
            rows_read=read,
            codes=dict(sorted(self.codes.items())),
        )

    def close(self) -> None:
        """Write what is left."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if not self._buffer:
            return
        rows, self._buffer = self._buffer, []
        columns: dict[str, list[Any]] = {name: [getattr(row, name) for row in rows] for name in SCHEMA.names}
        columns["text"] = [text.encode("utf-8", "backslashreplace").decode() for text in columns["text"]]
        self._writer.write_table(pa.table(columns, schema=SCHEMA))
