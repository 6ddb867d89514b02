"""Bytes to a checked picture: its format by content, its limits from the header, then one way of decoding for all.

Axes: h rows, w columns, c channels (none for grey). Training and serving read pictures here and nowhere else: turned
as the camera said, the first frame of an animation, transparency over white, sixteen bits to eight, 512 pixels at most.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np

# Image.open loads every plug-in Pillow has unless those asked for are loaded: 0.1 s and formats nobody asked for
from PIL import (
    BmpImagePlugin,  # noqa: F401
    GifImagePlugin,  # noqa: F401
    Image,
    JpegImagePlugin,  # noqa: F401
    PngImagePlugin,
    TiffImagePlugin,  # noqa: F401
    UnidentifiedImageError,
    WebPImagePlugin,  # noqa: F401
)

from tidemill.core.limits import limit
from tidemill.core.readers import picture_faults as faults

_EXTENSIONS = {
    "PNG": ("png",),
    "JPEG": ("jpg", "jpeg", "jpe", "jfif"),
    "WEBP": ("webp",),
    "BMP": ("bmp", "dib"),
    "GIF": ("gif",),
    "TIFF": ("tif", "tiff"),
}
_ORIENTATION = 0x0112  # EXIF 2.32, table 4
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_LYING = (5, 6, 7, 8)  # orientations that change height and width
_BROKEN = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, KeyError, TypeError)
_BROKEN_TOO = (OverflowError, AttributeError, MemoryError, AssertionError, NotImplementedError)
_PNG_METADATA = (b"eXIf", b"xmp", b"exif")  # without these Pillow would decode all of a PNG in search of a turn


@dataclass(frozen=True)
class Picture:
    """A decoded picture: pixels_hwc (uint8; two axes where it is grey), and what it was."""

    pixels_hwc: np.ndarray
    format: str
    mode: str
    height: int
    width: int
    notes: tuple[str, ...] = ()  # codes of what a person may want to know

    @property
    def grey(self) -> bool:
        """Whether it has no colours."""
        return self.pixels_hwc.ndim == 2


def read_picture(data: bytes, name: str = "") -> Picture:
    """The picture in some bytes; raises BadPicture where there is none, or where it breaks a limit."""
    faults.check_bytes(data)
    with _quiet(data):
        image = _opened(data)
        kind, mode, (width, height) = _format(image), image.mode, image.size
        faults.check_size(width, height)
        if isinstance(image, PngImagePlugin.PngImageFile):  # load() is content with a file that was cut off
            image.verify()
            image = _opened(data)
        side = limit("picture_side")
        image.draft(None, (2 * side, 2 * side))  # JPEG can be decoded at a half, quarter or eighth
        image.load()
        turn = _turn(image)
        notes = _notes(image, data, kind, name)
        pixels_hwc = _pixels(_plain(image), turn, side)
    if turn in _LYING:
        width, height = height, width
    return Picture(pixels_hwc, kind, mode, height, width, notes)


def glance(data: bytes) -> tuple[int, int, bool]:
    """Height, width and whether it is grey, from the header alone."""
    with _quiet(data):
        image = _opened(data)
        width, height = image.size
        searched = image.format != "PNG" or any(mark in data for mark in _PNG_METADATA)
        if searched and _turn(image) in _LYING:
            width, height = height, width
        return height, width, image.mode in ("1", "L")


@contextmanager
def _quiet(data: bytes) -> Iterator[None]:
    """Whatever Pillow raises about broken bytes, as BadPicture; its warnings about metadata, unsaid."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            yield
        except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
            raise faults.too_many_pixels("more pixels than are read") from error
        except UnidentifiedImageError as error:
            raise faults.broken(data, "") if data.startswith(faults.MAGIC) else faults.unknown() from error
        except (*_BROKEN, *_BROKEN_TOO) as error:
            raise faults.broken(data, str(error)) from error


def _opened(data: bytes) -> Image.Image:
    return Image.open(io.BytesIO(data), formats=faults.FORMATS)


def _format(image: Image.Image) -> str:
    return "JPEG" if image.format == "MPO" else image.format or ""  # MPO: a JPEG with more pictures behind it


def _turn(image: Image.Image) -> int:
    """The EXIF orientation; 1, upright, where there is none or the metadata is broken."""
    try:
        return int(image.getexif().get(_ORIENTATION, 1))
    except (*_BROKEN, *_BROKEN_TOO):
        return 1


def _notes(image: Image.Image, data: bytes, kind: str, name: str) -> tuple[str, ...]:
    extension = name.rsplit(".", 1)[-1].lower() if "." in name else ""
    notes = [] if not extension or extension in _EXTENSIONS[kind] else ["WARN_TYPE_MISMATCH"]
    return (*notes, "WARN_FIRST_FRAME") if _moves(image, data, kind) else tuple(notes)


def _moves(image: Image.Image, data: bytes, kind: str) -> bool:
    """Whether it is an animation; a GIF tells only when its second frame is looked for, in a copy."""
    if kind not in ("GIF", "PNG", "WEBP"):
        return False
    try:
        return bool(getattr(_opened(data) if kind == "GIF" else image, "is_animated", False))
    except (*_BROKEN, *_BROKEN_TOO):  # the first frame is whole; what follows it does not matter
        return False


def _plain(image: Image.Image) -> Image.Image:
    """The image in one of the modes L, RGB and RGBA."""
    if image.mode == "1":
        return image.convert("L")
    if image.mode in ("L", "RGB", "RGBA"):
        see_through = image.mode != "RGBA" and "transparency" in image.info
        return image.convert("RGBA") if see_through else image
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_eight_bits(np.asarray(image)))
    if image.mode in ("LA", "La", "PA", "RGBa") or "transparency" in image.info:
        return image.convert("RGBA")
    return image.convert("RGB")


def _to_eight_bits(value_hw: np.ndarray) -> np.ndarray:
    """Grey values of sixteen bits, of more, or between 0 and 1, as eight bits."""
    value_hw = np.nan_to_num(value_hw.astype(np.float32), nan=0.0, posinf=255.0, neginf=0.0)
    top = float(value_hw.max(initial=0.0))
    scale = 1.0 / 257.0 if top > 255.0 else 255.0 if 0.0 < top <= 1.0 else 1.0
    return np.clip(np.rint(value_hw * scale), 0, 255).astype(np.uint8)


def _pixels(image: Image.Image, turn: int, side: int) -> np.ndarray:
    """Scaled down where it is too long, turned, over white; grey where its three channels are equal."""
    if max(image.size) > side:
        width, height = (max(1, round(length * side / max(image.size))) for length in image.size)
        image = image.resize((width, height), Image.Resampling.BILINEAR, reducing_gap=2.0)
    if turn in _TURNS:
        image = image.transpose(_TURNS[turn])
    if image.mode == "RGBA":
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    pixels_hwc = np.asarray(image)
    if pixels_hwc.ndim == 3 and _is_grey(pixels_hwc):
        return np.ascontiguousarray(pixels_hwc[:, :, 0])
    return pixels_hwc


def _is_grey(pixels_hwc: np.ndarray) -> bool:
    red, green, blue = (pixels_hwc[:, :, channel] for channel in range(3))
    return bool(np.array_equal(red, green) and np.array_equal(green, blue))
