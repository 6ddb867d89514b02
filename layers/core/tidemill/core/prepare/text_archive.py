"""From an archive of text files to a dataset: a table of texts, files and labels, prepared as other texts are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tidemill.core.limits import limit
from tidemill.core.prepare.labels import Labelled, label_members
from tidemill.core.prepare.pipeline import Preparation, Prepared
from tidemill.core.prepare.shards import HASH, ROW
from tidemill.core.progress import Report
from tidemill.core.readers import members
from tidemill.core.readers.archive import Archive
from tidemill.core.readers.chunks import BadRow, Warned
from tidemill.core.readers.members import Entry, Listing, shown
from tidemill.core.readers.text_members import FILE, TEXT, TextMembers
from tidemill.core.spec import Spec


def prepare_texts(
    archive: Archive,
    listing: Listing,
    nameless: bool,
    path: Path,
    spec: Spec,
    out: Path,
    work: Path,
    model: str,
    report: Report,
) -> Prepared:
    """Make a dataset of the text files in an archive, labelled by their folders or by a table of files and labels.

    `nameless` says that members without an extension are texts, too.
    """
    examples = [
        entry for entry in listing.members if entry.kind == members.TEXT or (nameless and members.is_nameless(entry))
    ]
    labelled = label_members(archive, listing, examples, spec.data.target.strip(), work)
    _rename(labelled)
    aside = [*listing.bad, *_unread(examples, labelled)]
    wanted = {entry.place for entry in examples} - {row.row for row in aside}

    def contents() -> Iterator[tuple[int, str, bytes]]:
        for entry, data in archive.contents(lambda entry: entry.place in wanted):
            yield entry.place, entry.name, data

    def opened() -> TextMembers:
        table = TextMembers(contents, lambda place, _: labelled.of_place.get(place), aside, labelled.name)
        table.warnings += labelled.warnings
        table.facts |= {"format": archive.format, "members": len(examples) + len(listing.bad), "junk": listing.junk}
        return table

    asked = replace(spec.data, text=TEXT, target=labelled.name, id=tuple(dict.fromkeys((*spec.data.id, FILE))))
    wishes = replace(spec, data=asked)
    return Preparation(path, opened, wishes, out, work, model, report, labelled.sentence).run()


def _rename(labelled: Labelled) -> None:
    """Give the labels a name that no other column has."""
    if labelled.name in (TEXT, FILE, ROW, HASH):
        name, labelled.name = labelled.name, f"{labelled.name}__2"
        message = f"The name {name!r} is taken; the column of labels is called {labelled.name!r}."
        labelled.warnings.append(Warned("COLUMN_RESERVED_NAME", message, labelled.name))


def _unread(examples: list[Entry], labelled: Labelled) -> Iterator[BadRow]:
    """Rows for the files that have two labels, or more bytes than a text is read of."""
    for entry in examples:
        name = shown(entry.name)
        if entry.place in labelled.conflicts:
            yield BadRow(entry.place, "LABEL_CONFLICT", "the file is given two labels", labelled.name, name)
        elif entry.size_bytes > (most := limit("text_file")):
            reason = f"the file has {entry.size_bytes:,} bytes; the limit is {most:,}"
            yield BadRow(entry.place, "ROW_FIELD_TOO_LONG", reason, TEXT, name)
