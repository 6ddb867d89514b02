"""Examples of pictures: as the model sees them, beside where it saw its answer.

Axes: h rows, w columns, c channels.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any, cast

from PIL import Image

from tidemill.core.features.pictures import COLUMN, PictureProgram
from tidemill.core.heatmap import heat_png, picture_png
from tidemill.training.dataset import Dataset
from tidemill.training.evaluate import Model
from tidemill.training.examples.choosing import Shown, shown
from tidemill.training.explain import Explainer

SIDE = 224  # pixels of the longer side: a card shows several pictures in a row
COLOURS = 64  # of a palette: a third of the bytes, and no difference at this size
ROOM = 800_000  # characters of all pictures together: a card is a page to be mailed


def examples_of(model: Model, explainer: Explainer, data: Dataset) -> dict[str, Any]:
    """The `examples` of a card: the smallest test picture as a request, explanations, and the worst mistakes."""
    smallest = min(data.test.columns[COLUMN], key=len)
    kinds = [[_entry(one, data) for one in some] for some in shown(model, explainer, data)]
    explanations, mistakes = within(*kinds)
    request = {COLUMN: base64.b64encode(smallest).decode()}
    return {"request": request, "explanations": explanations, "mistakes": mistakes}


def _entry(one: Shown, data: Dataset) -> dict[str, Any]:
    """One picture with its answer; `heat` marks what spoke for the answer and what against it."""
    program: PictureProgram = cast(Any, data.program)
    pixels_hwc = data.test.x_n[one.row]
    heat = heat_png(pixels_hwc, one.contribution_p.reshape(program.size))
    return {**one.facts, "picture": data_uri(small(picture_png(pixels_hwc))), "heat": data_uri(small(heat))}


def small(png: bytes) -> bytes:
    """A picture of at most SIDE pixels a side and COLOURS colours."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    if max(image.size) > SIDE:
        height, width = (max(1, round(length * SIDE / max(image.size))) for length in (image.height, image.width))
        image = image.resize((width, height), Image.Resampling.LANCZOS)
    sink = io.BytesIO()
    image.quantize(COLOURS, dither=Image.Dither.NONE).save(sink, "PNG", optimize=True)
    return sink.getvalue()


def data_uri(png: bytes) -> str:
    """A picture as a page holds it in itself."""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def within(
    explanations: Sequence[dict[str, Any]], mistakes: Sequence[dict[str, Any]]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """As many of both, in turns from the first, as there is room for; one of each in any case."""
    kept: tuple[list[dict[str, Any]], list[dict[str, Any]]] = ([], [])
    left = ROOM
    for pair in zip_longest(explanations, mistakes):
        for one, some in zip(pair, kept, strict=True):
            if one is None:
                continue
            left -= len(one["picture"]) + len(one["heat"])
            if left >= 0 or not some:
                some.append(one)
    return kept
