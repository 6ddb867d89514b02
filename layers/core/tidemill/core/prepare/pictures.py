"""From an archive of pictures to a dataset: label, read one by one, choose, split, write; one picture in memory."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
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
from tidemill.core.prepare.picture_cells import COLUMN, row_hashes
from tidemill.core.prepare.picture_profile import FILE, classes_of, schema_of
from tidemill.core.prepare.picture_reading import Reading, examples_of
from tidemill.core.prepare.pipeline import Prepared, dataset_id
from tidemill.core.prepare.quarantine import Quarantine
from tidemill.core.prepare.shards import HASH, ROW, ShardWriter, batch_of
from tidemill.core.prepare.split import SPLITS, Split, divide
from tidemill.core.prepare.spool import Spool
from tidemill.core.progress import Progress, Report
from tidemill.core.readers.archive import Archive
from tidemill.core.readers.chunks import BadRow, Warned
from tidemill.core.readers.members import Entry, Listing, shown
from tidemill.core.spec import Spec


def prepare_pictures(
    archive: Archive, listing: Listing, path: Path, spec: Spec, out: Path, work: Path, model: str, report: Report
) -> Prepared:
    """Make a dataset of the pictures in an archive."""
    examples = examples_of(listing)
    labelled = _labelled(archive, listing, examples, spec, work)
    quarantine = Quarantine(out)
    try:
        quarantine.add(listing.bad)
        read = Reading(labelled, Spool(work / "pictures"), quarantine, spec.preprocess.max_bad_fraction, report)
        read.read(archive, examples, len(listing.bad))
        chosen = _choose(read, spec, quarantine)
    finally:
        quarantine.close()
    hashes, targets, classes = (part[chosen.keep] for part in (chosen.hashes, chosen.targets, chosen.classes))
    divided = divide(hashes, targets, classes, spec.split.validation, spec.split.test, spec.split.seed)
    _write(out, read, chosen, divided, labelled.name)
    facts = {"format": archive.format, "members": read.total, "junk": listing.junk}
    return _finish(path, spec, out, model, facts, read, chosen, divided, quarantine)


def _labelled(archive: Archive, listing: Listing, examples: list[Entry], spec: Spec, work: Path) -> Labelled:
    """The labels, under a name that no other column has, and what the specification asks for in vain."""
    if spec.data.task == target.REGRESSION:
        raise BadTable(
            "Pictures are told apart by class; the specification asks for regression.",
            code="TARGET_NOT_NUMERIC",
            remedy='Set [data] task = "auto".',
        )
    labelled = label_members(archive, listing, examples, spec.data.target.strip(), work)
    if labelled.name in (COLUMN, FILE, ROW, HASH):
        name, labelled.name = labelled.name, f"{labelled.name}__2"
        message = f"The name {name!r} is taken; the column of labels is called {labelled.name!r}."
        labelled.warnings.append(Warned("COLUMN_RESERVED_NAME", message, labelled.name))
    for name in dict.fromkeys((*spec.data.drop, *spec.data.id, *spec.data.groups)):
        message = f"The specification names the column {name!r}; pictures have none but their file and their label."
        labelled.warnings.append(Warned("COLUMN_NOT_FOUND", message, name))
    return labelled


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


def _choose(read: Reading, spec: Spec, quarantine: Quarantine) -> _Chosen:
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


def _aside(read: Reading, chosen: np.ndarray, code: str, reason: str) -> list[BadRow]:
    rows = np.flatnonzero(chosen).tolist()
    return [BadRow(read.places[row], code, reason, read.labelled.name, shown(read.files[row])) for row in rows]


def _check(labels: list[str], used: int, read: Reading, spec: Spec) -> None:
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


def _conflicts(hashes: np.ndarray, targets: np.ndarray, read: Reading) -> list[Warned]:
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


def _write(out: Path, read: Reading, chosen: _Chosen, divided: Split, name: str) -> None:
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
    read: Reading,
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
    if unlabelled := quarantine.codes["MISSING_TARGET"]:
        warnings.append(Warned("MISSING_TARGET", f"Nothing says which class {unlabelled:,} pictures are of.", name))
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
