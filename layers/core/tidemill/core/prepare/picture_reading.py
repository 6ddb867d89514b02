"""The pass over the pictures of an archive: each is read once, stored or set aside, and forgotten."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa

from tidemill.core.limits import limit
from tidemill.core.prepare.labels import Labelled
from tidemill.core.prepare.picture_cells import COLUMN, Cell, read_cell
from tidemill.core.prepare.picture_profile import Counted
from tidemill.core.prepare.quarantine import Quarantine
from tidemill.core.prepare.spool import Spool
from tidemill.core.progress import Progress, Report
from tidemill.core.readers import members
from tidemill.core.readers.archive import Archive
from tidemill.core.readers.chunks import BadRow
from tidemill.core.readers.members import Entry, Listing, is_nameless, shown

_SPOOLED = 2_000  # pictures in a chunk on disk, or as many as fit the limit of bytes


def examples_of(listing: Listing) -> list[Entry]:
    """The members to read as pictures: those called so or nothing, and others that stand beside them in a folder."""
    called = [entry for entry in listing.members if entry.kind == members.PICTURE or is_nameless(entry)]
    folders = {entry.parts[:-1] for entry in called if len(entry.parts) > 1}
    return [
        entry
        for entry in listing.members
        if entry.kind in (members.PICTURE, members.OTHER)
        and (entry.kind == members.PICTURE or is_nameless(entry) or entry.parts[:-1] in folders)
    ]


@dataclass
class Reading:
    """The pass over the archive: what was spooled, row by row, and what was counted on the way."""

    labelled: Labelled
    spool: Spool
    quarantine: Quarantine
    fraction: float
    report: Report
    total: int = 0
    counted: Counted = field(default_factory=Counted)
    places: list[int] = field(default_factory=list)
    files: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    hashes: list[int] = field(default_factory=list)
    _pictures: list[bytes] = field(default_factory=list)
    _bytes: int = 0

    def read(self, archive: Archive, examples: list[Entry], aside: int) -> None:
        """Read every example once."""
        self.total = len(examples) + aside
        wanted = {entry.place for entry in examples if self._may_be_read(entry)}
        seen = self.total - len(wanted)
        for entry, data in archive.contents(lambda entry: entry.place in wanted):
            self._take(entry, data)
            seen += 1
            if seen % _SPOOLED == 0:
                self.quarantine.check(seen, self.fraction, final=False)
                self.report(Progress("reading", seen, self.total, f"{seen:,} of {self.total:,} pictures read"))
        self._flush()
        self.quarantine.check(self.total, self.fraction, final=True)

    def _may_be_read(self, entry: Entry) -> bool:
        """Whether a member has one label and a size that is read; set aside otherwise."""
        name = shown(entry.name)
        if entry.place in self.labelled.conflicts:
            row = BadRow(entry.place, "LABEL_CONFLICT", "the file is given two labels", self.labelled.name, name)
        elif entry.place not in self.labelled.of_place:
            row = BadRow(entry.place, "MISSING_TARGET", "nothing says which class it is", self.labelled.name, name)
        elif entry.size_bytes > (most := limit("picture_bytes")):
            reason = f"the picture has {entry.size_bytes:,} bytes; the limit is {most:,}"
            row = BadRow(entry.place, "IMAGE_TOO_LARGE", reason, COLUMN, name)
        else:
            return True
        self.quarantine.add([row])
        return False

    def _take(self, entry: Entry, data: bytes) -> None:
        cell = read_cell(entry, data)
        if not isinstance(cell, Cell):
            self.quarantine.add([cell])
            return
        self.counted.add(cell)
        self.places.append(entry.place)
        self.files.append(entry.name)
        self.labels.append(self.labelled.of_place[entry.place])
        self.hashes.append(cell.hash)
        self._pictures.append(cell.stored)
        self._bytes += len(cell.stored)
        if len(self._pictures) >= _SPOOLED or self._bytes >= limit("chunk"):
            self._flush()

    def _flush(self) -> None:
        if self._pictures:
            self.spool.append({COLUMN: pa.array(self._pictures, pa.binary())})
            self._pictures, self._bytes = [], 0
