"""Rows on the device, padded so that shapes repeat: equal shapes reuse one compiled program, now and next time.

Padding rows weigh nothing. They are shuffled among the others, so a batch holds a few rows less, never none for long.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from tidemill.training.config import Config

LOOK = 8192  # rows a validation pass takes at once
GRAIN = 8  # bucket sizes between a power of two and the next: at most an eighth is padding


class Rows(NamedTuple):
    """Features, targets (class numbers or raw values) and weights (0 for padding) on the device."""

    x_nf: Any
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


def bucket(count: int) -> int:
    """The next size of a coarse scale that is not smaller: 1 to 16 exactly, then eight sizes to each doubling."""
    grain = 1 << max(0, (count - 1).bit_length() - GRAIN.bit_length())
    return -(-count // grain) * grain


def plan(rows: int, config: Config) -> Plan:
    """Chunks short enough to stop between, steps bucketed."""
    steps = bucket(-(-rows // config.batch_size))
    values = steps * config.batch_size * config.features * config.members
    chunks = min(steps, -(-values // config.chunk_values))
    return Plan(config.batch_size, -(-steps // chunks), chunks)


def padded(x_nf: NDArray[Any], y_n: NDArray[Any], size: int) -> Rows:
    """Put rows on the device with weightless rows behind them, up to a size."""
    extra = size - len(y_n)
    kind = np.float32 if y_n.dtype.kind == "f" else np.int32
    rows = Rows(
        np.pad(x_nf.astype(np.float32, copy=False), ((0, extra), (0, 0))),
        np.pad(y_n.astype(kind), (0, extra), mode="edge"),
        np.pad(np.ones(len(y_n), np.float32), (0, extra)),
    )
    return Rows(*jax.device_put(rows))


def for_training(x_nf: NDArray[Any], y_n: NDArray[Any], config: Config) -> tuple[Rows, Plan]:
    """The training rows and how an epoch goes through them."""
    cut = plan(len(y_n), config)
    return padded(x_nf, y_n, cut.rows), cut


def for_looking(x_nf: NDArray[Any], y_n: NDArray[Any]) -> Rows:
    """Rows to measure on: a bucketed count, and whole looks of LOOK rows beyond that size."""
    count = bucket(len(y_n))
    return padded(x_nf, y_n, count if count <= LOOK else bucket(-(-count // LOOK)) * LOOK)
