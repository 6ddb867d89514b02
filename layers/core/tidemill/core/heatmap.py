"""Pictures for people: what a model sees, and over it where that spoke for the answer and where against it.

Orange to red speaks for the answer, blue against it: colours that people with any colour vision tell apart. What is
nearest in brightness to the paper says least. Single pixels are too fine to be read, so they are summed into cells.

Axes: h rows, w columns, c channels of the picture as the model sees it; y rows, x columns of the picture that is shown.
"""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from PIL import Image

Array = np.ndarray[Any, Any]

LEAST, MOST = 224, 448  # pixels of the longer side of what is shown
SQUARES = 64  # pixels of a side up to which each is shown as a square: smoothed, a digit of 28 would look out of focus
CELLS = 14  # along the longer side
PALE = 0.35  # of the picture's own contrast that is left below the colours
COVER = 0.85  # of a colour where it is strongest
FOR = np.array([(250, 178, 60), (202, 40, 0)], np.float32)  # weak, strong
AGAINST = np.array([(120, 190, 240), (0, 84, 170)], np.float32)
COLOURS = 256  # of the file: a third of the bytes that all would take


def heat_png(pixels_hwc: Array, contribution_hw: Array) -> bytes:
    """The picture in pale grey, in red what spoke for the answer and in blue what spoke against it, as PNG."""
    size = shown_size(*pixels_hwc.shape[:2])
    grey_yx = np.asarray(_image(pixels_hwc).convert("L").resize(size, _filter(pixels_hwc)), np.float32)
    pale_yx = 255.0 - (255.0 - grey_yx) * PALE
    strength_yx = _strength(contribution_hw, size)[..., None]
    ends = np.where(strength_yx[..., None] >= 0, FOR, AGAINST)
    size_yx = np.abs(strength_yx)
    colour_yxc = ends[..., 0, :] + (ends[..., 1, :] - ends[..., 0, :]) * size_yx
    cover_yx = COVER * size_yx
    blended_yxc = np.rint(pale_yx[..., None] * (1.0 - cover_yx) + colour_yxc * cover_yx).astype(np.uint8)
    return _png(Image.fromarray(blended_yxc).quantize(COLOURS, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE))


def picture_png(pixels_hwc: Array) -> bytes:
    """The picture as the model sees it, as large as its heat-map, as PNG."""
    return _png(_image(pixels_hwc).resize(shown_size(*pixels_hwc.shape[:2]), _filter(pixels_hwc)))


def shown_size(height: int, width: int) -> tuple[int, int]:
    """Width and height of what is shown: a whole multiple where the picture is small, cut down where it is large."""
    longer = max(height, width)
    scale = MOST / longer if longer > MOST else -(-LEAST // longer)
    return max(1, round(width * scale)), max(1, round(height * scale))


def _strength(contribution_hw: Array, size: tuple[int, int]) -> Array:
    """Contributions summed into cells and spread smoothly over what is shown; -1 to 1, the strongest cell at an end."""
    finite_hw = np.nan_to_num(np.asarray(contribution_hw, np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    top = float(np.abs(finite_hw).max(initial=0.0))
    if not top:
        return np.zeros(size[::-1], np.float32)
    height, width = finite_hw.shape
    cells = (_cells(width, max(height, width)), _cells(height, max(height, width)))
    coarse = Image.fromarray((finite_hw / top).astype(np.float32)).resize(cells, Image.Resampling.BOX)
    strongest = float(np.abs(np.asarray(coarse)).max())
    spread_yx = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC), np.float32)
    shown_yx: Array = np.clip(spread_yx / strongest, -1.0, 1.0) if strongest else np.zeros_like(spread_yx)
    return shown_yx


def _cells(side: int, longer: int) -> int:
    """How many cells a side is cut into: no more than it has pixels."""
    return max(1, min(side, round(CELLS * side / longer)))


def _image(pixels_hwc: Array) -> Image.Image:
    return Image.fromarray(pixels_hwc[:, :, 0] if pixels_hwc.shape[2] == 1 else pixels_hwc)


def _filter(pixels_hwc: Array) -> Image.Resampling:
    small = max(pixels_hwc.shape[:2]) <= SQUARES
    return Image.Resampling.NEAREST if small else Image.Resampling.BICUBIC


def _png(image: Image.Image) -> bytes:
    sink = io.BytesIO()
    image.save(sink, "PNG", optimize=False, compress_level=6)
    return sink.getvalue()
