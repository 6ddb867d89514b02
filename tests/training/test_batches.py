"""Shapes repeat, and padding weighs nothing."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tidemill.training import batches


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


def test_an_epoch_covers_every_row_in_equal_chunks(make_problem: Any) -> None:
    config = make_problem("binary").changed(chunk_values=1 << 12, batch_size=32).config
    for rows in (1, 31, 32, 33, 5_000, 77_777):
        cut = batches.plan(rows, config)
        assert cut.rows >= rows
        assert cut.rows <= rows * 9 / 8 + 32 * (cut.chunks + 1)
        assert cut.steps == 1 or cut.steps * 32 * config.features * config.members <= 1.2 * config.chunk_values


def test_padding_is_weightless_and_rows_stay_in_order() -> None:
    x_nf, y_n = np.random.default_rng(0).normal(size=(5, 3)), np.arange(5)
    rows = batches.padded(x_nf, y_n, 8)
    assert rows.w_n.tolist() == [1, 1, 1, 1, 1, 0, 0, 0]
    assert np.allclose(rows.x_nf[:5], x_nf)
    assert rows.y_n[:5].tolist() == [0, 1, 2, 3, 4]
    assert rows.x_nf.dtype == np.float32
    assert rows.y_n.dtype == np.int32


def test_many_rows_to_look_at_come_in_whole_looks() -> None:
    for count in (1, 100, batches.LOOK, batches.LOOK + 1, 3 * batches.LOOK):
        rows = batches.for_looking(np.zeros((count, 1), np.float32), np.zeros(count))
        size = len(rows.y_n)
        assert size >= count
        assert size <= batches.LOOK or size % batches.LOOK == 0
        assert float(rows.w_n.sum()) == count
