"""A file to be scored as blocks of rows, in the file's order, the same blocks whenever it is read.

That they are the same is what a resumed scoring stands on: block n of the first reading is block n of every other.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.readers import members
from tidemill.core.readers.archive import Archive, open_archive
from tidemill.core.readers.chunks import BadRow, Chunk
from tidemill.core.readers.members import Listing
from tidemill.core.readers.opening import open_table
from tidemill.core.readers.text_members import FILE, TEXT, TextMembers

PICTURE, TABLE = "picture", "table"
CSV, JSONL, PARQUET = "csv", "jsonl", "parquet"
_WRITTEN = {"csv": CSV, "json": JSONL, "parquet": PARQUET}
BLOCK_ROWS = {TABLE: "score_rows", TEXT: "score_texts", PICTURE: "score_pictures"}


@dataclass(frozen=True)
class Block:
    """Some rows: where they stand in the file, their cells by column, and the rows that could not be read.

    Cells are Arrow arrays of text; the one column of pictures is a list of bytes.
    """

    rows: np.ndarray
    columns: Mapping[str, Any]
    bad: list[BadRow] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The rows of the file that it speaks of."""
        return len(self.rows) + len(self.bad)


@dataclass(frozen=True)
class Opened:
    """A file that was recognised: what its results are written as (csv, jsonl or parquet), and its blocks, once."""

    format: str
    blocks: Iterator[Block]


def open_request(path: Path, filename: str, modality: str, column: str) -> Opened:
    """A file for a model of this modality; `column` is what it reads, where it reads one only.

    Raises BadTable where the file is none that such a model reads.
    """
    archive = open_archive(path, filename)
    if modality == PICTURE:
        return Opened(CSV, _pictures(_needed(archive, filename), column))
    if modality == TABLE and archive is not None:
        raise BadTable(
            f"{filename} is an archive; the model reads rows of a table.",
            code="WRONG_MODALITY",
            remedy="Send the table itself, as CSV, JSON Lines or Parquet.",
        )
    if archive is not None:
        return Opened(CSV, _sliced(_texts(archive), TEXT, {TEXT: column}))
    table = open_table(path, filename)
    table.text = column if modality == TEXT else ""
    return Opened(_WRITTEN[table.facts["format"]], _sliced(table.chunks(), modality, {}))


def _sliced(chunks: Iterator[Chunk], modality: str, renamed: Mapping[str, str]) -> Iterator[Block]:
    """Chunks cut into what is scored at once; the rows set aside go with the first piece."""
    most = limit(BLOCK_ROWS[modality])
    for chunk in chunks:
        names = [renamed.get(name, name) for name in chunk.names]
        for start in range(0, len(chunk.rows) or 1, most):
            rows = chunk.rows[start : start + most]
            bad = chunk.bad if start == 0 else []
            if len(rows) or bad:
                columns = [column.slice(start, most) for column in chunk.columns]
                yield Block(rows, dict(zip(names, columns, strict=True)), bad)


def _needed(archive: Archive | None, filename: str) -> Archive:
    if archive is None:
        raise BadTable(
            f"{filename} is no archive; the model reads pictures.",
            code="WRONG_MODALITY",
            remedy="Pack the pictures into a zip; one picture is answered by POST /models/{model}/predict.",
        )
    return archive


def _chosen(listing: Listing, kind: str) -> set[int]:
    """The members of a kind, and those that do not say what they are; raises BadTable where there is none."""
    found = {entry.place for entry in listing.members if entry.kind == kind or members.is_nameless(entry)}
    if not found:
        raise BadTable(
            f"The archive holds no {kind}s.", code="WRONG_MODALITY", remedy=f"Pack the {kind}s that are to be scored."
        )
    return found


def _texts(archive: Archive) -> Iterator[Chunk]:
    listing = members.list_members(archive.entries())
    wanted = _chosen(listing, members.TEXT)

    def contents() -> Iterator[tuple[int, str, bytes]]:
        for entry, data in archive.contents(lambda entry: entry.place in wanted):
            yield entry.place, entry.name, data

    for chunk in TextMembers(contents, lambda *_: None, listing.bad).chunks():
        yield Chunk((TEXT, FILE), chunk.rows, chunk.columns[:2], chunk.bad)


def _pictures(archive: Archive, column: str) -> Iterator[Block]:
    """Pictures as they lie in the archive, decoded by who scores them."""
    listing = members.list_members(archive.entries())
    wanted, bad = _chosen(listing, members.PICTURE), list(listing.bad)
    most, room = limit("score_pictures"), limit("score_picture_bytes")
    held: list[tuple[int, str, bytes]] = []
    for entry, data in archive.contents(lambda entry: entry.place in wanted):
        held.append((entry.place, entry.name, data))
        room -= len(data)
        if len(held) >= most or room <= 0:
            yield _block(held, column, bad)
            held, bad, room = [], [], limit("score_picture_bytes")
    if held or bad:
        yield _block(held, column, bad)


def _block(held: list[tuple[int, str, bytes]], column: str, bad: list[BadRow]) -> Block:
    rows = np.asarray([place for place, _, _ in held], np.int64)
    names = pa.array([name for _, name, _ in held], pa.string())
    return Block(rows, {column: [data for _, _, data in held], FILE: names}, bad)
