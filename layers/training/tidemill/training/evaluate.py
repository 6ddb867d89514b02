"""A trained model put to work on rows: its answers, and which columns it leans on.

Axes: n rows, f features, k outputs.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from tidemill.core.calibration import Calibration
from tidemill.core.features import Program
from tidemill.core.metrics import row_losses
from tidemill.training import calibrate
from tidemill.training.families import Weights
from tidemill.training.loop import Kind, predict
from tidemill.training.losses import Scale
from tidemill.training.spread import Spread

Array = NDArray[Any]

BLOCK = 512  # rows answered at once: one shape, one compilation
REPEATS = 3  # shuffles of a column
IMPORTANCE_ROWS = 1000
IMPORTANCE_VALUES = 1 << 27  # rows * features answered in all; wider tables get fewer rows


@dataclass(frozen=True, eq=False)
class Part:
    """One trained configuration: its members [m, ...], and how much it counts among the others."""

    id: str
    kind: Kind
    weights: Weights
    share: float = 1.0


@dataclass(frozen=True, eq=False)
class Model:
    """What a run found, and all that is needed to answer with it."""

    parts: tuple[Part, ...]
    scale: Scale
    unit: float  # what a difference of answers is measured in: 1 for probabilities, the target's standard deviation
    calibration: Calibration = field(default_factory=Calibration)
    spread: Spread | None = None  # of numbers

    @property
    def task(self) -> str:
        """binary, multiclass or regression."""
        return self.parts[0].kind.task

    @property
    def features(self) -> int:
        """The width of the input."""
        return self.parts[0].kind.net.features

    @property
    def outputs(self) -> int:
        """The width of an answer: classes, or 1."""
        return self.parts[0].kind.net.outputs

    def raw(self, x_bf: jax.Array) -> jax.Array:
        """The average of the parts by their shares [b, k], as they were trained."""
        shared = [part.share * predict(part.kind, part.weights, self.scale, x_bf) for part in self.parts]
        total: jax.Array = sum(shared[1:], start=shared[0])
        return total

    def predict(self, x_bf: jax.Array) -> jax.Array:
        """Calibrated probabilities [b, k] or values [b, 1]; pure, to be compiled, differentiated and exported."""
        return calibrate.apply(self.calibration, self.raw(x_bf))

    def answers(self, x_nf: Array) -> Array:
        """The same for any number of rows."""
        return self.calibrated(self.raw_answers(x_nf))

    def raw_answers(self, x_nf: Array) -> Array:
        """`raw` for any number of rows."""
        shared = [part.share * in_blocks(part.kind, part.weights, self.scale, x_nf) for part in self.parts]
        total: Array = sum(shared[1:], start=shared[0])
        return total

    def calibrated(self, raw_nk: Array) -> Array:
        """Raw answers as users get them."""
        found: Array = self.calibration.apply(raw_nk).astype(np.float32)
        return found

    def losses(self, x_nf: Array, y_n: Array) -> Array:
        """The loss of each row in the task's primary measure."""
        return row_losses(self.task, y_n, self.answers(x_nf))


def in_blocks(kind: Kind, weights: Weights, scale: Scale, x_nf: Array) -> Array:
    """Answers of members [m, ...] together, for any number of rows: blocks of one shape, full float32 precision."""
    filled_nf = np.pad(x_nf, ((0, -len(x_nf) % BLOCK), (0, 0)))
    with jax.default_matmul_precision("highest"):
        blocks = [
            np.asarray(_answers(kind, weights, scale, filled_nf[at : at + BLOCK]))
            for at in range(0, len(filled_nf), BLOCK)
        ]
    return np.concatenate(blocks)[: len(x_nf)]


_answers = partial(jax.jit, static_argnames=("kind",))(predict)


def importance(model: Model, x_nf: Array, y_n: Array, program: Program, seed: int) -> list[dict[str, Any]]:
    """How much worse the loss gets when a column's values are dealt out among the rows, by input column.

    Permutation importance (Breiman 2001). Never negative; 0 where shuffling did no harm.
    """
    affordable = IMPORTANCE_VALUES // (x_nf.shape[1] * max(1, len(program.columns)) * REPEATS)
    count = int(np.clip(affordable, min(BLOCK, len(x_nf)), min(IMPORTANCE_ROWS, len(x_nf))))
    x_nf, y_n = x_nf[:count], y_n[:count]
    rng = np.random.default_rng(seed)
    before = model.losses(x_nf, y_n).mean()
    found = []
    for column, name in enumerate(program.columns):
        features = np.flatnonzero(program.owner_f == column)
        worse = [_shuffled(model, x_nf, y_n, features, rng) - before for _ in range(REPEATS if len(features) else 0)]
        found.append({"column": name, "importance": max(0.0, float(np.mean(worse or [0.0])))})
    return sorted(found, key=lambda item: -item["importance"])


def _shuffled(model: Model, x_nf: Array, y_n: Array, features: Array, rng: np.random.Generator) -> float:
    dealt_nf = x_nf.copy()
    dealt_nf[:, features] = x_nf[rng.permutation(len(x_nf))][:, features]
    return float(model.losses(dealt_nf, y_n).mean())
