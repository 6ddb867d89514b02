"""Laws of preparation, on tables nobody would write by hand."""

from __future__ import annotations

import csv
import io
import random
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import BadTable
from tidemill.core.prepare import Prepared, load_split, prepare
from tidemill.core.prepare.hashing import SPAN, Sketch, hash_numbers, mix
from tidemill.core.prepare.split import SPLITS, by_rank, divide, with_occurrence
from tidemill.core.spec import Spec

ANY = st.text(alphabet='ab01.,-"?N\n é', max_size=5)
NUMBER = st.one_of(st.integers(-50, 50).map(str), st.floats(-1e3, 1e3).map(lambda v: f"{v:.3f}"), st.just(""))
WORD = st.sampled_from(["red", "green", "blue", "NA", ""])
LABEL = st.sampled_from(["yes", "no"])
ROW = st.tuples(NUMBER, WORD, st.integers(0, 9).map(str), LABEL)
ROWS = st.lists(ROW, min_size=60, max_size=90)
NAMES = ("number", "word", "digit", "label")
LAX = {"preprocess": {"max_bad_fraction": 1.0}}
FEW = settings(deadline=None, max_examples=20)


def text_of(names: tuple[str, ...], rows: list[Any]) -> bytes:
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return sink.getvalue().encode()


def prepared(content: bytes, **sections: Any) -> tuple[Prepared, tempfile.TemporaryDirectory[str]]:
    folder = tempfile.TemporaryDirectory()
    try:
        spec = Spec.from_json(sections)
        return prepare(io.BytesIO(content), "t.csv", spec, Path(folder.name) / "d", model="law"), folder
    except BaseException:
        folder.cleanup()
        raise


def members(found: Prepared) -> dict[str, list[tuple[Any, ...]]]:
    """The rows of each split as a multiset of hash and target."""
    result = {}
    for split in SPLITS:
        _, y, hashes = load_split(found.folder, split)
        result[split] = sorted(zip(hashes.tolist(), y.tolist(), strict=True))
    return result


@FEW
@given(st.lists(st.lists(ANY, min_size=2, max_size=4), min_size=50, max_size=80))
def test_rows_read_are_rows_used_plus_rows_quarantined(rows: list[list[str]]) -> None:
    content = text_of(("a", "b", "label"), [[*row, "yes" if index % 2 else "no"] for index, row in enumerate(rows)])
    try:
        found, folder = prepared(content, **LAX)
    except BadTable as refused:
        assert refused.code
        assert refused.remedy
        return
    with folder:
        rows_ = found.rows
        assert rows_["read"] == rows_["used"] + rows_["quarantined"]
        assert rows_["used"] == rows_["train"] + rows_["validation"] + rows_["test"]
        quarantined = pq.read_table(found.folder / "quarantine.parquet")["row"].to_pylist()
        used = [
            row
            for split in SPLITS
            for row in pq.read_table(found.folder / f"{split}-00000.parquet")["__row"].to_pylist()
        ]
        assert len(quarantined) == rows_["quarantined"]
        assert len(set(used) | set(quarantined)) == len(used) + len(quarantined) == rows_["read"]


@FEW
@given(ROWS, st.randoms(use_true_random=False))
def test_row_order_changes_neither_schema_nor_split(rows: list[Any], chance: random.Random) -> None:
    mixed = rows[:]
    chance.shuffle(mixed)
    _agree(text_of(NAMES, rows), text_of(NAMES, mixed), schema=True)


@FEW
@given(ROWS, st.permutations(range(4)))
def test_column_order_does_not_change_the_split(rows: list[Any], order: list[int]) -> None:
    moved = [tuple(row[place] for place in order) for row in rows]
    _agree(text_of(NAMES, rows), text_of(tuple(NAMES[place] for place in order), moved), schema=False)


def _agree(left: bytes, right: bytes, schema: bool) -> None:
    try:
        one, one_folder = prepared(left)
    except BadTable as refused:
        try:
            _, other_folder = prepared(right)
        except BadTable as also:
            assert also.code == refused.code
            return
        other_folder.cleanup()
        raise
    with one_folder:
        other, other_folder = prepared(right)
        with other_folder:
            assert members(one) == members(other)
            if schema:
                assert {**one.schema, "dataset": ""} == {**other.schema, "dataset": ""}


@FEW
@given(st.integers(0, 2**32))
def test_a_row_falls_in_the_same_split_in_every_upload(seed: int) -> None:
    chance = random.Random(seed)
    rows = [(chance.randrange(10**6), chance.choice("abc"), chance.choice(["yes", "no"])) for _ in range(400)]
    first, first_folder = prepared(text_of(("x", "c", "label"), rows))
    with first_folder:
        second, second_folder = prepared(text_of(("x", "c", "label"), rows[100:] + rows[:50]))
        with second_folder:
            if {first.profile["split"]["method"], second.profile["split"]["method"]} != {"content"}:
                return
            where = {item[0]: split for split, items in members(first).items() for item in items}
            assert all(where[item[0]] == split for split, items in members(second).items() for item in items)


