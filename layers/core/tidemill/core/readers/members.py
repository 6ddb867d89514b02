"""The members of an archive by name: which are refused with it, set aside, ignored, or read, and as what."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.readers.chunks import BadRow

PICTURE, TEXT, TABLE, ARCHIVE, OTHER = "picture", "text", "table", "archive", "other"
_BY_EXTENSION = {
    **dict.fromkeys((".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".dib", ".gif", ".tif"), PICTURE),
    **dict.fromkeys((".tiff", ".svg", ".heic", ".heif", ".avif", ".ico", ".psd", ".jp2", ".jxl"), PICTURE),
    **dict.fromkeys((".txt", ".text", ".md", ".rst"), TEXT),
    **dict.fromkeys((".csv", ".tsv", ".tab"), TABLE),
    **dict.fromkeys((".zip", ".tar", ".gz", ".tgz", ".bz2", ".tbz", ".xz", ".7z", ".rar", ".zst", ".jar"), ARCHIVE),
}
_JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx", "$recycle.bin"})
_DRIVE = re.compile(r"[A-Za-z]:")
_BIDI = frozenset("\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


@dataclass(frozen=True)
class Entry:
    """One member of an archive: its place (from 1), its path with forward slashes, and the size it declares."""

    place: int
    name: str
    size_bytes: int
    folder: bool = False

    @property
    def parts(self) -> tuple[str, ...]:
        """The folders it stands in and its own name."""
        return PurePosixPath(self.name).parts

    @property
    def kind(self) -> str:
        """What its extension says it is."""
        return kind_of(self.name)


def kind_of(name: str) -> str:
    """What the extension of a file's name says it is."""
    return _BY_EXTENSION.get(PurePosixPath(name).suffix.lower(), OTHER)


@dataclass
class Listing:
    """What an archive holds: members to look at, those set aside by name, folders, and how many are junk."""

    members: list[Entry] = field(default_factory=list)
    bad: list[BadRow] = field(default_factory=list)
    folders: list[Entry] = field(default_factory=list)
    junk: int = 0

    def count(self, kind: str) -> int:
        """How many members are called a kind of thing."""
        return sum(entry.kind == kind for entry in self.members)


def list_members(entries: Iterable[Entry]) -> Listing:
    """Look through the names of an archive; raises BadTable for what no honest tool packs."""
    listing, seen = Listing(), set()
    for entry in entries:
        if entry.place > limit("members"):
            raise too_many_members(f"more than {limit('members'):,} members")
        check_path(entry.name)
        name = unicodedata.normalize("NFC", "/".join(entry.parts))
        if name in seen:
            raise BadTable(
                f"The archive holds {shown(name)} twice.",
                code="ARCHIVE_DUPLICATE_MEMBER",
                remedy="Pack every file once: tools disagree on which of two they read.",
            )
        seen.add(name)
        _sort_in(entry, listing)
    if not seen:
        raise BadTable("The archive holds nothing.", code="EMPTY_FILE", remedy="Pack folders of pictures, one a class.")
    if listing.bad and not listing.members and all(row.code == "MEMBER_NESTED_ARCHIVE" for row in listing.bad):
        raise BadTable(
            f"The archive holds {len(listing.bad)} archives and nothing else; what is in them is not opened.",
            code="EXPANSION_RATIO",
            remedy="Pack the files themselves, not archives of them.",
        )
    return listing


def _sort_in(entry: Entry, listing: Listing) -> None:
    if is_junk(entry):
        listing.junk += 1
    elif entry.folder:
        listing.folders.append(entry)
    elif bad_name(entry.name):
        reason = "the name holds control characters or marks that turn the direction of writing"
        listing.bad.append(BadRow(entry.place, "MEMBER_NAME", reason, text=shown(entry.name)))
    elif entry.kind == ARCHIVE:
        listing.bad.append(nested(entry))
    else:
        listing.members.append(entry)


def is_nameless(entry: Entry) -> bool:
    """Whether a member says nothing about itself but stands in a folder, as pictures without extensions do."""
    return not PurePosixPath(entry.name).suffix and len(entry.parts) > 1


def nested(entry: Entry) -> BadRow:
    """The row that sets an archive inside an archive aside."""
    reason = "an archive inside the archive is not opened"
    return BadRow(entry.place, "MEMBER_NESTED_ARCHIVE", reason, text=shown(entry.name))


def check_path(name: str) -> None:
    """Raise BadTable where a member's path leads out of the archive, or is longer or deeper than paths are."""
    parts = name.rstrip("/").split("/")
    wrong = ""
    if name.startswith("/") or _DRIVE.match(name) or not name.strip("/"):
        wrong = "is absolute"
    elif ".." in parts:
        wrong = "leads out of the archive"
    elif "\x00" in name:
        wrong = "holds a NUL character"
    elif len(parts) > limit("member_depth") or len(name) > limit("member_path"):
        wrong = f"has {len(parts):,} levels and {len(name):,} characters"
    if wrong:
        raise BadTable(
            f"The path of the member {shown(name)} {wrong}.",
            code="ARCHIVE_PATH",
            remedy="Pack the files again, with paths relative to one folder.",
        )


def is_junk(entry: Entry) -> bool:
    """Whether an operating system left it there: resource forks, thumbnails, hidden files and folders."""
    return any(part.startswith(".") or part.lower() in _JUNK for part in entry.parts)


def bad_name(name: str) -> bool:
    """Whether a name cannot be shown as it is."""
    return any(mark in _BIDI or unicodedata.category(mark) in ("Cc", "Cs") for mark in name)


def shown(name: str) -> str:
    """A name for a message: one line, at most 80 characters, nothing that turns what follows."""
    plain = "".join("\ufffd" if mark in _BIDI or not mark.isprintable() else mark for mark in name)
    return repr(plain if len(plain) <= 80 else f"{plain[:60]}...{plain[-17:]}")


def too_many_members(what: str) -> BadTable:
    """The refusal of an archive with more members than are read."""
    return BadTable(
        f"The archive holds {what}; the limit is {limit('members'):,}.",
        code="TOO_MANY_MEMBERS",
        remedy="Upload a sample, or leave out files that are no examples.",
    )
