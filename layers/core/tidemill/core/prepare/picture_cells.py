"""One member of an archive to what the dataset keeps of it: clean bytes, a hash of its pixels, what it was."""

from __future__ import annotations

import hashlib
import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tidemill.core.errors import BadPicture
from tidemill.core.prepare.hashing import in_column, mix
from tidemill.core.readers import members, sniff
from tidemill.core.readers.chunks import BadRow
from tidemill.core.readers.members import Entry, shown
from tidemill.core.readers.picture import Picture, read_picture

COLUMN = "picture"
_SMALL = 128 * 128  # pixels up to which PNG costs less than the traces JPEG leaves
_FEW_COLOURS = 64  # drawings: PNG is smaller and exact
_QUALITY = 95
_ARCHIVES = ("zip", "gzip", "bzip2", "xz", "zstd", "7z", "rar", "xlsx")
_PERHAPS = ("image", "html", sniff.TEXT, sniff.JSON)  # WebP and BMP have no magic there; Pillow decides


@dataclass(frozen=True)
class Cell:
    """What the dataset keeps of a picture, and what its profile counts."""

    stored: bytes
    hash: int
    picture: Picture


def read_cell(entry: Entry, data: bytes) -> Cell | BadRow:
    """The picture in a member, or the row that sets it aside."""
    found = sniff.content(data[:1024]) if data else "image"
    if found in _ARCHIVES:
        return members.nested(entry)
    if found not in _PERHAPS:
        return mismatch(entry, found)
    try:
        picture = read_picture(data, entry.parts[-1])
    except BadPicture as error:
        if error.code == "IMAGE_FORMAT" and (entry.kind != members.PICTURE or b"\x00" in data[:1024]):
            return mismatch(entry, "an unknown kind of bytes")  # and no text called a picture, as an SVG is
        return BadRow(entry.place, error.code, error.message, COLUMN, shown(entry.name))
    return Cell(stored(picture), hash_of(picture.pixels_hwc), picture)


def mismatch(entry: Entry, found: str) -> BadRow:
    """The row that sets a member aside which is something else than a picture."""
    reason = f"the member holds no picture ({found})"
    return BadRow(entry.place, "MEMBER_TYPE_MISMATCH", reason, COLUMN, shown(entry.name))


def stored(picture: Picture) -> bytes:
    """The pixels without metadata: PNG where it is small or has few colours, else JPEG, which is smaller by far."""
    image, sink = Image.fromarray(picture.pixels_hwc), io.BytesIO()
    if image.width * image.height <= _SMALL or image.getcolors(_FEW_COLOURS) is not None:
        image.save(sink, "PNG")
    else:
        image.save(sink, "JPEG", quality=_QUALITY, subsampling=0)
    return sink.getvalue()


def hash_of(pixels_hwc: np.ndarray) -> int:
    """64 bits of a picture's shape and pixels: equal pictures, whatever file they came in, have equal hashes."""
    digest = hashlib.blake2b(repr(pixels_hwc.shape).encode(), digest_size=8)
    digest.update(pixels_hwc.tobytes())
    return int.from_bytes(digest.digest(), "little")


def row_hashes(hashes: np.ndarray) -> np.ndarray:
    """Hashes of pictures as hashes of rows that have this one feature."""
    return mix(in_column(COLUMN, hashes))
