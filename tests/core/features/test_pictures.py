"""The picture program: what it decides, and that training and serving see the same pixels."""

from __future__ import annotations

import base64
import io
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from tests.core.pictures import class_folders, drawn, encoded, zipped

from tidemill.core import features
from tidemill.core.errors import BadBundle, BadPicture, BadSpec, BadTable, SchemaMismatch
from tidemill.core.features.pictures import PictureProgram
from tidemill.core.prepare import load_split, prepare
from tidemill.core.spec import Spec

SCHEMA: dict[str, Any] = {
    "modality": "picture",
    "columns": [
        {"name": "picture", "kind": "picture", "role": "feature"},
        {"name": "file", "kind": "category", "role": "id"},
        {"name": "label", "kind": "category", "role": "target"},
    ],
}


def column(*pictures: np.ndarray) -> dict[str, np.ndarray]:
    data = np.empty(len(pictures), object)
    data[:] = [encoded(pixels) for pixels in pictures]
    return {"picture": data}


def fitted(*pictures: np.ndarray, **data: Any) -> PictureProgram:
    program = features.fit(column(*pictures), SCHEMA, Spec.from_json({"data": data}))
    assert isinstance(program, PictureProgram)
    return program


def test_a_backbone_gets_the_size_and_colours_it_was_trained_with_unless_a_size_is_given() -> None:
    train, grey = {"backbone": "lite0"}, column(drawn(1, 28, 28, grey=True))
    for data, shape in (({}, (224, 224, 3)), ({"size": 96}, (96, 96, 3))):
        program = features.fit(grey, SCHEMA, Spec.from_json({"data": data, "train": train}))
        assert program.shape == shape
        assert program.apply(grey).shape == (1, *shape)


MIXED = [drawn(k, 20 + 7 * k % 60, 90 - 11 * k % 70, grey=k % 3 == 0) for k in range(12)]


@pytest.mark.parametrize(
    ("sizes", "grey", "shape"),
    [
        ([(28, 28)] * 5, True, (28, 28, 1)),
        ([(28, 28)] * 5, False, (28, 28, 3)),
        ([(8, 8)] * 3, True, (8, 8, 1)),
        ([(20, 64)] * 3, False, (20, 64, 3)),
        ([(1, 1)] * 3, False, (8, 8, 3)),
        ([(20, 30), (40, 10), (50, 60)], False, (40, 40, 3)),
        ([(64, 65)] * 3, True, (96, 96, 1)),
        ([(20, 30), (300, 200), (200, 301)], False, (96, 96, 3)),
    ],
)
def test_size_and_channels_follow_the_pictures(
    sizes: list[tuple[int, int]], grey: bool, shape: tuple[int, int, int]
) -> None:
    assert fitted(*(drawn(k, *size, grey=grey) for k, size in enumerate(sizes))).shape == shape


def test_one_picture_in_colour_makes_all_of_them_so() -> None:
    assert fitted(drawn(1, grey=True), drawn(2, grey=True), drawn(3)).channels == 3


def test_a_size_in_the_specification_wins() -> None:
    assert fitted(*MIXED, size=224).shape == (224, 224, 3)


@pytest.mark.parametrize("size", [1, 7])
def test_a_size_that_leaves_nothing_is_refused(size: int) -> None:
    with pytest.raises(BadSpec):
        Spec.from_json({"data": {"size": size}})


def test_the_order_of_the_pictures_makes_no_difference() -> None:
    shuffled = random.Random(1).sample(MIXED, len(MIXED))
    assert fitted(*MIXED) == fitted(*shuffled)


def test_pictures_of_the_size_keep_their_pixels() -> None:
    pictures = [drawn(k, 28, 28, grey=True) for k in range(4)]
    x_nhwc = fitted(*pictures).apply(column(*pictures))
    assert x_nhwc.dtype == np.uint8
    assert x_nhwc.flags.c_contiguous
    assert np.array_equal(x_nhwc[..., 0], pictures)


def test_a_batch_of_n_is_n_batches_of_one() -> None:
    program = fitted(*MIXED)
    columns = column(*MIXED)
    x_nhwc = program.apply(columns)
    single = [program.apply({"picture": columns["picture"][row : row + 1]})[0] for row in range(len(MIXED))]
    assert np.array_equal(x_nhwc, single)


def test_rows_in_bytes_base64_and_data_urls_are_what_apply_gives() -> None:
    program, columns = fitted(*MIXED), column(*MIXED)
    x_nhwc = program.apply(columns)
    texts = [base64.b64encode(data).decode() for data in columns["picture"]]
    for rows in (
        [{"picture": data} for data in columns["picture"]],
        [{"picture": text, "label": "cat", "file": "x.png"} for text in texts],
        [{"picture": "data:image/png;base64," + text} for text in texts],
        [{"picture": "\n".join(text[k : k + 76] for k in range(0, len(text), 76))} for text in texts],
    ):
        assert np.array_equal(program.x_of_rows(rows), x_nhwc)
        assert np.array_equal(program.apply(program.read_rows(rows)), x_nhwc)


