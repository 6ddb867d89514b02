"""How large the error of a number is likely to be, by the number answered: dear houses are missed by more.

Axes: n rows, t pieces.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

PIECES = 8
PER_PIECE = 40  # held-out rows a piece needs
LEAST = 0.05  # of the overall size: no error is promised to be smaller


@dataclass(frozen=True)
class Spread:
    """A line through knots: sizes of the error (target's unit, positive) at answers; level beyond the ends."""

    answers: tuple[float, ...]
    sizes: tuple[float, ...]

    def apply(self, value_bk: jax.Array) -> jax.Array:
        """The size for each answer [b, 1]; pure, built of clips so that it exports and differentiates."""
        size = jnp.full_like(value_bk, self.sizes[0])
        for at in range(1, len(self.answers)):
            low, high = self.answers[at - 1], self.answers[at]
            share = jnp.clip((value_bk - low) / (high - low), 0.0, 1.0)
            size = size + share * (self.sizes[at] - self.sizes[at - 1])
        return size

    def of(self, value_n: Array) -> Array:
        """The same in NumPy, for one axis."""
        found: Array = np.interp(value_n, self.answers, self.sizes)
        return found


def fit(value_n: Array, error_n: Array) -> Spread:
    """Mean absolute errors of held-out rows in pieces of equally many answers, smoothed over neighbours."""
    size_n, order = np.abs(error_n), np.argsort(value_n, kind="stable")
    overall = float(size_n.mean()) or 1.0
    pieces = [part for part in np.array_split(order, max(1, min(PIECES, len(order) // PER_PIECE))) if len(part)]
    answers = [float(value_n[part].mean()) for part in pieces]
    sizes = [max(float(size_n[part].mean()), LEAST * overall) for part in pieces]
    smooth = [float(np.mean(sizes[max(0, at - 1) : at + 2])) for at in range(len(sizes))]
    apart = [at for at in range(len(answers)) if at == 0 or answers[at] > answers[at - 1]]
    return Spread(tuple(answers[at] for at in apart), tuple(smooth[at] for at in apart))
