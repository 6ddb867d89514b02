"""Records of named values as columns of text: nested objects become dotted names, lists are set aside."""

from __future__ import annotations

import unicodedata
from typing import Any

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.readers.chunks import Warned

Problem = tuple[str, str, str | None]
_NESTED = (dict, list)


class Flattener:
    """Collects records into columns; columns may appear late and are empty before."""

    def __init__(self, warnings: list[Warned], free: str = "") -> None:
        self._warnings = warnings
        self._columns: dict[str, list[str | None]] = {}
        self._paths: dict[tuple[str, ...], str] = {}
        self._tops: dict[str, str] = {}
        self._most = limit("field")
        self._free = free  # the column whose cells may be of any length
        self._rows = 0
        self._nested: set[str] = set()
        self._lists: set[str] = set()
        self._nul: dict[str, int] = {}
        self.size = 0

    def add(self, record: dict[str, Any]) -> Problem | None:
        """Take in a record, or say why it cannot be taken."""
        cells: list[tuple[str, str]] = []
        for key, value in record.items():
            if type(value) in _NESTED:
                for path, leaf in _leaves({key: value}, ()):
                    self._add_cell(cells, self._name(path), leaf)
            else:
                self._add_cell(cells, self._tops.get(key) or self._top(key), value)
        for name, text in cells:
            if len(text) > self._most and name != self._free:
                return "ROW_FIELD_TOO_LONG", f"the value has more than {self._most:,} characters", name
        for name, text in cells:
            column = self._columns[name]
            if len(column) < self._rows:
                column.extend([None] * (self._rows - len(column)))
            column.append(text)
            self.size += len(text) + 8
        self._rows += 1
        return None

    def _add_cell(self, cells: list[tuple[str, str]], name: str, value: Any) -> None:
        if value is None:
            return
        if type(value) is list:
            self._lists.add(name)
            return
        text = value if type(value) is str else as_text(value)
        if "\x00" in text:
            self._nul[name] = self._nul.get(name, 0) + 1
            text = text.replace("\x00", "\ufffd")
        cells.append((name, text))

    def _top(self, key: str) -> str:
        self._tops[key] = self._name((key,))
        return self._tops[key]

    def take(self) -> tuple[tuple[str, ...], list[list[str | None]]]:
        """The columns collected since the last call, all of one length."""
        for column in self._columns.values():
            column.extend([None] * (self._rows - len(column)))
        names, columns = tuple(self._columns), list(self._columns.values())
        self._columns = {name: [] for name in names}
        self._rows = self.size = 0
        return names, columns

    def report(self) -> None:
        """Say what was nested, set aside or replaced."""
        for name in sorted(self._lists):
            self._warnings.append(Warned("COLUMN_NESTED", f"{name!r} holds lists; it is left out.", name))
        for name in sorted(self._nested):
            self._warnings.append(
                Warned("COLUMN_NESTED", f"{name!r} holds objects; their values are columns of their own.", name)
            )
        for name, count in sorted(self._nul.items()):
            message = f"{count:,} values of {name!r} hold NUL characters, which were replaced."
            self._warnings.append(Warned("VALUE_NUL", message, name))

    def _name(self, path: tuple[str, ...]) -> str:
        if (known := self._paths.get(path)) is not None:
            return known
        name = (
            unicodedata.normalize("NFC", ".".join(path)).replace("\x00", "").strip() or f"column_{len(self._paths) + 1}"
        )
        if len(name) > limit("column_name"):
            raise BadTable(
                f"A column name has {len(name):,} characters ({name[:40]!r}...).",
                code="COLUMN_NAME_TOO_LONG",
                remedy=f"Column names have at most {limit('column_name')} characters.",
            )
        taken, final, count = set(self._paths.values()), name, 2
        while final in taken or final.startswith(("__row", "__hash")):
            final, count = f"{name}__{count}".lstrip("_") if name.startswith("__") else f"{name}__{count}", count + 1
        if final != name:
            self._warnings.append(Warned("COLUMN_DUPLICATE_NAME", f"Another {name!r} is called {final!r}.", final))
        self._paths[path] = final
        self._columns[final] = []
        if len(self._paths) > limit("columns"):
            raise BadTable(
                f"The records have more than {limit('columns'):,} different keys.",
                code="TOO_MANY_COLUMNS",
                remedy="Leave out keys, or turn wide one-hot keys back into one category.",
            )
        if len(path) > 1:
            self._nested.add(path[0])
        return final


def _leaves(record: dict[str, Any], path: tuple[str, ...]) -> list[tuple[tuple[str, ...], Any]]:
    leaves: list[tuple[tuple[str, ...], Any]] = []
    for key, value in record.items():
        if isinstance(value, dict):
            leaves += _leaves(value, (*path, key))
        else:
            leaves.append(((*path, key), value))
    return leaves


def as_text(value: str | bool | int | float) -> str:
    """A JSON value as the text a person would write."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return repr(value)
