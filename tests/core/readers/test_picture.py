"""Pictures: one meaning whatever the format, limits from the header, and broken bytes that always end in a code."""

from __future__ import annotations

import random
import zlib

import numpy as np
import pytest
from PIL import Image
from tests.core.pictures import drawn, encoded

from tidemill.core.errors import BadPicture
from tidemill.core.limits import LIMITS, Limit
from tidemill.core.readers.picture import glance, read_picture
from tidemill.core.readers.picture_faults import FORMATS

PIXELS = drawn(1, 30, 20)
LOSSLESS = {"PNG": {}, "BMP": {}, "TIFF": {}, "WEBP": {"lossless": True}}


def code_of(data: bytes, name: str = "") -> str:
    with pytest.raises(BadPicture) as caught:
        read_picture(data, name)
    assert caught.value.remedy
    return caught.value.code


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_give_the_pixels_back(kind: str) -> None:
    picture = read_picture(encoded(PIXELS, kind, **LOSSLESS[kind]))
    assert np.array_equal(picture.pixels_hwc, PIXELS)
    assert (picture.format, picture.height, picture.width, picture.grey) == (kind, 30, 20, False)


@pytest.mark.parametrize("kind", FORMATS)
def test_every_format_comes_close(kind: str) -> None:
    pixels_hwc = read_picture(encoded(PIXELS, kind)).pixels_hwc
    assert pixels_hwc.shape == PIXELS.shape
    assert np.abs(pixels_hwc.astype(int) - PIXELS).mean() < 12


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_stands_upright_however_the_camera_was_held(orientation: int) -> None:
    undone = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}[orientation]  # FLIP_LR 0, FLIP_TB 1, ROTATE_90 2 ...
    image = Image.fromarray(PIXELS)
    held = image if undone is None else image.transpose(Image.Transpose(undone))
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = encoded(held, "PNG", exif=exif)
    picture = read_picture(data)
    assert np.array_equal(picture.pixels_hwc, PIXELS)
    assert (picture.height, picture.width) == (30, 20)
    assert glance(data) == (30, 20, False)


def test_broken_metadata_does_not_spoil_a_picture() -> None:
    data = encoded(PIXELS, "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff broken")
    assert read_picture(data).pixels_hwc.shape == PIXELS.shape


def test_transparency_stands_over_white() -> None:
    rgba_hwc = np.dstack([PIXELS, np.full(PIXELS.shape[:2], 255, np.uint8)])
    rgba_hwc[:5, :, 3] = 0
    pixels_hwc = read_picture(encoded(rgba_hwc)).pixels_hwc
    assert np.all(pixels_hwc[:5] == 255)
    assert np.array_equal(pixels_hwc[5:], PIXELS[5:])


def test_a_transparent_colour_of_a_palette_stands_over_white() -> None:
    image = Image.fromarray(np.repeat(np.array([[0], [1]], np.uint8), 4, axis=1)).convert("P")
    image.putpalette([255, 0, 0, 0, 0, 255])
    pixels_hwc = read_picture(encoded(image, "PNG", transparency=0)).pixels_hwc
    assert pixels_hwc.tolist() == [[[255, 255, 255]] * 4, [[0, 0, 255]] * 4]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr", "I;16", "F", "I"])
def test_every_mode_becomes_eight_bits_of_grey_or_colour(mode: str) -> None:
    grey = Image.fromarray(drawn(2, grey=True))
    if mode in ("I;16", "I"):
        image = Image.fromarray(np.asarray(grey).astype(np.uint16 if mode == "I;16" else np.int32) * 257)
    elif mode == "F":
        image = Image.fromarray(np.asarray(grey).astype(np.float32) / 255)
    else:
        image = grey.convert(mode)
    picture = read_picture(encoded(image, "TIFF"))
    assert picture.pixels_hwc.dtype == np.uint8
    assert picture.pixels_hwc.shape[:2] == (24, 24)
    if mode not in ("1", "YCbCr", "P"):
        assert np.abs(np.atleast_3d(picture.pixels_hwc).astype(int)[:, :, 0] - np.asarray(grey)).max() <= 1


def test_grey_saved_in_colour_is_grey() -> None:
    grey_hw = drawn(3, grey=True)
    picture = read_picture(encoded(np.dstack([grey_hw] * 3)))
    assert picture.grey
    assert np.array_equal(picture.pixels_hwc, grey_hw)


