"""Tables read from bytes written for one test."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tidemill.core.readers.chunks import BadRow
from tidemill.core.readers.opening import open_table


@dataclass
class Read:
    """Everything a reader gave, in one piece."""

    names: tuple[str, ...]
    rows: list[tuple[Any, ...]]
    lines: list[int]
    bad: list[BadRow]
    warnings: list[str]
    facts: dict[str, Any]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., Read]:
    """Write bytes (or text as UTF-8) to a file and read it as a table."""

    def reading(content: bytes | str, filename: str = "table.csv") -> Read:
        path = tmp_path / "upload"
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        table = open_table(path, filename)
        names: tuple[str, ...] = ()
        result = Read((), [], [], [], [], table.facts)
        for chunk in table.chunks():
            names = chunk.names
            columns = [column.to_pylist() for column in chunk.columns]
            result.rows += zip(*columns, strict=True)
            result.lines += chunk.rows.tolist()
            result.bad += chunk.bad
        result.names = names
        result.warnings = [warned.code for warned in table.warnings]
        return result

    return reading
