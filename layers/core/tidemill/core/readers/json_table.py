"""JSON as a table: an array of objects, an object of columns, or one object a line."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.readers import json_text, streams
from tidemill.core.readers.chunks import BadRow, Chunk, Warned
from tidemill.core.readers.flat import Flattener
from tidemill.core.readers.json_text import BadJson

Item = tuple[int, Any]  # a record's number and its value, or the BadRow it became
_SPACE = re.compile(r"[ \t\r\n]*")


class JsonTable:
    """A JSON file, read from its start as often as wanted."""

    def __init__(self, path: Path, packed: bool, head: bytes) -> None:
        self._path, self._packed = path, packed
        text = head.decode("utf-8", "replace").removeprefix("\ufeff").lstrip()
        if not text:
            raise BadTable("The file is empty.", code="EMPTY_FILE", remedy="Upload records, one object each.")
        self._layout = _layout(text, whole=len(head) <= limit("line"))
        self.facts: dict[str, Any] = {
            "format": "json",
            "packed": packed,
            "layout": self._layout,
            "encoding": "utf-8",
            "header": True,
        }
        self.warnings: list[Warned] = []
        self.text = ""

    def chunks(self) -> Iterator[Chunk]:
        """The records as chunks of text columns; later chunks may have more columns."""
        flat = Flattener(self.warnings, self.text)
        numbers: list[int] = []
        bad: list[BadRow] = []
        strange = read = 0
        for number, value in self._items():
            read += 1
            if isinstance(value, BadRow):
                bad.append(value)
            elif not isinstance(value, dict):
                strange += 1
                reason = f"the record is {_kind(value)}, not an object"
                bad.append(BadRow(number, "ROW_JSON", reason, text=str(value)[: limit("quarantine_text")]))
            elif (problem := flat.add(value)) is not None:
                bad.append(BadRow(number, problem[0], problem[1], problem[2]))
            else:
                numbers.append(number)
            if len(numbers) + len(bad) >= limit("chunk_rows") or flat.size >= limit("chunk"):
                yield self._chunk(flat, numbers, bad)
                numbers, bad = [], []
        if strange > 0.05 * read:
            raise _shape(f"{strange:,} of {read:,} records are not objects.")
        yield self._chunk(flat, numbers, bad)
        flat.report()

    def _chunk(self, flat: Flattener, numbers: list[int], bad: list[BadRow]) -> Chunk:
        names, columns = flat.take()
        return Chunk(names, np.asarray(numbers, np.int64), [pa.array(c, pa.string()) for c in columns], bad)

    def _items(self) -> Iterator[Item]:
        if self._layout == "lines":
            return _lines(streams.blocks(self._path, self._packed))
        if self._layout == "records":
            return _records(_text(self._path, self._packed))
        return _columns(self._whole())

    def _whole(self) -> Any:
        parts, size = [], 0
        for text in _text(self._path, self._packed):
            parts.append(text)
            size += len(text)
            if size > limit("json_document"):
                raise BadTable(
                    f"The JSON document has more than {limit('json_document'):,} characters and is no list of records.",
                    code="JSON_TOO_LARGE",
                    remedy="Write one object a line (JSON Lines).",
                )
        return json_text.loads("".join(parts))


def _layout(text: str, whole: bool) -> str:
    """records: an array of objects; lines: an object a line; columns: an object of columns."""
    if text[0] == "[":
        return "records"
    if text[0] != "{":
        if whole:
            json_text.loads(text)
        raise _shape("The JSON is neither a list nor an object.")
    first = re.split(r"[\r\n]", text, maxsplit=1)[0].strip()
    try:
        value = json_text.loads(first)
    except BadJson:
        return "lines" if first.endswith("}") and not whole_is_one(text, whole) and "\n" in text.strip() else "document"
    several = bool(text[len(first) :].strip())
    return "lines" if several or not _is_columns(value) else "document"


def whole_is_one(text: str, whole: bool) -> bool:
    """Whether a text is one JSON document, as far as it can be seen."""
    if not whole:
        return False
    try:
        json_text.loads(text)
    except BadJson:
        return False
    return True


def _is_columns(value: Any) -> bool:
    return isinstance(value, dict) and bool(value) and all(isinstance(item, (list, dict)) for item in value.values())


def _text(path: Path, packed: bool) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")("strict")
    try:
        for block in streams.blocks(path, packed):
            yield decoder.decode(block)
        yield decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        raise BadJson("The file is not valid UTF-8.", remedy="Save it as UTF-8.") from error


def _lines(content: Iterable[bytes]) -> Iterator[Item]:
    """One object a line; a line that is none is set aside."""
    rest, number = b"", 0
    for block in content:
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            number += 1
            if line.strip():
                yield number, _line(line, number)
        if len(rest) > 2 * limit("line"):
            rest = rest[: limit("line") + 1]
    if rest.strip():
        yield number + 1, _line(rest, number + 1)


def _line(line: bytes, number: int) -> Any:
    shown = line[: limit("quarantine_text")].decode("utf-8", "backslashreplace").strip()
    if len(line) > limit("line"):
        return BadRow(number, "ROW_FIELD_TOO_LONG", f"the line has more than {limit('line'):,} bytes", text=shown)
    try:
        return json_text.loads(line.decode("utf-8-sig" if number == 1 else "utf-8"))
    except UnicodeDecodeError:
        return BadRow(number, "ROW_JSON", "the line is not valid UTF-8", text=shown)
    except BadJson as error:
        return BadRow(number, "ROW_JSON", error.message, text=shown)


def _records(texts: Iterator[str]) -> Iterator[Item]:
    """The elements of a JSON array, one by one, so that the array need not fit in memory."""
    window, number = _Window(texts), 0
    window.expect("[")
    if window.peek() == "]":
        window.expect("]")
    else:
        while True:
            number += 1
            yield number, window.value()
            if window.peek() == "]":
                window.expect("]")
                break
            window.expect(",")
    if window.peek():
        raise BadJson("There is text after the end of the list.", remedy="One document a file.")


class _Window:
    """A piece of a long text that moves forward while values are read from it."""

    def __init__(self, texts: Iterator[str]) -> None:
        self._texts, self._text, self._place, self._passed = texts, "", 0, 0

    def peek(self) -> str:
        """The next character that is not space; '' at the end."""
        while True:
            match = _SPACE.match(self._text, self._place)
            self._place = match.end() if match else self._place
            if self._place < len(self._text):
                return self._text[self._place]
            if not self._more():
                return ""

    def expect(self, character: str) -> None:
        """Pass one character."""
        if (found := self.peek()) != character:
            where = self._passed + self._place
            raise BadJson(
                f"Expected {character!r} at character {where}, found {found!r}.",
                remedy="Repair the JSON.",
                position=where,
            )
        self._place += 1

    def value(self) -> Any:
        """The next value."""
        self.peek()
        while True:
            try:
                value, end = json_text.decode(self._text, self._place)
            except BadJson as error:
                hopeless = error.code != "JSON_INVALID" or len(self._text) - self._place > limit("line")
                if hopeless or not self._more():
                    raise self._located(error) from error
                continue
            if end == len(self._text) and self._more():
                continue  # a number may go on in the next piece
            self._place = end
            return value

    def _located(self, error: BadJson) -> BadJson:
        """The error with its place in the whole text, not in the window."""
        where = self._passed + int(error.details.get("position", self._place))
        message = f"{error.message.split(' at line ')[0].rstrip('.')} at character {where:,}."
        return BadJson(message, code=error.code, remedy=error.remedy, position=where)

    def _more(self) -> bool:
        text = next(self._texts, None)
        if text is None:
            return False
        self._text, self._passed, self._place = self._text[self._place :] + text, self._passed + self._place, 0
        return True


def _columns(value: Any) -> Iterator[Item]:
    """An object of columns, or an object with one list of records, record by record."""
    if isinstance(value, dict) and len(value) == 1:
        only = next(iter(value.values()))
        if isinstance(only, list) and only and all(isinstance(item, dict) for item in only):
            yield from enumerate(only, start=1)
            return
    if not _is_columns(value):
        raise _shape("The JSON object holds no columns.")
    keys: dict[Any, None] = {}
    lists = {}
    for name, column in value.items():
        lists[name] = dict(enumerate(column)) if isinstance(column, list) else column
        keys.update(dict.fromkeys(lists[name]))
    lengths = {len(column) for column in lists.values()}
    if len(lengths) > 1:
        raise _shape(f"The columns have different lengths ({', '.join(map(str, sorted(lengths)[:5]))}).")
    for number, key in enumerate(keys, start=1):
        yield number, {name: column.get(key) for name, column in lists.items()}


def _kind(value: Any) -> str:
    names = {list: "a list", str: "a string", bool: "true or false", type(None): "null"}
    return names.get(type(value), "a number")


def _shape(message: str) -> BadTable:
    return BadTable(message, code="JSON_SHAPE", remedy="Write a list of objects, or one object a line.")
