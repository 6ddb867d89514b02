"""What every reader gives: a table of facts, and chunks of cells as text with the rows that could not be read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit

_UNUSABLE = re.compile("[\x00\ud800-\udfff]")  # NUL, and bytes that did not decode


@dataclass(frozen=True)
class BadRow:
    """A row set aside: where it stands in the file, why, and what it looked like."""

    row: int
    code: str
    reason: str
    column: str | None = None
    text: str = ""


@dataclass(frozen=True)
class Warned:
    """Something a person should know about the table, with a stable code."""

    code: str
    message: str
    column: str | None = None
    remedy: str = ""

    def to_json(self) -> dict[str, Any]:
        """The warning as the profile stores it."""
        return {"code": self.code, "column": self.column, "message": self.message, "remedy": self.remedy}


@dataclass(frozen=True)
class Chunk:
    """Some rows: their line or record numbers, one string array per name, and the rows set aside among them."""

    names: tuple[str, ...]
    rows: np.ndarray
    columns: list[Any]
    bad: list[BadRow] = field(default_factory=list)


class Table(Protocol):
    """A file that was recognised as a table and can be read from its start, chunk by chunk."""

    facts: dict[str, Any]
    warnings: list[Warned]
    text: str  # the column whose cells may be longer than others, for they are texts that will be cut; or empty

    def chunks(self) -> Iterator[Chunk]:
        """Every row of the file, in order, once."""
        ...


@dataclass(frozen=True)
class Named:
    """The names a table goes by: as used, and for each the one the file had."""

    names: tuple[str, ...]
    given: tuple[str, ...]
    warnings: list[Warned]


def name_columns(given: list[str]) -> Named:
    """Usable names from a header: trimmed, NFC, none empty, none twice; raises where there are too many or too long."""
    if len(given) > limit("columns"):
        raise BadTable(
            f"The table has {len(given):,} columns; the limit is {limit('columns'):,}.",
            code="TOO_MANY_COLUMNS",
            remedy="Leave out columns, or turn wide one-hot columns back into one category column.",
        )
    warnings: list[Warned] = []
    trimmed = [_clean_name(name, index, warnings) for index, name in enumerate(given, start=1)]
    return Named(tuple(_unique(trimmed, warnings)), tuple(trimmed), warnings)


def _clean_name(name: str, index: int, warnings: list[Warned]) -> str:
    clean = _UNUSABLE.sub("\ufffd", unicodedata.normalize("NFC", name)).strip().strip("\ufeff")
    if len(clean) > limit("column_name"):
        raise BadTable(
            f"The name of column {index} has {len(clean):,} characters ({clean[:40]!r}...).",
            code="COLUMN_NAME_TOO_LONG",
            remedy=f"Column names have at most {limit('column_name')} characters.",
        )
    if not clean:
        clean = f"column_{index}"
        warnings.append(Warned("COLUMN_EMPTY_NAME", f"Column {index} has no name; it is called {clean}.", clean))
    elif clean != name:
        warnings.append(Warned("COLUMN_NAME_TRIMMED", f"The name {name[:80]!r} is read as {clean!r}.", clean))
    return clean


def _unique(names: list[str], warnings: list[Warned]) -> list[str]:
    taken, result = set(names), []
    seen: set[str] = set()
    for name in names:
        final, count = name, 2
        if name in seen or name.startswith(("__row", "__hash")):
            while (final := f"{name}__{count}") in taken:
                count += 1
            code = "COLUMN_DUPLICATE_NAME" if name in seen else "COLUMN_RESERVED_NAME"
            warnings.append(
                Warned(code, f"The name {name!r} cannot be used again; the column is called {final!r}.", final)
            )
        seen.add(name)
        taken.add(final)
        result.append(final)
    return result
