"""[split] seed: another number divides the same rows another way, and keeps every promise of the division."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.prepare.conftest import as_csv

from tidemill.core.prepare import Prepared, dataset_id, load_split
from tidemill.core.prepare.hashing import mix
from tidemill.core.prepare.split import SPLITS, TEST, divide, reseeded
from tidemill.core.spec import Spec

Make = Callable[..., Prepared]
NAMES = ("x", "c", "label")
N = 400
SEEDS = st.integers(1, 2**31 - 1)
HASHES = st.lists(st.integers(0, 2**64 - 1), min_size=1, max_size=50)


def rows(n: int = N) -> list[tuple[int, str, str]]:
    """Rows of which no two are equal."""
    return [(index * 7919 % 99_991, "abc"[index % 3], "yes" if index % 4 else "no") for index in range(n)]


def where(prepared: Prepared) -> dict[int, str]:
    """The split of each row hash."""
    return {value: name for name in SPLITS for value in load_split(prepared.folder, name)[2].tolist()}


def told(prepared: Prepared) -> str:
    """A digest of who stands in which split, in order."""
    parts = [load_split(prepared.folder, name) for name in SPLITS]
    text = repr([(y.tolist(), hashes.tolist(), columns["x"].tolist()) for columns, y, hashes in parts])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def test_seed_0_divides_as_before_there_was_a_seed(make: Make) -> None:
    assert told(make(as_csv(NAMES, rows()))) == "c0a318d5acb52406"
    assert told(make(as_csv(NAMES, rows()), split={"seed": 0})) == "c0a318d5acb52406"


@given(HASHES, st.floats(0.05, 0.5), st.floats(0.05, 0.5))
def test_seed_0_leaves_hashes_as_they_are(values: list[int], validation: float, test: float) -> None:
    hashes = np.array(values, np.uint64)
    assert np.array_equal(reseeded(hashes, 0), hashes)


@given(HASHES, SEEDS)
def test_equal_hashes_stay_equal_and_different_ones_different(values: list[int], seed: int) -> None:
    mixed = reseeded(np.array(values, np.uint64), seed).tolist()
    assert len(set(zip(values, mixed, strict=True))) == len(set(values)) == len(set(mixed))


def test_another_seed_divides_the_same_rows_another_way(make: Make) -> None:
    text = as_csv(NAMES, rows())
    first, other, again = make(text), make(text, split={"seed": 1}), make(text, split={"seed": 1})
    assert where(first).keys() == where(other).keys()
    assert where(first) != where(other)
    assert where(other) == where(again)
    assert other.profile["split"]["method"] == "content"


def test_the_order_of_the_upload_does_not_matter_under_any_seed(make: Make) -> None:
    forth, back = (make(as_csv(NAMES, found), split={"seed": 7}) for found in (rows(), rows()[::-1]))
    assert told(forth) == told(back)


def test_a_row_keeps_its_split_when_rows_are_added(make: Make) -> None:
    small, large = (where(make(as_csv(NAMES, rows(n)), split={"seed": 7})) for n in (N, 2 * N))
    assert small.items() <= large.items()


def test_equal_rows_fall_together_under_any_seed(make: Make) -> None:
    tripled = [row for row in rows(200) for _ in range(3)]
    for seed in (1, 2, 2**31 - 1):
        prepared = make(as_csv(NAMES, tripled), split={"seed": seed})
        held = [set(load_split(prepared.folder, name)[2].tolist()) for name in SPLITS]
        assert prepared.profile["split"]["method"] == "content"
        assert sum(map(len, held)) == len(set.union(*held)) == 200


@pytest.mark.parametrize("distinct", [2, 3])
def test_few_distinct_rows_are_divided_anew_as_well(distinct: int) -> None:
    hashes = np.repeat(mix(np.arange(distinct, dtype=np.uint64)), 300)
    targets = np.arange(len(hashes), dtype=np.uint64) % np.uint64(2)
    first, other = (divide(hashes, targets, None, 0.15, 0.15, seed) for seed in (0, 1))
    assert {first.method, other.method} == {"occurrence"}
    assert np.array_equal(first.hashes, other.hashes)
    assert not np.array_equal(first.splits, other.splits)


def test_ranking_follows_the_seed() -> None:
    hashes = mix(np.arange(30, dtype=np.uint64))
    classes = np.repeat([0, 1], 15)
    first, other = (divide(hashes, hashes, classes, 0.15, 0.15, seed) for seed in (0, 1))
    assert {first.method, other.method} == {"rank"}
    assert not np.array_equal(first.splits, other.splits)
    assert np.array_equal(np.bincount(first.splits), np.bincount(other.splits))


def test_shares_and_seeds_are_independent() -> None:
    hashes = mix(np.arange(100_000, dtype=np.uint64))
    tests = [divide(hashes, hashes, None, 0.15, 0.15, seed).splits == TEST for seed in (0, 1, 2)]
    for chosen in tests:
        assert abs(chosen.mean() - 0.15) < 0.006  # five standard errors
    for left, right in ((0, 1), (0, 2), (1, 2)):
        assert abs((tests[left] & tests[right]).mean() - 0.15**2) < 0.003


def test_the_id_of_a_dataset_covers_the_seed() -> None:
    ids = {dataset_id("0" * 64, Spec.from_json({"split": {"seed": seed}})) for seed in (0, 1, 2)}
    assert len(ids) == 3
    trained = Spec.from_json({"split": {"seed": 1}, "train": {"seed": 9}})
    assert dataset_id("0" * 64, trained) in ids
