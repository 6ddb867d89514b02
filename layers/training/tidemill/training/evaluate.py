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
from tidemill.training import calibrate, frozen, inputs
from tidemill.training.batches import look_of
from tidemill.training.families import Weights
from tidemill.training.inputs import Inputs
from tidemill.training.loop import Kind, predict
from tidemill.training.losses import Scale, answer
from tidemill.training.spread import Spread

Array = NDArray[Any]

BLOCK = 512  # rows answered at once: one shape, one compilation
REPEATS = 3  # deals of a column that matters
REPEATED = 12  # columns, the most important ones after one deal of all
LEAST_ROWS, MOST_ROWS = 64, 1000  # of the test split
WORK = 30_000_000_000  # multiplications: one to two seconds of one core
DEALT_ROWS = 4 * BLOCK  # answered at once


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
    def frozen(self) -> bool:
        """Whether a part has a frozen net: large, and slow to run."""
        return any(frozen.frozen_of(part.kind.net) for part in self.parts)

    @property
    def outputs(self) -> int:
        """The width of an answer: classes, or 1."""
        return self.parts[0].kind.net.outputs

    def raw(self, x_b: Inputs) -> jax.Array:
        """The average of the parts by their shares [b, k], as they were trained."""
        shared = [part.share * predict(part.kind, part.weights, self.scale, x_b) for part in self.parts]
        total: jax.Array = sum(shared[1:], start=shared[0])
        return total

    def predict(self, x_b: Inputs) -> jax.Array:
        """Calibrated probabilities [b, k] or values [b, 1]; pure, to be compiled, differentiated and exported."""
        return calibrate.apply(self.calibration, self.raw(x_b))

    def answers(self, x_n: Inputs, *, anew: bool = False) -> Array:
        """The same for any number of rows; `anew` by JAX alone, from the inputs on, as a proof needs it."""
        return self.calibrated(self.raw_answers(x_n, anew=anew))

    def raw_answers(self, x_n: Inputs, *, anew: bool = False) -> Array:
        """`raw` for any number of rows."""
        shared = [part.share * in_blocks(part.kind, part.weights, self.scale, x_n, anew=anew) for part in self.parts]
        total: Array = sum(shared[1:], start=shared[0])
        return total

    def calibrated(self, raw_nk: Array) -> Array:
        """Raw answers as users get them."""
        found: Array = self.calibration.apply(raw_nk).astype(np.float32)
        return found

    def losses(self, x_n: Inputs, y_n: Array) -> Array:
        """The loss of each row in the task's primary measure."""
        return row_losses(self.task, y_n, self.answers(x_n))


def in_blocks(kind: Kind, weights: Weights, scale: Scale, x_n: Inputs, *, anew: bool = False) -> Array:
    """Answers of members [m, ...] together, for any number of rows: blocks of one shape, full float32 precision.

    Frozen nets answer from features that are computed once for each row, unless they are to compute them `anew`.
    """
    rows, answering, block = inputs.count(x_n), _answers, min(BLOCK, look_of(x_n))
    if frozen.frozen_of(kind.net) and anew:
        block = frozen.TOGETHER
    elif frozen.frozen_of(kind.net):
        x_n, answering, block = frozen.read(kind.net, x_n), _heads, BLOCK
    filled_n = inputs.filled(x_n, -rows % block)
    with jax.default_matmul_precision("highest"):
        blocks = [
            np.asarray(answering(kind, weights, scale, inputs.taken(filled_n, slice(at, at + block))))
            for at in range(0, inputs.count(filled_n), block)
        ]
    return np.concatenate(blocks)[:rows]


@partial(jax.jit, static_argnames=("kind",))
def _heads(kind: Kind, weights: Weights, scale: Scale, feature_bd: jax.Array) -> jax.Array:
    """The answer of members [m, ...] that read the features of a frozen net."""
    out_mbk = jax.vmap(lambda member: frozen.applied(member, feature_bd))(weights)
    return answer(kind.task, kind.log1p, scale, out_mbk, kind.loss)


_answers = partial(jax.jit, static_argnames=("kind",))(predict)


def importance(model: Model, x_nf: Array, y_n: Array, program: Program, seed: int) -> list[dict[str, Any]]:
    """How much worse the loss gets when a column's values are dealt out among the rows, by input column.

    Permutation importance (Breiman 2001); the columns that matter most are dealt out several times. Never negative;
    0 where dealing did no harm.
    """
    rng = np.random.default_rng(seed)
    columns = [column for column in range(len(program.columns)) if (program.owner_f == column).any()]
    deals = len(columns) + (REPEATS - 1) * min(REPEATED, len(columns))
    at = rng.permutation(len(x_nf))[: int(np.clip(WORK // max(1, deals * work(model)), LEAST_ROWS, MOST_ROWS))]
    x_nf, y_n = x_nf[at], y_n[at]
    before = model.losses(x_nf, y_n).mean()
    first = _dealt(model, x_nf, y_n, program, columns, rng)
    worse: dict[int, list[float]] = {column: [loss] for column, loss in zip(columns, first, strict=True)}
    again = sorted(columns, key=lambda column: -worse[column][0])[:REPEATED] * (REPEATS - 1)
    for column, loss in zip(again, _dealt(model, x_nf, y_n, program, again, rng), strict=True):
        worse[column].append(loss)
    found = [
        {"column": name, "importance": max(0.0, float(np.mean(worse.get(column, [before])) - before))}
        for column, name in enumerate(program.columns)
    ]
    return sorted(found, key=lambda item: -item["importance"])


def work(model: Model) -> int:
    """Multiplications a row, about: weights by how often they are used."""
    sizes = [sum(np.size(leaf) for leaf in jax.tree.leaves(part.weights)) for part in model.parts]
    uses = [getattr(part.kind.net, "members", 1) for part in model.parts]
    return max(1, int(np.dot(sizes, uses)))


def _dealt(
    model: Model, x_nf: Array, y_n: Array, program: Program, columns: list[int], rng: np.random.Generator
) -> list[float]:
    """The mean loss with each of the columns dealt out, several tables of rows answered at once."""
    together = max(1, DEALT_ROWS // len(x_nf))
    found: list[float] = []
    for start in range(0, len(columns), together):
        group = columns[start : start + together]
        dealt_gnf = np.repeat(x_nf[None], len(group), 0)
        for dealt_nf, column in zip(dealt_gnf, group, strict=True):
            own = program.owner_f == column
            dealt_nf[:, own] = x_nf[rng.permutation(len(x_nf))][:, own]
        loss_gn = model.losses(dealt_gnf.reshape(-1, x_nf.shape[1]), np.tile(y_n, len(group))).reshape(len(group), -1)
        found.extend(loss_gn.mean(1).tolist())
    return found
