"""Heat-maps: what spoke for the answer is orange to red, what spoke against it blue, and everything else pale grey."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tidemill.core.heatmap import LEAST, MOST, heat_png, picture_png, shown_size

Array = np.ndarray[Any, Any]


def opened(data: bytes) -> Array:
    """The pixels of a PNG as colours."""
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def noise(height: int, width: int, channels: int = 1) -> Array:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, channels), dtype=np.uint8)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 600), st.integers(1, 600))
def test_what_is_shown_has_a_longer_side_within_bounds_and_the_same_proportions(height: int, width: int) -> None:
    shown_width, shown_height = shown_size(height, width)
    assert LEAST <= max(shown_width, shown_height) <= MOST
    assert shown_width / max(shown_height, 1) == pytest.approx(width / height, rel=0.5) or min(height, width) < 3


@pytest.mark.parametrize("shape", [(28, 28, 1), (8, 20, 3), (96, 96, 3), (500, 300, 3)])
def test_both_pictures_open_in_the_size_that_was_said(shape: tuple[int, int, int]) -> None:
    pixels_hwc = noise(*shape)
    value_hw = np.random.default_rng(0).normal(size=shape[:2])
    for data in (heat_png(pixels_hwc, value_hw), picture_png(pixels_hwc)):
        height, width, _ = opened(data).shape
        assert (width, height) == shown_size(*shape[:2])


def test_equal_input_gives_equal_bytes() -> None:
    pixels_hwc, value_hw = noise(28, 28), np.random.default_rng(1).normal(size=(28, 28))
    assert heat_png(pixels_hwc, value_hw) == heat_png(pixels_hwc.copy(), value_hw.copy())
    assert picture_png(pixels_hwc) == picture_png(pixels_hwc.copy())


def test_red_stands_where_it_spoke_for_the_answer_and_blue_where_against() -> None:
    value_hw = np.zeros((28, 28))
    value_hw[4:10, 4:10], value_hw[18:24, 18:24] = 1.0, -1.0
    shown = opened(heat_png(np.full((28, 28, 1), 128, np.uint8), value_hw))
    red, blue, far = shown[7 * 8, 7 * 8], shown[21 * 8, 21 * 8], shown[7 * 8, 21 * 8]
    assert red[0] > red[2] + 100, "for: red over blue"
    assert blue[2] > blue[0] + 80, "against: blue over red"
    assert far.max() - far.min() <= 12, "nothing: grey"


def test_the_sign_alone_decides_the_colour_and_size_does_not() -> None:
    value_hw = np.random.default_rng(2).normal(size=(28, 28))
    assert heat_png(noise(28, 28), value_hw) == heat_png(noise(28, 28), value_hw * 1e-9)
    assert heat_png(noise(28, 28), value_hw) == heat_png(noise(28, 28), value_hw * 1e12)


def test_colour_blind_people_see_the_difference() -> None:
    """Without red and green apart (both as their mean) the two ends are still far from each other."""
    value_hw = np.zeros((28, 28))
    value_hw[4:10, 4:10], value_hw[18:24, 18:24] = 1.0, -1.0
    shown = opened(heat_png(np.full((28, 28, 1), 200, np.uint8), value_hw))

    def seen(colour: Array) -> Array:
        return np.array([(colour[0] + colour[1]) / 2, colour[2]])

    assert np.abs(seen(shown[56, 56]) - seen(shown[168, 168])).max() > 80


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_nothing_to_show_is_the_pale_picture(value: float) -> None:
    shown = opened(heat_png(noise(16, 16), np.full((16, 16), value)))
    assert np.abs(shown - shown.mean(2, keepdims=True)).max() <= 3
    assert shown.min() >= 150


def test_small_pictures_keep_their_squares() -> None:
    pixels_hwc = noise(28, 28)
    shown = opened(picture_png(pixels_hwc))
    assert np.array_equal(shown[::8, ::8, 0], pixels_hwc[:, :, 0].astype(int))
