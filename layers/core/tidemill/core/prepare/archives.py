"""From an archive to a dataset: what its members are decides the way, pictures or texts, never both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tidemill.core.errors import BadPicture, BadTable
from tidemill.core.limits import limit
from tidemill.core.progress import Report
from tidemill.core.readers import encoding, members, sniff, streams
from tidemill.core.readers.archive import Archive
from tidemill.core.readers.members import Listing
from tidemill.core.spec import Spec

if TYPE_CHECKING:
    from tidemill.core.prepare.pipeline import Prepared

_FEW = 2  # files of the other kind that are a readme and a licence, or this share of them
_FEW_SHARE = 0.05
_SAMPLED, _HEAD = 20, 4_096  # members that say nothing about themselves, and bytes of each, to tell what they are


def prepare_archive(
    archive: Archive, path: Path, spec: Spec, out: Path, work: Path, model: str, report: Report
) -> Prepared:
    """Make a dataset of an archive; raises BadTable where its members are neither pictures nor texts, or both."""
    listing = members.list_members(archive.entries())
    pictures, texts = listing.count(members.PICTURE), listing.count(members.TEXT)
    nameless = [entry.place for entry in listing.members if members.is_nameless(entry)]
    read_as_texts = bool(nameless) and _are_texts(archive, set(nameless[:_SAMPLED]))
    pictures, texts = pictures + len(nameless) * (not read_as_texts), texts + len(nameless) * read_as_texts
    if texts > max(_FEW, _FEW_SHARE * pictures) and pictures > max(_FEW, _FEW_SHARE * texts):
        raise BadTable(
            f"The archive holds {pictures:,} pictures and {texts:,} texts.",
            code="MODALITY_AMBIGUOUS",
            remedy="Pack one or the other.",
        )
    if pictures > texts:
        from tidemill.core.prepare.pictures import prepare_pictures

        return prepare_pictures(archive, listing, path, spec, out, work, model, report)
    if texts > _FEW:
        from tidemill.core.prepare.text_archive import prepare_texts

        return prepare_texts(archive, listing, read_as_texts, path, spec, out, work, model, report)
    raise _no_data(archive, listing, texts)


def _are_texts(archive: Archive, places: set[int]) -> bool:
    """Whether most of some members without an extension read as texts, as mails and news of old corpora do."""
    fine = 0
    for _, data in archive.contents(lambda entry: entry.place in places):
        try:
            encoding.check_text(data[:_HEAD])
        except BadTable:
            continue
        fine += sniff.content(data[:_HEAD]) in (sniff.TEXT, sniff.JSON, "html")
    return fine > len(places) / 2


def check_no_picture(path: Path, filename: str) -> None:
    """Refuse a model, and one picture as a data set; with the picture's own fault where it has one."""
    sniff.check_no_model(streams.head_of(path, False, 16), filename)
    if sniff.claimed(filename) is not None or not _is_picture(path, filename):
        return
    from tidemill.core.readers.picture import read_picture

    try:
        read_picture(streams.head_of(path, False, limit("picture_bytes") + 1), filename)
    except BadPicture as error:
        raise BadTable(error.message, code=error.code, remedy=error.remedy) from error
    raise BadTable(
        "The file is one picture, not a data set.",
        code="NOT_DATA_IMAGE",
        remedy="Upload a zip with one folder of pictures for each class.",
        found="image",
    )


def _is_picture(path: Path, filename: str) -> bool:
    head = streams.head_of(path, False, 16)
    named = members.kind_of(filename) == members.PICTURE
    return sniff.content(head) == "image" or (named and head.startswith((b"BM", b"RIFF")))


def _no_data(archive: Archive, listing: Listing, texts: int) -> BadTable:
    if not listing.members and not listing.bad:
        what, code = f"nothing but {listing.junk:,} hidden files and empty folders", "EMPTY_FILE"
    else:
        what = f"{texts:,} texts" if texts else "no pictures"
        code = f"NOT_DATA_{archive.format.split('.')[0].upper()}"
    return BadTable(
        f"The archive holds {what}.",
        code=code,
        remedy="Pack one folder of pictures or of texts for each class; upload a table as CSV, JSON Lines or Parquet.",
    )
