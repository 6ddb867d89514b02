"""Bytes of a file, unpacked within limits: output is counted while inflating, never after."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from tidemill.core.errors import BadTable
from tidemill.core.limits import MIB, limit


class Unpacked:
    """A gzip file read as its content; refuses bombs, broken and nested archives."""

    def __init__(self, path: Path) -> None:
        self._file = gzip.open(path, "rb")  # noqa: SIM115 (closed by open_bytes)
        self._packed_bytes = path.stat().st_size
        self._bytes = 0

    def read(self, size: int) -> bytes:
        """The next bytes, at most `size`."""
        try:
            data = self._file.read(size)
        except (OSError, EOFError, zlib.error) as error:
            raise BadTable(
                f"The gzip file is broken after {self._bytes:,} bytes of content.",
                code="ARCHIVE_CORRUPT",
                remedy="Pack and upload the file again.",
            ) from error
        self._bytes += len(data)
        self._check()
        return data

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _check(self) -> None:
        ratio, most = limit("expansion_ratio"), limit("expanded")
        if self._bytes > max(limit("expansion_floor"), ratio * self._packed_bytes):
            raise BadTable(
                f"{self._packed_bytes:,} bytes unpack to more than {self._bytes:,}; the limit is {ratio} times.",
                code="EXPANSION_RATIO",
                remedy="Upload the file unpacked, or leave out what repeats.",
            )
        if self._bytes > most:
            raise BadTable(
                f"The file unpacks to more than {most:,} bytes.",
                code="EXPANSION_SIZE",
                remedy="Upload fewer rows, or Parquet.",
            )


@contextmanager
def open_bytes(path: Path, packed: bool) -> Iterator[Unpacked | BinaryIO]:
    """The content of a file, unpacked where it is packed."""
    stream = Unpacked(path) if packed else path.open("rb")
    try:
        yield stream
    finally:
        stream.close()


def blocks(path: Path, packed: bool, size: int = MIB) -> Iterator[bytes]:
    """The content of a file in blocks of at most `size` bytes."""
    with open_bytes(path, packed) as stream:
        while block := stream.read(size):
            yield block


def head_of(path: Path, packed: bool, size: int) -> bytes:
    """The first bytes of a file's content."""
    parts: list[bytes] = []
    missing = size
    with open_bytes(path, packed) as stream:
        while missing and (block := stream.read(missing)):
            parts.append(block)
            missing -= len(block)
    return b"".join(parts)
