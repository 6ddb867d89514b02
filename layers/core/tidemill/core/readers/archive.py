"""Open an archive: a zip, a tar or a tar packed with gzip, recognised by content, read one member at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path, PurePath
from typing import Protocol

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.readers import sniff, streams
from tidemill.core.readers.members import Entry
from tidemill.core.readers.tar_archive import TarArchive, is_header
from tidemill.core.readers.zip_archive import ZipArchive

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_OFFICE = frozenset({".xlsx", ".xlsm", ".docx", ".pptx", ".ods", ".odt"})
_HEADER = 512  # bytes of a tar's first header


class Archive(Protocol):
    """An archive that was recognised and can be read any number of times."""

    format: str
    packed_bytes: int

    def entries(self) -> Iterator[Entry]:
        """Every member by name, in the order of the archive."""
        ...

    def contents(self, wanted: Callable[[Entry], bool]) -> Iterator[tuple[Entry, bytes]]:
        """The bytes of the members that are wanted, one at a time."""
        ...


def open_archive(path: Path, filename: str) -> Archive | None:
    """The archive in a file; None where it holds something else, or is called a table or an Office document."""
    if sniff.claimed(filename) is not None or PurePath(filename).suffix.lower() in _OFFICE:
        return None
    head = streams.head_of(path, False, _HEADER)
    if head.startswith(_ZIP):
        _check_size(path)
        return ZipArchive(path)
    packed = head.startswith(sniff.GZIP_MAGIC)
    if is_header(streams.head_of(path, True, _HEADER) if packed else head):
        _check_size(path)
        return TarArchive(path, packed)
    return None


def _check_size(path: Path) -> None:
    if (size := path.stat().st_size) > limit("upload"):
        raise BadTable(
            f"The file has {size:,} bytes; the limit is {limit('upload'):,}.",
            code="FILE_TOO_LARGE",
            remedy="Upload fewer or smaller files.",
        )
