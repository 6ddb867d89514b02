"""A tar, packed with gzip or not, read as a stream: headers one by one, no links, no member larger than is wanted.

tarfile parses one header (with its checksum); the walk is ours, because tarfile reads long names and extended headers
of any size into memory and holds every header it has seen. The format: POSIX.1-2017, pax.
"""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from tidemill.core.limits import KIB, MIB
from tidemill.core.readers import encoding
from tidemill.core.readers.members import Entry, shown
from tidemill.core.readers.streams import Unpacked, open_bytes
from tidemill.core.readers.zip_archive import corrupt, link

_BLOCK = tarfile.BLOCKSIZE
_FILES = frozenset({tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE})
_LINKS = frozenset({tarfile.LNKTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE})
_EXTENDED = frozenset({tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE})
_LONGEST_HEADER = 64 * KIB
Stream = Unpacked | BinaryIO


@dataclass(frozen=True)
class _Noted:
    """What an extended header says of the member that follows."""

    name: str | None = None
    size_bytes: int | None = None


class TarArchive:
    """A tar file that can be read from its start, any number of times."""

    def __init__(self, path: Path, packed: bool) -> None:
        self.format = "tar.gz" if packed else "tar"
        self.packed_bytes = path.stat().st_size
        self._path, self._packed = path, packed

    def entries(self) -> Iterator[Entry]:
        """Every member, in the order of the file."""
        with open_bytes(self._path, self._packed) as stream:
            for entry in _walk(stream):
                yield entry
                _skip(stream, _padded(entry.size_bytes))

    def contents(self, wanted: Callable[[Entry], bool]) -> Iterator[tuple[Entry, bytes]]:
        """The bytes of the members that are wanted, one by one; the caller keeps `wanted` to sizes it can hold."""
        with open_bytes(self._path, self._packed) as stream:
            for entry in _walk(stream):
                if entry.folder or not wanted(entry):
                    _skip(stream, _padded(entry.size_bytes))
                    continue
                data = _read(stream, entry.size_bytes)
                _skip(stream, _padded(entry.size_bytes) - entry.size_bytes)
                yield entry, data


def is_header(block: bytes) -> bool:
    """Whether a block is the header of a tar's first member."""
    try:
        tarfile.TarInfo.frombuf(block[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True


def _walk(stream: Stream) -> Iterator[Entry]:
    """The members; the stream stands at the data of each when it is given, and must stand behind it afterwards."""
    noted, place = _Noted(), 0
    while (block := stream.read(_BLOCK)) and block.count(0) < _BLOCK:
        info = _parsed(block)
        if info.type in _LINKS:
            raise link(noted.name or info.name)
        if info.type in _EXTENDED or info.type == tarfile.GNUTYPE_LONGNAME:
            noted = _note(info, _header(stream, info))
            continue
        if info.type in (tarfile.XGLTYPE, tarfile.GNUTYPE_LONGLINK):
            _header(stream, info)
            continue
        if info.type not in _FILES and info.type != tarfile.DIRTYPE:
            raise corrupt(f"{shown(info.name)} is a member of type {info.type!r}, which is not read")
        place += 1
        name = _readable(noted.name or info.name).removeprefix("./").replace("\\", "/") or "."
        folder = info.type == tarfile.DIRTYPE or name.endswith("/")
        size_bytes = info.size if noted.size_bytes is None else noted.size_bytes
        noted = _Noted()
        yield Entry(place, name, 0 if folder else size_bytes, folder)


def _readable(name: str) -> str:
    """A name that is not UTF-8 as what its bytes look like (GBK, Big5, Windows-1252); old tools keep their own."""
    if not any("\udc80" <= mark <= "\udcff" for mark in name):
        return name
    raw = name.encode("utf-8", "surrogateescape")
    try:
        return raw.decode(encoding.guess(raw))
    except UnicodeDecodeError:
        return name


def _parsed(block: bytes) -> tarfile.TarInfo:
    try:
        info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise corrupt(f"a header cannot be read ({error})") from error
    if info.size < 0:
        raise corrupt(f"{shown(info.name)} declares {info.size:,} bytes")
    return info


def _header(stream: Stream, info: tarfile.TarInfo) -> bytes:
    if info.size > _LONGEST_HEADER:
        raise corrupt(f"an extended header has {info.size:,} bytes")
    return _read(stream, _padded(info.size))[: info.size]


def _note(info: tarfile.TarInfo, data: bytes) -> _Noted:
    if info.type == tarfile.GNUTYPE_LONGNAME:
        return _Noted(data.rstrip(b"\x00").decode("utf-8", "surrogateescape"))
    records = dict(_records(data))
    try:
        size_bytes = int(records["size"]) if "size" in records else None
    except ValueError as error:
        raise corrupt(f"an extended header says size={records['size'][:40]!r}") from error
    if size_bytes is not None and size_bytes < 0:
        raise corrupt(f"an extended header says size={size_bytes}")
    return _Noted(records.get("path"), size_bytes)


def _records(data: bytes) -> Iterator[tuple[str, str]]:
    """The records of an extended header: "length key=value", the length counting the whole record."""
    while data.rstrip(b"\x00"):
        length, _, _ = data[:20].partition(b" ")
        if not length.isdigit() or not len(length) + 2 < int(length) <= len(data):
            raise corrupt("an extended header is damaged")
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        yield key.decode("utf-8", "replace"), value.decode("utf-8", "surrogateescape")
        data = data[int(length) :]


def _padded(size: int) -> int:
    return -(-size // _BLOCK) * _BLOCK


def _read(stream: Stream, size: int) -> bytes:
    parts: list[bytes] = []
    while size:
        block = stream.read(min(size, MIB))
        if not block:
            raise corrupt("it ends within a member, as if the upload were cut off")
        parts.append(block)
        size -= len(block)
    return b"".join(parts)


def _skip(stream: Stream, size: int) -> None:
    while size:
        block = stream.read(min(size, MIB))
        if not block:
            raise corrupt("it ends within a member, as if the upload were cut off")
        size -= len(block)
