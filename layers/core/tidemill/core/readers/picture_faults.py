"""What can be wrong with a picture: too many bytes or pixels, another format, cut off, broken. Needs no decoder."""

from __future__ import annotations

import struct

from tidemill.core.errors import BadPicture
from tidemill.core.limits import limit

FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF")
MAGIC = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"BM", b"II*\x00", b"MM\x00*", b"RIFF")
_PNG_HEAD, _PNG_CHUNK = 8, 12  # signature; length, type and checksum of a chunk


def check_bytes(data: bytes) -> None:
    """Raise BadPicture where there are none, or more than are read."""
    if not data:
        raise BadPicture("The picture has 0 bytes.", code="IMAGE_EMPTY", remedy="Leave it out, or save it again.")
    if len(data) > limit("picture_bytes"):
        raise BadPicture(
            f"The picture has {len(data):,} bytes; the limit is {limit('picture_bytes'):,}.",
            code="IMAGE_TOO_LARGE",
            remedy="Save it smaller.",
        )


def check_size(width: int, height: int) -> None:
    """Raise BadPicture where a size, as the header declares it, is over a limit."""
    if width * height > limit("picture_pixels"):
        raise too_many_pixels(f"{width:,} x {height:,} pixels")
    if max(width, height) > limit("picture_aspect") * min(width, height):
        raise BadPicture(
            f"The picture is {width:,} x {height:,} pixels: one side is more than {limit('picture_aspect')} times"
            " the other.",
            code="IMAGE_ASPECT",
            remedy="Cut it into pieces.",
        )


def too_many_pixels(what: str) -> BadPicture:
    """The refusal of a picture with more pixels than are decoded."""
    return BadPicture(
        f"The picture has {what}; the limit is {limit('picture_pixels'):,} in all.",
        code="IMAGE_TOO_MANY_PIXELS",
        remedy="Save it smaller.",
    )


def unknown() -> BadPicture:
    """The refusal of bytes that are something else."""
    return BadPicture(
        "The bytes are no picture of a format that is read.",
        code="IMAGE_FORMAT",
        remedy=f"Save it as one of {', '.join(FORMATS)}.",
    )


def broken(data: bytes, why: str) -> BadPicture:
    """The refusal of a picture that cannot be decoded: cut off, or damaged."""
    cut = "truncat" in why.lower() or _is_cut_png(data)
    what = "ends too early" if cut else "is broken"
    return BadPicture(
        f"The picture {what}{f' ({why[:200]})' if why else ''}.",
        code="IMAGE_TRUNCATED" if cut else "IMAGE_CORRUPT",
        remedy="Copy or save it again.",
    )


def _is_cut_png(data: bytes) -> bool:
    """Whether a PNG ends before its last chunk does."""
    if not data.startswith(b"\x89PNG"):
        return False
    place = _PNG_HEAD
    while place + _PNG_CHUNK <= len(data):
        (length,) = struct.unpack_from(">L", data, place)
        if data[place + 4 : place + 8] == b"IEND":
            return False
        place += _PNG_CHUNK + length
    return True
