"""From an archive of pictures to a dataset: label, read one by one, choose, split, write; one picture in memory."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tidemill.core import manifest
from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.prepare import target
from tidemill.core.prepare.documents import FORMAT, split_warnings
from tidemill.core.prepare.hashing import hash_texts
from tidemill.core.prepare.keeping import count_equals, first_of_equals
from tidemill.core.prepare.labels import Labelled, label_members
from tidemill.core.prepare.picture_cells import COLUMN, Cell, read_cell, row_hashes
from tidemill.core.prepare.picture_profile import FILE, Counted, classes_of, schema_of
from tidemill.core.prepare.pipeline import Prepared, dataset_id
from tidemill.core.prepare.quarantine import Quarantine
from tidemill.core.prepare.shards import HASH, ROW, ShardWriter, batch_of
from tidemill.core.prepare.split import SPLITS, Split, divide
from tidemill.core.prepare.spool import Spool
from tidemill.core.progress import Progress, Report
from tidemill.core.readers import members
from tidemill.core.readers.archive import Archive
from tidemill.core.readers.chunks import BadRow, Warned
from tidemill.core.readers.members import Entry, Listing, is_nameless, shown
from tidemill.core.spec import Spec

_SPOOLED = 2_000  # pictures in a chunk on disk, or as many as fit the limit of bytes


def prepare_pictures(
    archive: Archive, listing: Listing, path: Path, spec: Spec, out: Path, work: Path, model: str, report: Report
) -> Prepared:
    """Make a dataset of the pictures in an archive."""
    examples = _examples(listing)
    labelled = label_members(archive, listing, examples, spec.data.target.strip(), work)
    if spec.data.task == target.REGRESSION:
        raise BadTable(
            "Pictures are told apart by class; the specification asks for regression.",
            code="TARGET_NOT_NUMERIC",
            remedy='Set [data] task = "auto".',
        )
    quarantine = Quarantine(out)
    try:
        quarantine.add(listing.bad)
        read = _Reading(labelled, Spool(work / "pictures"), quarantine, spec.preprocess.max_bad_fraction, report)
        read.read(archive, examples, len(listing.bad))
        chosen = _choose(read, spec, quarantine)
    finally:
        quarantine.close()
    divided = divide(
        chosen.hashes[chosen.keep],
        chosen.targets[chosen.keep],
        chosen.classes[chosen.keep],
        spec.split.validation,
        spec.split.test,
        spec.split.seed,
    )
    _write(out, read, chosen, divided, labelled.name)
    facts = {"format": archive.format, "members": read.total, "junk": listing.junk}
    return _finish(path, spec, out, model, facts, read, chosen, divided, quarantine)


def _examples(listing: Listing) -> list[Entry]:
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
class _Reading:
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


@dataclass(frozen=True)
class _Chosen:
    """Which pictures are used, with hashes and classes of all that were read, and what to tell a person."""

    keep: np.ndarray
    hashes: np.ndarray
    targets: np.ndarray
    labels: list[str]
    classes: np.ndarray
    duplicates: int
    warnings: list[Warned]


def _choose(read: _Reading, spec: Spec, quarantine: Quarantine) -> _Chosen:
    hashes = row_hashes(np.array(read.hashes, np.uint64))
    targets = hash_texts(read.labels)
    keep = np.ones(len(hashes), bool)
    warnings = [*read.labelled.warnings, *read.counted.warnings(), *_conflicts(hashes, targets, read)]
    if (duplicates := count_equals(hashes, targets)) and spec.preprocess.duplicates == "drop":
        keep = first_of_equals(hashes, targets)
        quarantine.add(_aside(read, ~keep, "DUPLICATE_ROW", "an equal picture stands before it"))
    counts = Counter(label for label, kept in zip(read.labels, keep.tolist(), strict=True) if kept)
    small = keep & np.array([counts[label] < limit("class_rows") for label in read.labels], bool)
    quarantine.add(_aside(read, small, "CLASS_TOO_SMALL", "the class has too few pictures to learn and test it"))
    keep &= ~small
    labels = target.order_labels([label for label, count in counts.items() if count >= limit("class_rows")])
    _check(labels, int(keep.sum()), read, spec)
    place = {label: index for index, label in enumerate(labels)}
    classes = np.array([place.get(label, 0) for label in read.labels], np.int16)
    warnings += target.variants(counts, read.labelled.name)
    if duplicates:
        what = "left out" if spec.preprocess.duplicates == "drop" else "kept; equal pictures share a split"
        warnings.append(
            Warned("DUPLICATE_ROWS", f"{duplicates:,} pictures equal an earlier one of their class; they are {what}.")
        )
    return _Chosen(keep, hashes, targets, labels, classes, duplicates, warnings)


def _aside(read: _Reading, chosen: np.ndarray, code: str, reason: str) -> list[BadRow]:
    rows = np.flatnonzero(chosen).tolist()
    return [BadRow(read.places[row], code, reason, read.labelled.name, shown(read.files[row])) for row in rows]


def _check(labels: list[str], used: int, read: _Reading, spec: Spec) -> None:
    name = read.labelled.name
    if used < limit("good_pictures"):
        raise BadTable(
            f"{used:,} of {read.total:,} pictures can be used; at least {limit('good_pictures')} are needed.",
            code="TOO_FEW_ROWS",
            remedy="Upload more pictures.",
        )
    if len(labels) < 2:
        raise target.constant(name)
    if len(labels) > limit("classes"):
        raise BadTable(
            f"There are {len(labels):,} classes; the limit is {limit('classes'):,}.",
            code="TARGET_TOO_MANY_CLASSES",
            remedy="Group the classes.",
        )
    if spec.data.task == target.BINARY and len(labels) != 2:
        raise BadTable(
            f"There are {len(labels):,} classes, not two.", code="TARGET_NOT_BINARY", remedy='Set [data] task = "auto".'
        )


def _conflicts(hashes: np.ndarray, targets: np.ndarray, read: _Reading) -> list[Warned]:
    """A warning where equal pictures stand in different classes."""
    order = np.lexsort((targets, hashes))
    same = hashes[order][1:] == hashes[order][:-1]
    clash = np.flatnonzero(same & (targets[order][1:] != targets[order][:-1]))
    if not len(clash):
        return []
    first, second = (read.files[row] for row in order[clash[0] : clash[0] + 2].tolist())
    message = f"{len(clash):,} times the same picture stands in two classes, first {shown(first)} and {shown(second)}."
    remedy = "One of them is wrong, and no model can tell which."
    return [Warned("LABEL_CONFLICT", message, read.labelled.name, remedy)]


def _write(out: Path, read: _Reading, chosen: _Chosen, divided: Split, name: str) -> None:
    splits = np.full(len(chosen.keep), -1, np.int8)
    splits[chosen.keep] = divided.splits
    hashes = chosen.hashes.copy()
    hashes[chosen.keep] = divided.hashes
    schema = pa.schema(
        [(COLUMN, pa.binary()), (FILE, pa.string()), (name, pa.string()), (ROW, pa.int64()), (HASH, pa.uint64())]
    )
    start = 0
    with ShardWriter(out, schema) as writer:
        for chunk in read.spool.chunks():
            end = start + len(chunk[COLUMN])
            columns = {
                COLUMN: chunk[COLUMN],
                FILE: pa.array([_storable(file) for file in read.files[start:end]]),
                name: pa.array(read.labels[start:end]),
                ROW: pa.array(read.places[start:end]),
                HASH: pa.array(hashes[start:end]),
            }
            writer.add(batch_of(columns, schema), splits[start:end])
            start = end
            read.report(Progress("writing", start, len(splits), f"{start:,} pictures written"))


def _storable(name: str) -> str:
    return name.encode("utf-8", "backslashreplace").decode()


def _finish(
    path: Path,
    spec: Spec,
    out: Path,
    model: str,
    facts: dict[str, Any],
    read: _Reading,
    chosen: _Chosen,
    divided: Split,
    quarantine: Quarantine,
) -> Prepared:
    counts = np.bincount(divided.splits, minlength=3).tolist()
    rows = {"read": read.total, "used": sum(counts), "quarantined": quarantine.count}
    rows |= dict(zip(SPLITS, counts, strict=True))
    if rows["read"] != rows["used"] + rows["quarantined"]:
        raise AssertionError(f"pictures do not add up: {rows}")
    identity, name = dataset_id(manifest.sha256_of(path), spec), read.labelled.name
    used = chosen.classes[chosen.keep]
    schema = schema_of(model, identity, spec, name, chosen.labels, rows, len(np.unique(chosen.hashes[chosen.keep])))
    warnings = [*chosen.warnings, *split_warnings(divided, used, chosen.labels, name)]
    profile = {
        "format": FORMAT,
        "modality": "picture",
        "source": facts,
        "target": {"name": name, "how": read.labelled.sentence},
        "split": {"method": divided.method, "how": divided.sentence},
        "statistics_over": "all pictures that could be read",
        "rows": rows,
        "quarantined": dict(sorted(quarantine.codes.items())),
        "duplicate_rows": chosen.duplicates,
        "pictures": read.counted.to_json(),
        "classes": classes_of(chosen.labels, used, [read.files[row] for row in np.flatnonzero(chosen.keep).tolist()]),
        "columns": {},
        "warnings": [warned.to_json() for warned in warnings],
    }
    for document, body in (("schema.json", schema), ("profile.json", profile)):
        text = json.dumps(body, ensure_ascii=False, indent=1, allow_nan=False)
        (out / document).write_text(text, encoding="utf-8", errors="backslashreplace")
    manifest.write(out, "dataset", id=identity, rows=rows)
    return Prepared(identity, out, schema, profile, rows)