def test_a_large_picture_is_scaled_to_the_longest_side() -> None:
    picture = read_picture(encoded(drawn(4, 1_400, 700), "JPEG"))
    assert picture.pixels_hwc.shape == (512, 256, 3)
    assert (picture.height, picture.width) == (1_400, 700)


def test_an_animation_is_its_first_frame_and_says_so() -> None:
    frames = [Image.fromarray(drawn(seed)).quantize(16) for seed in range(5)]
    for kind in ("GIF", "WEBP", "PNG"):
        options = {"lossless": True} if kind == "WEBP" else {}
        whole = [frame.convert("RGB") for frame in frames]
        data = encoded(whole[0], kind, save_all=True, append_images=whole[1:], **options)
        picture = read_picture(data, "x." + kind.lower())
        assert picture.notes == ("WARN_FIRST_FRAME",)
        assert np.abs(picture.pixels_hwc.astype(int) - np.asarray(whole[0])).mean() < 12
    assert not read_picture(encoded(frames[0], "GIF"), "x.gif").notes


@pytest.mark.parametrize(("name", "noted"), [("a.png", True), ("a.JPG", False), ("a.jpeg", False), ("a", False)])
def test_a_name_that_says_another_format_is_noted(name: str, noted: bool) -> None:
    assert ("WARN_TYPE_MISMATCH" in read_picture(encoded(PIXELS, "JPEG"), name).notes) is noted


def header(width: int, height: int) -> bytes:
    """A PNG that declares a size and holds nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    head = width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x00\x00\x00\x00"
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("size", [(8_193, 8_192), (12_000, 12_000), (100_000, 100_000)])
def test_too_many_pixels_are_refused_from_the_header(size: tuple[int, int]) -> None:
    assert code_of(header(*size)) == "IMAGE_TOO_MANY_PIXELS"


def test_limits_hold_at_their_edge(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(PIXELS)
    monkeypatch.setitem(LIMITS, "picture_pixels", Limit(600, "pixels", "test"))
    monkeypatch.setitem(LIMITS, "picture_bytes", Limit(len(data), "bytes", "test"))
    read_picture(data)
    monkeypatch.setitem(LIMITS, "picture_pixels", Limit(599, "pixels", "test"))
    assert code_of(data) == "IMAGE_TOO_MANY_PIXELS"
    monkeypatch.setitem(LIMITS, "picture_bytes", Limit(len(data) - 1, "bytes", "test"))
    assert code_of(data) == "IMAGE_TOO_LARGE"


def test_strips_are_refused_at_a_hundred_to_one() -> None:
    read_picture(encoded(np.zeros((2, 200), np.uint8)))
    assert code_of(encoded(np.zeros((2, 202), np.uint8))) == "IMAGE_ASPECT"


@pytest.mark.parametrize(
    "data", [b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"<html>404</html>", b"MZ" + bytes(200)]
)
def test_what_is_no_picture_says_so(data: bytes) -> None:
    assert code_of(data, "a.png") == "IMAGE_FORMAT"


@pytest.mark.parametrize("kind", FORMATS)
def test_broken_pictures_end_in_a_code(kind: str) -> None:
    """Cut at many places and with bytes flipped: a picture or BadPicture, never another error."""
    data, chance = encoded(PIXELS, kind), random.Random(kind)
    damaged = [data[: chance.randrange(1, len(data))] for _ in range(40)]
    for _ in range(120):
        flipped = bytearray(data)
        for _ in range(chance.randrange(1, 6)):
            flipped[chance.randrange(min(len(data), 400))] = chance.randrange(256)
        damaged.append(bytes(flipped))
    for item in damaged:
        for reading in (read_picture, glance):
            try:
                reading(item)
            except BadPicture as error:
                assert error.code.startswith("IMAGE_")


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("keep", [0.5, 0.8, 0.95])
def test_a_picture_that_was_cut_off_is_called_so(kind: str, keep: float) -> None:
    data = encoded(np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8), kind)
    assert code_of(data[: int(len(data) * keep)]) == "IMAGE_TRUNCATED"


def test_text_that_unpacks_without_end_is_refused() -> None:
    from PIL import PngImagePlugin

    info = PngImagePlugin.PngInfo()
    info.add_text("comment", "x" * (8 << 20), zip=True)
    assert code_of(encoded(Image.fromarray(PIXELS), "PNG", pnginfo=info)) == "IMAGE_CORRUPT"


def test_glance_agrees_with_reading() -> None:
    for seed, kind in enumerate(FORMATS):
        data = encoded(drawn(seed, 20 + seed, 31), kind)
        assert glance(data)[:2] == read_picture(data).pixels_hwc.shape[:2]
