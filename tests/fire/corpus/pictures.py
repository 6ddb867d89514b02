"""Pictures: cut, lying, bombs, of foreign formats, and honest ones that look odd."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

from PIL import Image
from tests.fire.corpus.archives import png, zipped
from tests.fire.corpus.case import GOOD, PARTLY, REFUSED, Made


def cases() -> Iterator[Made]:
    """The files of this kind."""
    for name, expected, reason, content in [*_bombs(), *_cut(), *_foreign(), *_odd()]:
        yield Made(f"image/{name}", expected, reason, content)


def saved(kind: str, mode: str = "RGB", size: tuple[int, int] = (32, 32), **options: Any) -> bytes:
    """A picture of one colour in any format."""
    out = io.BytesIO()
    Image.new(mode, size, 90 if mode in ("L", "1") else None).save(out, kind, **options)
    return out.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def blank(width: int, height: int) -> bytes:
    """A PNG of one bit a pixel, all black, packed without holding it."""
    packer, line = zlib.compressobj(9), bytes(1 + (width + 7) // 8)
    packed = b"".join(packer.compress(line) for _ in range(height)) + packer.flush()
    header = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


Row = tuple[str, str, str, bytes]


def _bombs() -> Iterator[Row]:
    good = png(1)
    text = chunk(b"zTXt", b"k\x00\x00" + zlib.compress(bytes(100 << 20), 6))
    entries = [(256, 4, 100_000), (257, 4, 100_000), (258, 3, 8), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1)]
    entries += [(278, 4, 100_000), (279, 4, 8)]
    tiff = b"II*\x00\x08\x00\x00\x00" + struct.pack("<H", len(entries))
    tiff += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries) + bytes(4)
    loop = b"II*\x00\x08\x00\x00\x00" + struct.pack("<HHHII", 1, 256, 4, 1, 1) + struct.pack("<I", 8)
    yield "000_control.png", GOOD, "OK", good
    yield "001_pixel_bomb_30k.png", REFUSED, "IMAGE_TOO_MANY_PIXELS", blank(30_000, 30_000)
    yield "002_pixel_bomb_160mpx.png", REFUSED, "IMAGE_TOO_MANY_PIXELS", blank(12_649, 12_649)
    yield "022_ztxt_bomb.png", PARTLY, "IMAGE_CORRUPT", good[:33] + text + good[33:]
    yield "025_tiff_dims.tif", PARTLY, "IMAGE_TOO_MANY_PIXELS", tiff
    yield "026_tiff_loop.tif", PARTLY, "IMAGE_CORRUPT", loop


def _cut() -> Iterator[Row]:
    jpeg = saved("JPEG")
    yield "004_truncated.jpg", PARTLY, "IMAGE_TRUNCATED", jpeg[: len(jpeg) // 2]
    yield "005_truncated.png", PARTLY, "IMAGE_TRUNCATED", png(1)[:-20]
    yield "006_zero.png", PARTLY, "IMAGE_EMPTY", b""
    yield "029_jpeg_no_eoi_tail.jpg", GOOD, "OK", jpeg[:-2] + b"<?php system($_GET['c']); ?>"


def _foreign() -> Iterator[Row]:
    svg = b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
    entity = b'<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg>&x;</svg>'
    yield "008_jpeg_named.png", GOOD, "WARN_TYPE_MISMATCH", saved("JPEG")
    yield "009_svg_named.png", PARTLY, "IMAGE_FORMAT", svg
    yield "010_xxe.svg", PARTLY, "IMAGE_FORMAT", entity
    yield "024_html_named.jpg", PARTLY, "IMAGE_FORMAT", b"<!doctype html><title>404</title>"
    yield "900_bmp_named.png", GOOD, "WARN_TYPE_MISMATCH", saved("BMP")


def _odd() -> Iterator[Row]:
    turned, far = Image.Exif(), Image.Exif()
    turned[0x0112] = 6
    far[0x010F] = "x" * 60_000
    far.get_ifd(0x8825)[1] = "N"
    frames = [Image.new("RGB", (16, 16), (90 * n, 200 - 90 * n, 40)) for n in range(3)]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:], duration=20)
    yield "012_exif_orientation.jpg", GOOD, "OK", saved("JPEG", size=(48, 24), exif=turned)
    yield "013_exif_gps_long.jpg", GOOD, "OK", saved("JPEG", exif=far)
    yield "014_cmyk.jpg", GOOD, "OK", saved("JPEG", "CMYK")
    yield "016_palette_alpha.png", GOOD, "OK", saved("PNG", "RGBA")
    yield "017_animated_300.gif", GOOD, "WARN_FIRST_FRAME", moving.getvalue()
    yield "018_polyglot_png_zip.png", GOOD, "OK", png(1) + zipped({"a": b"x"})
    yield "020_one_pixel.png", GOOD, "OK", png(1, 1)
    yield "021_extreme_aspect.png", PARTLY, "IMAGE_ASPECT", saved("PNG", size=(20_000, 1))
    yield "028_webp.webp", GOOD, "OK", saved("WEBP")
