"""The feature program of pictures: bytes in, uint8 pixels of one size out; the same in training and in serving.

Axes: n pictures, h rows, w columns, c channels (1 or 3).

A picture keeps its proportions: it is scaled until it fits the size and stands in the middle of it. What is left on two
sides is filled with one colour, the median of the picture's own rim there: on a plain ground (digits, clip art) no seam
is seen, and on photographs the filling has no texture to learn from, which stretching, mirroring or black bars have.
Each picture is worked on by itself, so a batch of n gives exactly what n batches of one give.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from PIL import Image

from tidemill.core.errors import BadBundle, BadPicture, BadTable, SchemaMismatch
from tidemill.core.features import cells
from tidemill.core.features.kinds import Array
from tidemill.core.readers.picture import glance, read_picture

if TYPE_CHECKING:  # reading specifications is not needed where programs are only replayed
    from tidemill.core.features.program import Columns
    from tidemill.core.spec import Spec

FORMAT = 1
MODALITY = "picture"
COLUMN = "picture"
GREY, COLOUR = 1, 3
SMALL = 64  # pixels up to which pictures are looked at as they are
BACKBONE = 224  # pixels of a side that frozen networks were trained with, in colour
MIDDLE = 96  # pixels of a side for larger ones: a tenth of the work of 224, which [data] size = 224 asks for
LEAST = 8  # pixels below which convolutions with pooling have nothing left


@dataclass(frozen=True)
class PictureProgram:
    """A fitted program: the size and channels every picture is brought to."""

    modality: ClassVar[str] = MODALITY
    size: tuple[int, int]  # h, w in pixels
    channels: int
    ignored: tuple[str, ...] = ()  # the target, the name of the file: welcome in a row, never read
    columns: tuple[str, ...] = (COLUMN,)

    @property
    def shape(self) -> tuple[int, int, int]:
        """The axes of one picture."""
        return (*self.size, self.channels)

    def apply(self, columns: Mapping[str, Array]) -> Array:
        """The pixels x_nhwc (uint8) of a column of bytes; raises BadPicture for bytes that are none."""
        cells.check_names(columns.keys(), self.columns)
        pictures = columns[COLUMN]
        x_nhwc = np.empty((len(pictures), *self.shape), np.uint8)
        for row, data in enumerate(pictures):
            x_nhwc[row] = self.pixels_of(data)
        return x_nhwc

    def read_rows(self, rows: Sequence[Mapping[str, Any]]) -> Columns:
        """Rows as a request brings them, bytes or base64, as a column; raises SchemaMismatch naming the row."""
        pictures = np.empty(len(rows), object)
        for index, row in enumerate(rows):
            cells.check_names(row.keys(), self.columns, self.ignored, row=index)
            pictures[index] = _bytes(row[COLUMN], index)
        return {COLUMN: pictures}

    def x_of_rows(self, rows: Sequence[Mapping[str, Any]]) -> Array:
        """Exactly apply(read_rows(rows)), with the row named where a picture is broken."""
        pictures = self.read_rows(rows)[COLUMN]
        x_nhwc = np.empty((len(rows), *self.shape), np.uint8)
        for index, data in enumerate(pictures):
            try:
                x_nhwc[index] = self.pixels_of(data)
            except BadPicture as error:
                raise BadPicture(
                    f"Row {index}: {error.message}", code=error.code, remedy=error.remedy, row=index
                ) from error
        return x_nhwc

    def pixels_of(self, data: bytes) -> Array:
        """The pixels of one picture, h w c."""
        image = Image.fromarray(read_picture(data).pixels_hwc).convert("L" if self.channels == GREY else "RGB")
        scaled_hwc = _scaled(image, self.size)
        return _centred(scaled_hwc.reshape(*scaled_hwc.shape[:2], self.channels), self.size)

    def to_json(self) -> dict[str, Any]:
        """The program as plain values."""
        return {
            "format": FORMAT,
            "modality": MODALITY,
            "size": list(self.size),
            "channels": self.channels,
            "columns": list(self.columns),
            "ignored": list(self.ignored),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> PictureProgram:
        """The program that `to_json` wrote; raises BadBundle for anything else."""
        try:
            if value["format"] != FORMAT or value["modality"] != MODALITY:
                raise BadBundle(
                    f"features.json is of format {value['format']!r} for {value['modality']!r};"
                    f" this code reads {FORMAT} for {MODALITY!r}.",
                    remedy="Deploy the version that wrote it, or train again.",
                )
            height, width = value["size"]
            return cls((int(height), int(width)), int(value["channels"]), tuple(value["ignored"]))
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise BadBundle(f"features.json cannot be read: {error!r}.", remedy="Train again.") from error


def fit(columns: Mapping[str, Array], schema: dict[str, Any], spec: Spec) -> PictureProgram:
    """The program for training pictures; their order makes no difference.

    Pictures of one size up to 64 pixels are left as they are; small ones of several sizes get the median of their
    longer sides; larger ones 96; a frozen network gets what it was trained with. A size in the specification wins.
    Grey where all are grey and no frozen network wants colours.
    """
    pictures = columns.get(COLUMN)
    if pictures is None or not len(pictures):
        raise BadTable("There are no pictures to learn from.", code="NO_FEATURES", remedy="Prepare the dataset again.")
    seen = [glance(data) for data in pictures]
    ignored = tuple(item["name"] for item in schema["columns"] if item["role"] != "feature")
    grey = all(is_grey for _, _, is_grey in seen)
    side = spec.data.size or (BACKBONE if spec.train.backbone else 0)
    size = (side, side) if side else size_for({(height, width) for height, width, _ in seen}, seen)
    return PictureProgram(size, GREY if grey and not spec.train.backbone else COLOUR, ignored)


def size_for(sizes: set[tuple[int, int]], seen: Sequence[tuple[int, int, bool]]) -> tuple[int, int]:
    """The height and width to bring pictures to."""
    if len(sizes) == 1 and max(only := next(iter(sizes))) <= SMALL:
        return max(only[0], LEAST), max(only[1], LEAST)
    side = int(np.median([max(height, width) for height, width, _ in seen]))
    side = max(side, LEAST) if side <= SMALL else MIDDLE
    return side, side


def _bytes(value: Any, row: int) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        text = value.partition(",")[2] if value.startswith("data:") else value
        try:
            return base64.b64decode("".join(text.split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise _mismatch(f"The {COLUMN} of row {row} is not base64: {error}.", row) from error
    raise _mismatch(f"The {COLUMN} of row {row} is of type {type(value).__name__}.", row)


def _mismatch(what: str, row: int) -> SchemaMismatch:
    return SchemaMismatch(what, remedy="Give the bytes of a picture file, base64 in JSON.", row=row, column=COLUMN)


def _scaled(image: Image.Image, size: tuple[int, int]) -> Array:
    """The image as large as fits; bilinear over the whole area that becomes a pixel, so that nothing flickers."""
    height, width = size
    scale = min(height / image.height, width / image.width)
    fitted = (min(width, max(1, round(image.width * scale))), min(height, max(1, round(image.height * scale))))
    return np.asarray(image if fitted == image.size else image.resize(fitted, Image.Resampling.BILINEAR))


def _centred(pixels_hwc: Array, size: tuple[int, int]) -> Array:
    """Pixels in the middle of the size; the sides that are left in the median colour of the rim they touch."""
    height, width = pixels_hwc.shape[:2]
    if (height, width) == size:
        return pixels_hwc
    sides = [pixels_hwc[[0, -1]].reshape(-1, pixels_hwc.shape[2])] if height < size[0] else []
    sides += [pixels_hwc[:, [0, -1]].reshape(-1, pixels_hwc.shape[2])] if width < size[1] else []
    colour_c = np.sort(np.concatenate(sides), axis=0)[sum(map(len, sides)) // 2]
    top, left = (size[0] - height) // 2, (size[1] - width) // 2
    filled_hwc = np.empty((*size, pixels_hwc.shape[2]), np.uint8)
    filled_hwc[:] = colour_c
    filled_hwc[top : top + height, left : left + width] = pixels_hwc
    return filled_hwc
