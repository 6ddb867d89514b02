"""The arithmetic of the comparison of training speeds, and rows that are the same for everybody."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from tests.benchmarks.throughput.problem import TASKS, WORDS, rows


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The benchmark as its command runs it: with its own folder on the path."""
    folder = str(Path(__file__).parent)
    sys.path.insert(0, folder)
    try:
        return importlib.import_module("bench_training")
    finally:
        sys.path.remove(folder)


def test_the_median_turn_counts_and_a_contender_without_results_is_left_out(bench: ModuleType) -> None:
    rates = {("lstm", bench.OURS): [1.0, 30.0, 20.0], ("lstm", bench.KERAS_JAX): [10.0]}
    assert bench.median(rates, "lstm", bench.OURS) == 20.0
    assert bench.times(rates, "lstm", (bench.KERAS_JAX, bench.KERAS_TF)) == 2.0
    assert bench.times(rates, "lstm", (bench.TORCH,)) is None
    assert bench.times(rates, "cnn", (bench.KERAS_JAX,)) is None


def test_ours_is_held_to_the_fastest_of_several(bench: ModuleType) -> None:
    rates = {("lstm", bench.OURS): [10.0], ("lstm", bench.KERAS_JAX): [5.0], ("lstm", bench.KERAS_TF): [20.0]}
    assert bench.times(rates, "lstm", (bench.KERAS_JAX, bench.KERAS_TF)) == 0.5
    assert "lstm: at least 0.9 times Keras, JAX and Keras, TensorFlow; MISSED with 0.50" in bench.verdicts(rates)
    assert "mlp: at least 7 times Keras, JAX; not measured" in bench.verdicts(rates)


def test_a_line_has_a_rate_for_everybody_and_three_ratios(bench: ModuleType) -> None:
    (line,) = bench.table({("cnn", bench.OURS): [4000.0], ("cnn", bench.TORCH): [2000.0]})
    assert line == ["cnn", "128", "4,000", "-", "-", "2,000", "-", "-", "2.00"]


@pytest.mark.parametrize("name", TASKS)
def test_rows_are_the_same_every_time_and_fill_whole_batches(name: str) -> None:
    task, (x_n, y_n), (again_n, _) = TASKS[name], rows(name), rows(name)
    assert np.array_equal(x_n, again_n)
    assert x_n.shape == (task.rows, *task.shape) and len(y_n) == task.rows
    assert task.rows % task.batch == 0
    assert set(np.unique(y_n)) == set(range(task.classes))
    if name in ("lstm", "transformer"):
        assert x_n.min() >= 2 and x_n.max() < WORDS