def test_a_program_survives_json() -> None:
    program = fitted(*MIXED)
    assert PictureProgram.from_json(json.loads(json.dumps(program.to_json()))) == program


@pytest.mark.parametrize(
    "change", [{"format": 2}, {"modality": "table"}, {"size": [1]}, {"size": "no"}, {"channels": None}, {"ignored": 1}]
)
def test_anything_else_is_a_damaged_bundle(change: dict[str, Any]) -> None:
    with pytest.raises(BadBundle):
        PictureProgram.from_json({**fitted(*MIXED).to_json(), **change})


def test_proportions_are_kept_and_the_rest_has_the_colour_of_the_rim() -> None:
    ring = np.full((20, 40, 3), (10, 200, 90), np.uint8)
    ring[8:12, 16:24] = 255
    program = fitted(np.zeros((40, 40, 3), np.uint8))
    (filled_hwc,) = program.apply(column(ring))
    assert np.array_equal(filled_hwc[10:30], ring)
    assert np.all(filled_hwc[:10] == (10, 200, 90))
    assert np.all(filled_hwc[30:] == (10, 200, 90))
    (turned_hwc,) = program.apply(column(np.ascontiguousarray(ring.transpose(1, 0, 2))))
    assert np.array_equal(turned_hwc, filled_hwc.transpose(1, 0, 2))


def test_extremes_fit() -> None:
    program = fitted(*MIXED)
    for height, width in ((1, 1), (1, 100), (100, 1), (600, 6), (2, 3)):
        (x_hwc,) = program.apply(column(np.full((height, width, 3), 77, np.uint8)))
        assert np.all(x_hwc == 77)


def test_a_grey_program_looks_at_brightness_and_a_coloured_one_at_grey_in_three_channels() -> None:
    grey, colour = fitted(drawn(1, grey=True)), fitted(drawn(1))
    red = np.zeros((24, 24, 3), np.uint8)
    red[..., 0] = 255
    assert np.all(grey.apply(column(red)) == 76)  # ITU-R 601-2: 0.299 of red
    x_nhwc = colour.apply(column(drawn(2, grey=True)))
    assert np.array_equal(x_nhwc[..., 0], x_nhwc[..., 2])


@pytest.mark.parametrize(
    ("row", "error"),
    [
        ({}, SchemaMismatch),
        ({"picture": 7}, SchemaMismatch),
        ({"picture": None}, SchemaMismatch),
        ({"picture": "no base64!"}, SchemaMismatch),
        ({"picture": "aGFsbG8="}, BadPicture),
        ({"picture": b""}, BadPicture),
        ({"picture": encoded(drawn(1)), "colour": 1}, SchemaMismatch),
    ],
)
def test_a_wrong_row_is_named(row: dict[str, Any], error: type[Exception]) -> None:
    good = {"picture": encoded(drawn(1))}
    with pytest.raises(error) as caught:
        fitted(*MIXED).x_of_rows([good, row])
    assert "1" in str(caught.value)


def test_no_pictures_are_nothing_to_learn_from() -> None:
    with pytest.raises(BadTable):
        features.fit({"picture": np.empty(0, object)}, SCHEMA, Spec())


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_what_was_uploaded_and_what_was_stored_are_seen_nearly_alike(tmp_path: Path, kind: str) -> None:
    """Training sees the stored bytes, serving the caller's: the same below 128 pixels, else within JPEG's error."""
    members = class_folders(40)
    for k in range(40):
        members[f"cat/large-{k}.{kind.lower()}"] = encoded(drawn(k, 300 + k, 700), kind)
    prepared = prepare(io.BytesIO(zipped(members)), "a.zip", Spec(), tmp_path / "d", model="m")
    program = features.fit(load_split(prepared.folder, "train")[0], prepared.schema, Spec())
    table = pq.read_table(prepared.folder / "train-00000.parquet", partitioning=None)
    stored = program.x_of_rows([{"picture": data} for data in table["picture"].to_pylist()]).astype(int)
    raw = program.x_of_rows([{"picture": members[name]} for name in table["file"].to_pylist()]).astype(int)
    large = np.array(["large" in name for name in table["file"].to_pylist()])
    assert np.array_equal(stored[~large], raw[~large])
    assert np.abs(stored[large] - raw[large]).max() <= 4
    assert large.any()
    assert not large.all()