def test_equal_rows_stand_in_one_split() -> None:
    chance = random.Random(3)
    rows = [(number, "ab"[number % 2], chance.choice(["yes", "no"])) for number in range(200) for _ in range(3)]
    found, folder = prepared(text_of(("x", "c", "label"), rows))
    with folder:
        assert found.profile["split"]["method"] == "content"
        seen = [set(load_split(found.folder, split)[2].tolist()) for split in SPLITS]
        assert not (seen[0] & seen[1] or seen[0] & seen[2] or seen[1] & seen[2])
        assert sum(map(len, seen)) == 200


@given(st.lists(st.floats(allow_nan=True), min_size=1))
def test_equal_numbers_have_equal_hashes(values: list[float]) -> None:
    array = np.array([*values, 0.0, -0.0, float("nan"), -float("nan")])
    hashes = hash_numbers(array)
    assert hashes[-4] == hashes[-3]
    assert hashes[-2] == hashes[-1]
    keys = ["nan" if np.isnan(value) else repr(value + 0.0) for value in array.tolist()]
    assert len(set(keys)) == len(set(hashes.tolist()))


def test_the_mixer_is_splitmix64() -> None:
    # The reference sequence of splitmix64 from seed 1234567 (Vigna's splitmix64.c).
    expected = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    steps = np.array([1234567 + step * 0x9E3779B97F4A7C15 & (2**64 - 1) for step in range(3)], np.uint64)
    assert mix(steps).tolist() == expected


@given(st.integers(0, 3_000), st.randoms(use_true_random=False))
@FEW
def test_the_sketch_counts_exactly_while_it_is_not_full(count: int, chance: random.Random) -> None:
    values = list(range(count)) * 2
    chance.shuffle(values)
    sketch = Sketch()
    for start in range(0, len(values), 700):
        sketch.add(hash_numbers(np.array(values[start : start + 700], float)))
    assert sketch.count() == count


def test_a_full_sketch_is_close_and_does_not_depend_on_order() -> None:
    hashes = hash_numbers(np.arange(200_000, dtype=float))
    one, other = Sketch(), Sketch()
    one.add(hashes)
    for part in np.array_split(hashes[::-1], 7):
        other.add(part)
    assert one.count() == other.count()
    assert abs(one.count() - 200_000) < 8_000


@FEW
@given(st.integers(0, 2**32), st.integers(50, 300), st.sampled_from([(0.15, 0.15), (0.1, 0.3), (0.3, 0.05)]))
def test_every_method_of_splitting_keeps_the_shares(seed: int, n: int, shares: tuple[float, float]) -> None:
    chance = np.random.default_rng(seed)
    hashes = chance.integers(0, 2**64, n, dtype=np.uint64)
    classes = chance.integers(0, 3, n)
    splits = by_rank(hashes, classes, *shares)
    counts = np.bincount(splits, minlength=3)
    assert abs(counts[1] - n * shares[0]) <= 4
    assert abs(counts[2] - n * shares[1]) <= 4
    for label in np.unique(classes):
        assert np.any((splits == 0) & (classes == label))


def test_few_distinct_rows_are_split_by_occurrence_in_any_order() -> None:
    chance = np.random.default_rng(0)
    hashes = np.repeat(chance.integers(0, 2**64, 2, dtype=np.uint64), 300)
    targets = chance.integers(0, 2, 600).astype(np.uint64)
    found = divide(hashes, targets, None, 0.15, 0.15)
    assert found.method == "occurrence"
    order = chance.permutation(600)
    again = divide(hashes[order], targets[order], None, 0.15, 0.15)
    for split in range(3):
        left = sorted(zip(found.hashes[found.splits == split], targets[found.splits == split], strict=True))
        place = again.splits == split
        assert left == sorted(zip(again.hashes[place], targets[order][place], strict=True))
    assert len(np.unique(with_occurrence(hashes, targets))) == 600


def test_shares_of_many_rows_are_near_those_asked_for() -> None:
    hashes = mix(np.arange(100_000, dtype=np.uint64))
    found = divide(hashes, hashes, None, 0.15, 0.15)
    counts = np.bincount(found.splits)
    assert found.method == "content"
    assert abs(counts[1] - 15_000) < 600
    assert abs(counts[2] - 15_000) < 600
    assert hashes[found.splits == 2].max() < 0.15 * SPAN
