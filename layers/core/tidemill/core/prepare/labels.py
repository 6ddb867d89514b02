"""Which class a member of an archive belongs to: by the folder it stands in, or by one table of files and labels."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.prepare import target
from tidemill.core.readers.archive import Archive
from tidemill.core.readers.chunks import Table, Warned
from tidemill.core.readers.members import TABLE, Entry, Listing, shown
from tidemill.core.readers.opening import open_table

FILES = ("file", "filename", "file_name", "path", "filepath", "file_path", "image", "picture", "img", "文件", "文件名")
PICTURE_FILES = (*FILES, "图片", "图像")
_SPLITS = frozenset({"train", "training", "test", "testing", "val", "valid", "validation", "dev"})


@dataclass
class Labelled:
    """The label of members by their place, the column's name, how they were found, and labels that disagree."""

    name: str
    sentence: str
    of_place: dict[int, str] = field(default_factory=dict)
    conflicts: set[int] = field(default_factory=set)
    warnings: list[Warned] = field(default_factory=list)


def label_members(archive: Archive, listing: Listing, examples: list[Entry], wanted: str, work: Path) -> Labelled:
    """The labels of the examples; raises BadTable (LABELS_MISSING) where neither a table nor folders tell them."""
    found = [(entry, labels) for entry, labels in _tables(archive, listing, wanted, work)]
    if len(found) > 1:
        names = " and ".join(shown(entry.name) for entry, _ in found[:3])
        raise BadTable(
            f"{len(found)} tables name files and labels: {names}.",
            code="LABELS_AMBIGUOUS",
            remedy="Leave one of them in the archive.",
        )
    if found:
        return _by_table(*found[0], examples)
    return _by_folder(listing, examples, wanted)


def _by_folder(listing: Listing, examples: list[Entry], wanted: str) -> Labelled:
    """The innermost level of folders on which the examples differ."""
    deepest = max((len(entry.parts) for entry in examples), default=1) - 1
    for level in range(2, deepest + 2):
        labels = {entry.place: _clean(entry.parts[-level]) for entry in examples if len(entry.parts) >= level}
        different = set(labels.values())
        if len(different) > 1 and not {name.casefold() for name in different} <= _SPLITS:
            sentence = "The folder that a file stands in is its class."
            found = Labelled(wanted or "label", sentence, labels)
            found.warnings += _empty_classes(listing, examples, different, level)
            found.warnings += _split_folders(examples, level)
            return found
    raise BadTable(
        f"{len(examples):,} files stand in folders that tell no two classes apart.",
        code="LABELS_MISSING",
        remedy="Pack one folder a class, or add a CSV with the columns file and label.",
    )


def _clean(folder: str) -> str:
    return " ".join(unicodedata.normalize("NFC", folder).split())


def _empty_classes(listing: Listing, examples: list[Entry], labels: set[str], level: int) -> Iterator[Warned]:
    """A warning for every folder beside those of the classes that holds nothing."""
    above = {entry.parts[:-level] for entry in examples}
    for folder in listing.folders:
        if folder.parts and folder.parts[:-1] in above and (name := _clean(folder.parts[-1])) not in labels:
            message = f"The folder {shown(name)} holds nothing that can be learned: there is no such class."
            yield Warned("CLASS_TOO_SMALL", message, None, f"Put {limit('class_rows')} or more examples there.")


def _split_folders(examples: list[Entry], level: int) -> list[Warned]:
    above = {entry.parts[-level - 1].casefold() for entry in examples if len(entry.parts) > level}
    if len(above & _SPLITS) < 2:
        return []
    message = f"The folders {', '.join(sorted(above & _SPLITS))} are taken together and divided anew."
    return [Warned("SPLIT_FOLDERS", message, None, "Upload the training folder alone to keep the others unseen.")]


def _tables(
    archive: Archive, listing: Listing, wanted: str, work: Path
) -> Iterator[tuple[Entry, tuple[str, list[tuple[str, str]]]]]:
    """The tables in the archive that have a column of files and one of labels: the label's name, and the pairs."""
    places = {entry.place for entry in listing.members if entry.kind == TABLE}
    if not places:
        return
    most = limit("labels_file")
    for entry, data in archive.contents(lambda entry: entry.place in places and entry.size_bytes <= most):
        path = work / "labels"
        path.write_bytes(data)
        try:
            pairs = _pairs(open_table(path, "labels.csv"), wanted)
        except BadTable as error:
            if len(places) == 1:
                raise BadTable(f"{shown(entry.name)}: {error.message}", code=error.code, remedy=error.remedy) from error
            continue
        if pairs is not None:
            yield entry, pairs


def _pairs(table: Table, wanted: str) -> tuple[str, list[tuple[str, str]]] | None:
    pairs: list[tuple[str, str]] = []
    name = ""
    for chunk in table.chunks():
        folded = {column.casefold(): place for place, column in reversed(list(enumerate(chunk.names)))}
        file = next((folded[column] for column in PICTURE_FILES if column in folded), None)
        if file is None:
            return None
        label = _label_column(chunk.names, folded, file, wanted)
        if label is None:
            return None
        name = chunk.names[label]
        columns = (chunk.columns[place].to_pylist() for place in (file, label))
        pairs += [(path, text) for path, text in zip(*columns, strict=True) if path]
    return (name, pairs) if pairs else None


def _label_column(names: tuple[str, ...], folded: dict[str, int], file: int, wanted: str) -> int | None:
    if wanted.strip() in names:
        return names.index(wanted.strip())
    named = next((folded[column] for column in target.NAMES if folded.get(column, file) != file), None)
    return 1 - file if named is None and len(names) == 2 else named


def _by_table(entry: Entry, found: tuple[str, list[tuple[str, str]]], examples: list[Entry]) -> Labelled:
    name, pairs = found
    places = _paths(examples, entry.parts[:-1])
    labelled = Labelled(name, f"{shown(entry.name)} names the files and their labels ({name!r}).")
    lost: list[str] = []
    for path, text in pairs:
        place = places.get(_path(path))
        label = _clean(text or "")
        if place is None:
            lost.append(path)
        elif label and labelled.of_place.setdefault(place, label) != label:
            labelled.conflicts.add(place)
    if lost:
        message = (
            f"{len(lost):,} of {len(pairs):,} files that {shown(entry.name)} names are not there: {shown(lost[0])}."
        )
        labelled.warnings.append(Warned("LABELS_WITHOUT_FILE", message, name, "Pack them, or take their rows out."))
    if not labelled.of_place:
        raise BadTable(
            f"{shown(entry.name)} names {len(pairs):,} files, and none of them is in the archive.",
            code="LABELS_MISSING",
            remedy="Name files as they stand in the archive.",
        )
    return labelled


def _path(text: str) -> str:
    return unicodedata.normalize("NFC", str(PurePosixPath(text.strip().replace("\\", "/").removeprefix("./"))))


def _paths(examples: list[Entry], base: tuple[str, ...]) -> dict[str, int]:
    """Every way to name a file: its path, the path from the table's folder, its name and stem where only one has it."""
    ways: dict[str, int] = {}
    counts: Counter[str] = Counter()
    short: list[tuple[str, int]] = []
    for entry in examples:
        short += [(_path(way), entry.place) for way in {entry.parts[-1], PurePosixPath(entry.parts[-1]).stem}]
    counts.update(way for way, _ in short)
    ways.update((way, place) for way, place in short if counts[way] == 1)
    for entry in examples:
        if entry.parts[: len(base)] == base:
            ways[_path("/".join(entry.parts[len(base) :]))] = entry.place
    ways.update((_path(entry.name), entry.place) for entry in examples)
    return ways
