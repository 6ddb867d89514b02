"""The four networks that everybody trains, on the same made-up rows: what counts is the arithmetic, not the score.

- mlp: 32 columns, layers of 64 and 32, batches of 32
- cnn: 28 x 28 grey pictures, a convolution of 32, pooling, 128 units, batches of 128
- lstm: 100 tokens of 5,000, vectors of 64, 64 units, the mean of all states, batches of 64
- transformer: 64 tokens of 5,000, two blocks of width 64 (4 heads, twice as wide within), the mean, batches of 32

Axes: n rows, f features, h height, w width, c channels, t tokens.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Losses = Callable[[], list[float]]  # asked for when the clock has stopped
HIDDEN, FILTERS, DENSE = (64, 32), 32, 128
WORDS, WIDTH, HEADS, BLOCKS, WIDER = 5_000, 64, 4, 2, 2


class Task(NamedTuple):
    """One network's rows, classes and batch size."""

    rows: int
    classes: int
    batch: int
    shape: tuple[int, ...]  # of a row


TASKS = {
    "mlp": Task(16_384, 2, 32, (32,)),
    "cnn": Task(2_048, 10, 128, (28, 28, 1)),
    "lstm": Task(1_024, 2, 64, (100,)),
    "transformer": Task(1_024, 2, 32, (64,)),
}


def rows(name: str) -> tuple[Any, Any]:
    """Rows and classes: numbers for mlp, pixels 0 to 255 for cnn, tokens from 2 on for the others."""
    task, chance = TASKS[name], np.random.default_rng(30)
    y_n = chance.integers(0, task.classes, task.rows)
    size = (task.rows, *task.shape)
    if name == "mlp":
        x_nf = chance.normal(size=size)
        return (x_nf + y_n[:, None] * 0.2).astype(np.float32), y_n.astype(np.int32)
    if name == "cnn":
        return (chance.integers(0, 200, size) + 5 * y_n[:, None, None, None]).astype(np.uint8), y_n.astype(np.int32)
    seq_nt = chance.integers(2, WORDS, size)
    seq_nt[:, ::7] = 2 + y_n[:, None]
    return seq_nt.astype(np.int32), y_n.astype(np.int32)


def ways(training: Callable[[str], Any]) -> dict[str, Callable[[int], Losses]]:
    """For each network the way to train it for some epochs; it is made when first asked for."""
    made: dict[str, Any] = {}

    def trained(name: str) -> Callable[[int], Losses]:
        def run(count: int) -> Losses:
            if name not in made:
                made[name] = training(name)
            told: Losses = made[name].epochs(count)
            return told

        return run

    return {name: trained(name) for name in TASKS}
