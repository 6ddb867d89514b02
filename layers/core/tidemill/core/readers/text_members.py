"""Text files, one a row: what an archive of class folders holds, as a table of text, file and label."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.readers import encoding
from tidemill.core.readers.chunks import BadRow, Chunk, Warned

TEXT, FILE, LABEL = "text", "file", "label"
_HEAD_BYTES = 64 * 1024  # by which a file is told to be text


class TextMembers:
    """Numbered and named contents of text files; `members` starts them anew, for they are read as often as wanted.

    `aside` are members that cannot be read, and `label` is what the column of labels is called.
    """

    def __init__(
        self,
        members: Callable[[], Iterable[tuple[int, str, bytes]]],
        label_of: Callable[[int, str], str | None],
        aside: Sequence[BadRow] = (),
        label: str = LABEL,
    ) -> None:
        self._members, self._label_of, self._aside = members, label_of, aside
        self.names = self.given = (TEXT, FILE, label)
        self.text = TEXT
        self.warnings: list[Warned] = []
        self.facts: dict[str, Any] = {"format": "texts", "packed": True, "header": False}
        self._guessed = 0

    def chunks(self) -> Iterator[Chunk]:
        """The files as chunks of rows, in order; those that are no text are set aside."""
        self._guessed = 0
        rows: list[tuple[str, str, str | None]] = []
        numbers: list[int] = []
        bad: list[BadRow] = list(self._aside)
        size = 0
        for number, name, content in self._members():
            try:
                rows.append((self._decoded(content), name, self._label_of(number, name)))
            except BadTable as error:
                bad.append(BadRow(number, error.code, error.message, TEXT, name[: limit("quarantine_text")]))
                continue
            numbers.append(number)
            size += len(rows[-1][0])
            if len(rows) >= limit("chunk_rows") or size >= limit("chunk"):
                yield self._chunk(rows, numbers, bad)
                rows, numbers, bad, size = [], [], [], 0
        if self._guessed:
            message = f"{self._guessed:,} files are not UTF-8; how they were read is a guess."
            self.warnings.append(Warned("ENCODING_GUESSED", message, TEXT, "Save them as UTF-8."))
        if rows or bad:
            yield self._chunk(rows, numbers, bad)

    def _decoded(self, content: bytes) -> str:
        """The text of a file, no longer than it takes to see that it is too long; raises BadTable where it is none."""
        head = content[:_HEAD_BYTES]
        encoding.check_text(head)
        found = encoding.detect(head, [content])
        text = "".join(encoding.decoded([content], found))
        if encoding.undecoded(text):
            raise BadTable("The file holds bytes that are no text.", code="ROW_ENCODING", remedy="Save it as UTF-8.")
        self._guessed += found.how == "guessed"
        return text[: limit("text") + 1]

    def _chunk(self, rows: list[tuple[str, str, str | None]], numbers: list[int], bad: list[BadRow]) -> Chunk:
        columns = [pa.array([row[place] for row in rows], pa.string()) for place in range(len(self.names))]
        return Chunk(self.names, np.asarray(numbers, np.int64), columns, bad)
