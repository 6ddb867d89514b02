"""What each feature added to an answer: expected gradients, as a pure function that is exported beside the model.

Integrated gradients (arXiv 1703.01365) from every row of a background to the row explained, averaged: expected
gradients (arXiv 1906.10670) with every background row used and the path cut into equal steps instead of sampled.

Paths are straight in a net's encoding, every column of which tells of one feature, and so they stay straight behind
the affine map that follows. They are walked there, where rows are short, and only mean gradients are carried back.
What the steps miss of `prediction - baseline` is measured (`completeness`) and then spread over the features by their
size, so that contributions always add up.

Axes: n rows, f features, b background rows, k outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tidemill.training import calibrate, inputs
from tidemill.training.background import BACKGROUND, background
from tidemill.training.evaluate import Model
from tidemill.training.inputs import Inputs
from tidemill.training.paths import STEPS, chord, paths_of, quickly

Array = NDArray[Any]
Explained = tuple[Any, Any, Any]  # contributions_nf, prediction_n, baseline_n
Explainer = Callable[[Any, Any], Explained]


BOUNDS = {"p50": 1e-4, "p99": 1e-2}  # relative distance, exported to trained, of a row's contributions; over rows


class Explaining(NamedTuple):
    """The explainer, what parity.json says of it (where paths begin, in how many steps they are walked), its bounds.

    The bound "place_p90" is of a row's contribution that is furthest off, in the answer's unit; p90 over rows.
    `nudged` makes the explainer of the same nets with every weight off by its last bits. It says how far rounding
    alone moves explanations, and is asked only where a bound is broken.
    """

    run: Explainer
    about: Mapping[str, Any]
    bounds: Mapping[str, float] = BOUNDS
    nudged: Callable[[], Explainer] | None = None


__all__ = [
    "Explained",
    "Explainer",
    "Explaining",
    "background",
    "completeness",
    "explained_in_blocks",
    "explainer",
    "explaining",
    "spread",
    "targets_of",
]

EXPLAIN_ROWS = 8  # rows compiled together; the graph takes them one after the other, so memory does not grow
NEAR = 1e-3  # of a probability: answers nearer than this are taken as calibration leaves them
STRETCH = (0.2, 5.0)  # how far calibration may stretch what a path explains
SMALL = 0.05  # of a probability, or of the target's standard deviation: gains below count as this in relative errors


def explaining(model: Model, background_bf: Array) -> Explaining:
    """The explainer of a table for one background, with what parity.json says of it."""
    return Explaining(explainer(model, background_bf), {"background": BACKGROUND, "steps": STEPS})


def explainer(model: Model, background_bf: Array) -> Explainer:
    """The function (x_nf, target_nk) -> contributions_nf, prediction_n, baseline_n for one background, not yet spread.

    `target` weighs the outputs: one-hot for a class, ones for a value. Rows are taken one after the other: a row's
    points fit the processor's cache, and a large request needs no more memory than a small one. Contributions are
    linear in the parts of a blend; calibration then stretches every path to what it makes of its ends.
    """
    paths = paths_of(model, background_bf)
    raw_bk = model.raw_answers(background_bf)
    answer_bk = model.calibrated(raw_bk)

    @jax.jit  # traced once, for the export and for the proof
    def one(x_f: jax.Array, target_k: jax.Array) -> Explained:
        ends = [some.nets.walk(x_f[None]) for some in paths]
        raw_k = _sum([some.nets.share_q @ end.answer_qbk[:, 0] for some, end in zip(paths, ends, strict=True)])
        answer_k = calibrate.apply(model.calibration, raw_k[None])[0]
        stretch_b: Any = np.ones(len(raw_bk), np.float32)
        if model.calibration.method != "none":
            rise_b, run_b = (answer_k - answer_bk) @ target_k, (raw_k - raw_bk) @ target_k
            stretch_b = jnp.clip(chord(rise_b, run_b, 1.0, NEAR), *STRETCH)
        found = [some.explain(end, target_k, stretch_b) for some, end in zip(paths, ends, strict=True)]
        return _sum(found), answer_k @ target_k, answer_bk.mean(0) @ target_k

    return lambda x_nf, target_nk: jax.lax.map(lambda row: one(*row), (x_nf, target_nk))


def _sum(terms: list[jax.Array]) -> jax.Array:
    total: jax.Array = sum(terms[1:], start=terms[0])
    return total


def spread(explained: Explained) -> Explained:
    """Contributions that add up: what the steps missed, given to the features by the size of their contributions.

    For NumPy's arrays as for JAX's.
    """
    contribution_nf, prediction_n, baseline_n = explained
    size_nf = abs(contribution_nf)
    missed_n = prediction_n - baseline_n - contribution_nf.sum(1)
    share_nf = size_nf / (size_nf.sum(1) + 1e-12)[:, None]
    return contribution_nf + missed_n[:, None] * share_nf, prediction_n, baseline_n


def targets_of(answer_nk: Array) -> Array:
    """The answered class of each row as one-hot; ones for values."""
    if answer_nk.shape[1] == 1:
        return np.ones_like(answer_nk)
    one_hot_nk: Array = np.eye(answer_nk.shape[1], dtype=np.float32)[answer_nk.argmax(1)]
    return one_hot_nk


def explained_in_blocks(explain: Explainer, x_n: Inputs, target_nk: Array) -> Explained:
    """Many rows through a compiled explainer, EXPLAIN_ROWS at a time, in full float32 precision."""
    step, compiled = EXPLAIN_ROWS, explain if hasattr(explain, "lower") else quickly(explain)  # some come compiled
    rows = len(target_nk)
    filled_n, filled_nk = (inputs.filled(some, -rows % step) for some in (x_n, target_nk))
    with jax.default_matmul_precision("highest"):
        starts = [slice(at, at + step) for at in range(0, len(filled_nk), step)]
        parts = [compiled(inputs.taken(filled_n, at), filled_nk[at]) for at in starts]
    contribution_nf, prediction_n, baseline_n = (np.concatenate(part)[:rows] for part in zip(*parts, strict=True))
    return contribution_nf, prediction_n, baseline_n


def completeness(explained: Explained, unit: float) -> dict[str, float]:
    """How far contributions are from adding up, relative to what they explain: quantiles over rows."""
    contribution_nf, prediction_n, baseline_n = (np.asarray(part, np.float64) for part in explained)
    gain_n = prediction_n - baseline_n
    error_n = np.abs(contribution_nf.sum(1) - gain_n) / np.maximum(np.abs(gain_n), SMALL * unit)
    return {name: float(np.quantile(error_n, level)) for name, level in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))}
