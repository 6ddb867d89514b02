"""A zip read member by member: its directory is bounded and checked before anything is unpacked, nothing hits the disk.

The format: APPNOTE 6.3.10 (pkware.com). Sizes that members declare are limits on what is unpacked, never trusted.
"""

from __future__ import annotations

import stat
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from itertools import pairwise
from pathlib import Path

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.readers import encoding
from tidemill.core.readers.members import Entry, shown, too_many_members

_END, _END_SIZE = b"PK\x05\x06", 22
_END64, _LOCATOR64 = b"PK\x06\x06", b"PK\x06\x07"
_LOCAL_HEADER = 30  # bytes before a member's name
_LONGEST_COMMENT = 65_535
_UTF8_NAME, _ENCRYPTED = 0x800, 0x1
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


class ZipArchive:
    """A zip file that was checked and can be read."""

    format = "zip"

    def __init__(self, path: Path) -> None:
        self.packed_bytes = path.stat().st_size
        _check_directory(path, self.packed_bytes)
        try:
            with zipfile.ZipFile(path) as opened:
                self._infos = opened.infolist()
        except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, struct.error) as error:
            raise corrupt(f"its directory cannot be read ({error})") from error
        self._path = path
        self._names = _names(self._infos)
        self._check()

    def entries(self) -> Iterator[Entry]:
        """Every member, in the order of the directory."""
        for place, (info, name) in enumerate(zip(self._infos, self._names, strict=True), start=1):
            yield Entry(place, name, info.file_size, name.endswith("/"))

    def contents(self, wanted: Callable[[Entry], bool]) -> Iterator[tuple[Entry, bytes]]:
        """The bytes of the members that are wanted, one by one; the caller keeps `wanted` to sizes it can hold."""
        with zipfile.ZipFile(self._path) as opened:
            for entry, info in zip(self.entries(), self._infos, strict=True):
                if entry.folder or not wanted(entry):
                    continue
                try:
                    yield entry, opened.read(info)
                except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
                    raise corrupt(f"{shown(entry.name)} cannot be unpacked ({error})") from error

    def _check(self) -> None:
        for info, name in zip(self._infos, self._names, strict=True):
            _check_member(info, name)
        _check_places(self._infos)
        total, ratio = sum(info.file_size for info in self._infos), limit("expansion_ratio")
        if total > max(limit("expansion_floor"), ratio * self.packed_bytes):
            raise BadTable(
                f"{self.packed_bytes:,} bytes unpack to {total:,}; the limit is {ratio} times.",
                code="EXPANSION_RATIO",
                remedy="Leave out what repeats.",
            )
        if total > limit("expanded"):
            raise BadTable(
                f"The archive unpacks to {total:,} bytes; the limit is {limit('expanded'):,}.",
                code="EXPANSION_SIZE",
                remedy="Upload fewer or smaller files.",
            )


def corrupt(what: str) -> BadTable:
    """The refusal of an archive that is broken."""
    return BadTable(
        f"The archive is broken: {what[:300]}.", code="ARCHIVE_CORRUPT", remedy="Pack and upload the files again."
    )


def _check_directory(path: Path, size: int) -> None:
    """Bound the number of members and the bytes of the directory before the directory is read."""
    with path.open("rb") as file:
        file.seek(max(0, size - _END_SIZE - _LONGEST_COMMENT))
        start = file.tell()
        tail = file.read()
        place = tail.rfind(_END)
        if place < 0 or len(tail) - place < _END_SIZE:
            raise corrupt("its directory is missing, as if the upload were cut off")
        count, length = struct.unpack_from("<HL", tail, place + 10)
        if tail[max(0, place - 20) : place].startswith(_LOCATOR64) and start + place >= 20:
            (at,) = struct.unpack_from("<Q", tail, place - 12)
            file.seek(min(at, size))
            end = file.read(56)
            if len(end) == 56 and end.startswith(_END64):
                count, length = struct.unpack_from("<QQ", end, 32)
    if count > limit("members"):
        raise too_many_members(f"{count:,} members")
    if length > limit("archive_directory"):
        raise too_many_members(f"a directory of {length:,} bytes")


def _check_member(info: zipfile.ZipInfo, name: str) -> None:
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise link(name)
    if info.flag_bits & _ENCRYPTED:
        raise BadTable(
            f"{shown(name)} is encrypted.", code="ARCHIVE_ENCRYPTED", remedy="Pack the files without a password."
        )
    if info.compress_type not in _METHODS:
        raise BadTable(
            f"{shown(name)} is packed with method {info.compress_type}; stored and deflated members are read.",
            code="ARCHIVE_METHOD",
            remedy="Pack the files as an ordinary zip.",
        )
    most = info.file_size + info.file_size // 1_000 + 64  # deflate adds 5 bytes to 16 kB at worst (RFC 1951, 3.2.4)
    if info.compress_size > most:
        raise corrupt(f"{shown(name)} declares {info.file_size:,} bytes, packed into {info.compress_size:,}")


def link(name: str) -> BadTable:
    """The refusal of an archive with members that are no files."""
    return BadTable(
        f"{shown(name)} is a link, a device or another thing that is no file.",
        code="ARCHIVE_LINK",
        remedy="Pack the files themselves: zip without -y, tar with --dereference.",
    )


def _check_places(infos: list[zipfile.ZipInfo]) -> None:
    """Members must not share bytes: overlapping ones are how small bombs get large (Fifield 2019, woot19)."""
    for first, second in pairwise(sorted(infos, key=lambda info: info.header_offset)):
        if first.header_offset + _LOCAL_HEADER + first.compress_size > second.header_offset:
            raise corrupt(f"{shown(first.filename)} and {shown(second.filename)} share bytes")


def _names(infos: list[zipfile.ZipInfo]) -> list[str]:
    """The paths; those without a mark are UTF-8 where that is valid, else what their bytes look like (GBK, Big5)."""
    raw = [None if info.flag_bits & _UTF8_NAME else info.orig_filename.encode("cp437", "replace") for info in infos]
    foreign = b"\n".join(name for name in raw if name is not None and not name.isascii() and not _is_utf8(name))
    codec = encoding.guess(foreign[: encoding.SAMPLE_BYTES]) if foreign else "cp437"
    return [
        (info.orig_filename if name is None else _decoded(name, codec, info.orig_filename)).replace("\\", "/")
        for info, name in zip(infos, raw, strict=True)
    ]


def _is_utf8(name: bytes) -> bool:
    try:
        name.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def _decoded(name: bytes, codec: str, fallback: str) -> str:
    for candidate in ("utf-8", codec):
        try:
            return name.decode(candidate)
        except UnicodeDecodeError:
            continue
    return fallback
