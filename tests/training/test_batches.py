"""Shapes repeat, epochs hold every row once, and padding weighs nothing."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidemill.training import batches
from tidemill.training.batches import Group

ROWS = st.integers(1, 3_000_000)
BATCHES = st.sampled_from([1, 7, 32, 256, 1024])
WEIGHTS = st.integers(1, 10_000_000)


def groups(*sizes: int, rows: int = 100, seed: int = 0) -> list[Group]:
    every = np.random.default_rng(seed).permutation(rows)
    return [Group(every[:size], every[size:], (seed, turn)) for turn, size in enumerate(sizes)]


@given(st.integers(1, 10_000_000))
def test_a_bucket_holds_the_count_with_at_most_an_eighth_to_spare(count: int) -> None:
    size = batches.bucket(count)
    assert count <= size <= count * 9 / 8
    assert batches.bucket(size) == size


@given(st.integers(1, 10_000_000))
def test_buckets_grow_with_the_count(count: int) -> None:
    assert batches.bucket(count) <= batches.bucket(count + 1)


def test_few_shapes_serve_many_tables() -> None:
    assert len({batches.bucket(count) for count in range(1, 100_000)}) < 120


@given(ROWS, BATCHES, WEIGHTS)
def test_an_epoch_has_room_for_every_row_and_little_more(rows: int, batch: int, weights: int) -> None:
    cut = batches.plan(rows, batch, weights)
    assert rows <= cut.rows <= rows * 9 / 8 + cut.batch * (cut.chunks + 1)
    assert cut.batch <= batch


@given(ROWS, BATCHES, WEIGHTS)
def test_a_chunk_is_one_step_or_little_work(rows: int, batch: int, weights: int) -> None:
    cut = batches.plan(rows, batch, weights)
    assert cut.steps == 1 or (cut.steps - 1) * cut.batch * weights <= 1.5 * batches.CHUNK_WORK


@given(ROWS, WEIGHTS)
def test_all_rows_at_once_are_one_step_in_one_chunk(rows: int, weights: int) -> None:
    cut = batches.plan(rows, 0, weights)
    assert (cut.steps, cut.chunks) == (1, 1)
    assert cut.rows == batches.bucket(rows)


def test_rows_on_the_device_stay_in_order_with_weightless_ones_behind() -> None:
    x_nf, w_n = np.random.default_rng(0).normal(size=(5, 3)), np.array([1.0, 2.0, 0.5, 1.0, 1.0])
    rows = batches.on_device(x_nf, np.arange(5), w_n)
    assert np.allclose(rows.x_n[:5], x_nf)
    assert rows.y_n[:5].tolist() == [0, 1, 2, 3, 4]
    assert np.array_equal(rows.w_n[:5], w_n.astype(np.float32))
    assert len(rows.y_n) > 5
    assert not np.asarray(rows.w_n[5:]).any()
    assert (rows.x_n.dtype, rows.y_n.dtype) == (np.float32, np.int32)
    assert batches.on_device(x_nf, np.arange(5.0), w_n).y_n.dtype == np.float32


@given(st.integers(1, 400))
def test_the_last_row_on_the_device_is_always_padding(count: int) -> None:
    rows = batches.on_device(np.ones((count, 1)), np.zeros(count, int), np.ones(count))
    assert float(rows.w_n[-1]) == 0
    assert float(np.asarray(rows.w_n).sum()) == count


def test_an_epoch_shuffles_a_groups_own_rows_and_fills_up_with_padding() -> None:
    some = groups(60, 30)
    order_gn = batches.order(some, 3, 64, padding=100)
    for row, group in zip(order_gn, some, strict=True):
        count = len(group.train)
        assert sorted(row[:count]) == sorted(group.train)
        assert row[:count].tolist() != group.train.tolist()
        assert set(row[count:]) == {100}


def test_every_epoch_and_every_seed_has_an_order_of_its_own_that_comes_again() -> None:
    first = batches.order(groups(60, 60), 0, 60, 100)
    assert np.array_equal(first, batches.order(groups(60, 60), 0, 60, 100))
    assert not np.array_equal(first, batches.order(groups(60, 60), 1, 60, 100))
    assert not np.array_equal(first[0], first[1])


def test_of_large_pictures_fewer_are_looked_at_at_once() -> None:
    for shape, most in (((28, 28, 1), batches.LOOK), ((96, 96, 1), 64), ((96, 96, 3), 32), ((512, 512, 3), 16)):
        assert batches.look_of(np.zeros((1, *shape), np.uint8)) == most
    assert batches.look_of(np.zeros((1, 5000), np.float32)) == batches.LOOK
    assert batches.looked([np.arange(70)], padding=99, most=32).shape == (1, 96)


def test_many_rows_to_look_at_come_in_whole_looks() -> None:
    for count in (1, 100, batches.LOOK, batches.LOOK + 1, 3 * batches.LOOK):
        at_gv = batches.looked([np.arange(count), np.arange(count // 2)], padding=count)
        size = at_gv.shape[1]
        assert size >= count
        assert size <= batches.LOOK or size % batches.LOOK == 0
        assert [(row != count).sum() for row in at_gv] == [count, count // 2]
