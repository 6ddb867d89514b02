"""Rows on the device, padded so that shapes repeat: equal shapes reuse one compiled program, now and next time.

The last row is always padding and weighs nothing; index lists are filled up with it.

Axes: n rows, g groups (a fold and a seed: members that see the same batches), v rows looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from tidemill.training import inputs
from tidemill.training.inputs import Inputs

Array = NDArray[Any]

LOOK = 256  # rows a validation pass takes at once, and the most of training that are looked at for the curve
LEAST_LOOK, LOOK_PIXELS = 16, 1 << 20  # fewer of large pictures, whose layers are larger still
GRAIN = 8  # bucket sizes between a power of two and the next: at most an eighth is padding
CHUNK_WORK = 5e9  # rows * weights between two looks at stop(): a second or two on two cores


class Rows(NamedTuple):
    """Inputs, targets (class numbers or raw values) and weights (0 for padding) on the device."""

    x_n: Any  # a pytree, see inputs
    y_n: Any
    w_n: Any


@dataclass(frozen=True)
class Plan:
    """How an epoch is cut: chunks of steps, each one compiled call; stop() is asked between chunks."""

    batch: int
    steps: int  # of a chunk
    chunks: int  # of an epoch

    @property
    def rows(self) -> int:
        """Rows with padding."""
        return self.batch * self.steps * self.chunks


@dataclass(frozen=True, eq=False)
class Group:
    """Members that train on the same rows in the same order and are watched on the same others."""

    train: Array  # row numbers
    held: Array
    seed: tuple[int, ...]


def bucket(count: int) -> int:
    """The next size of a coarse scale that is not smaller: 1 to 16 exactly, then eight sizes to each doubling."""
    grain = 1 << max(0, (count - 1).bit_length() - GRAIN.bit_length())
    return -(-count // grain) * grain


def plan(rows: int, batch: int, weights: int) -> Plan:
    """Chunks short enough to stop between, steps bucketed; batch 0 means all rows at once."""
    batch = min(batch, bucket(rows)) if batch else bucket(rows)
    steps = bucket(-(-rows // batch))
    chunks = min(steps, max(1, round(steps * batch * weights / CHUNK_WORK)))
    return Plan(batch, -(-steps // chunks), chunks)


def on_device(x_n: Inputs, y_n: Array, w_n: Array) -> Rows:
    """Put rows on the device, bucketed, with at least one weightless row behind them."""
    extra = bucket(len(y_n) + 1) - len(y_n)
    kind = np.float32 if y_n.dtype.kind == "f" else np.int32
    rows = Rows(
        inputs.filled(x_n, extra),
        np.pad(y_n.astype(kind), (0, extra), mode="edge"),
        np.pad(w_n.astype(np.float32), (0, extra)),
    )
    return Rows(*jax.device_put(rows))


def order(groups: list[Group], epoch: int, size: int, padding: int) -> Array:
    """The shuffled training rows of every group in an epoch [g, size], filled up with the padding row."""
    lists = (np.random.default_rng((*group.seed, epoch)).permutation(group.train) for group in groups)
    return filled(list(lists), size, padding)


def looked(lists: list[Array], padding: int, most: int = LOOK) -> Array:
    """Row numbers to measure on [g, v], in whole looks of `most` rows."""
    longest = bucket(max(1, *map(len, lists)))
    return filled(lists, longest if longest <= most else -(-longest // most) * most, padding)


def look_of(x_n: Inputs) -> int:
    """How many rows of such inputs a pass takes at once."""
    pixels = max([int(np.prod(leaf.shape[1:])) for leaf in jax.tree.leaves(x_n) if leaf.dtype == np.uint8], default=1)
    most = LOOK
    while most > LEAST_LOOK and most * pixels > LOOK_PIXELS:
        most //= 2
    return most


def filled(lists: list[Array], size: int, padding: int) -> Array:
    """Lists of row numbers as one matrix."""
    made = np.full((len(lists), size), padding, np.int32)
    for row, some in zip(made, lists, strict=True):
        row[: len(some)] = some
    return made
