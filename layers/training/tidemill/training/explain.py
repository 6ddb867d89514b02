"""What each feature added to an answer: expected gradients, as a pure function that is exported beside the model.

Integrated gradients (arXiv 1703.01365) from every row of a background to the row explained, averaged: expected
gradients (arXiv 1906.10670) with every background row used and the path cut into equal steps instead of sampled.

A net enters by an affine map, so paths stay straight behind it: they are followed there, where rows are short, and
only the mean gradient is carried back to the features. What the steps miss of `prediction - baseline` is measured
(`completeness`) and then spread over the features by their size, so that contributions always add up.

Axes: n rows, f features, B background rows, S steps, m members, k outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tidemill.training.evaluate import Model, Part
from tidemill.training.families import keep
from tidemill.training.losses import answer

Array = NDArray[Any]
Explained = tuple[Any, Any, Any]  # contributions_nf, prediction_n, baseline_n
Explainer = Callable[[Any, Any], Explained]

BACKGROUND = 16  # rows; B * S = 1280 points: 1 % completeness at the 99th percentile on adult, ames_housing, letters
STEPS = 80
EXPLAIN_ROWS = 8  # rows compiled together; the graph takes them one after the other, so memory does not grow
BENT_STEPS = 6  # for all members of such nets together: B * 6 points cost what a request may
STRETCH = (0.2, 5.0)  # how far calibration may stretch contributions before the rest is spread
DRAWS = 256  # backgrounds looked at for the one most like the whole
SMALL = 0.05  # of a probability, or of the target's standard deviation: gains below count as this in relative errors


def background(x_nf: Array, answer_nk: Array, seed: int) -> Array:
    """The rows, of many random draws, whose mean answer and mean features are nearest to those of all rows."""
    if len(x_nf) <= BACKGROUND:
        return x_nf
    rng = np.random.default_rng(seed)
    spread_k, spread_f = answer_nk.std(0) + 1e-9, x_nf.std(0) + 1e-9
    mean_k, mean_f = answer_nk.mean(0), x_nf.mean(0)

    def distance(at: Array) -> float:
        answers = np.abs(answer_nk[at].mean(0) - mean_k) / spread_k
        features = np.abs(x_nf[at].mean(0) - mean_f) / spread_f
        return float(answers.mean() + features.mean())

    draws = (rng.choice(len(x_nf), BACKGROUND, replace=False) for _ in range(DRAWS))
    nearest_bf: Array = x_nf[np.sort(min(draws, key=distance))]
    return nearest_bf


def explainer(model: Model, background_bf: Array) -> Explainer:
    """The function (x_nf, target_nk) -> contributions_nf, prediction_n, baseline_n for one background, not yet spread.

    `target` weighs the outputs: one-hot for a class, ones for a value. Rows are taken one after the other: a row's
    points fit the processor's cache, and a large request needs no more memory than a small one. Contributions are
    linear in the parts of a blend, so every part is explained by itself; calibration then stretches them.
    """
    parts = [_part_explainer(model, part, background_bf, _steps(model, part)) for part in model.parts]
    raw_bk, baseline_k = model.raw_answers(background_bf), model.answers(background_bf).mean(0)

    def one(x_f: jax.Array, target_k: jax.Array) -> Explained:
        shared = [part.share * explain(x_f, target_k) for part, explain in zip(model.parts, parts, strict=True)]
        contribution_f = sum(shared[1:], start=shared[0])
        raw_k, prediction_k = model.raw(x_f[None])[0], model.predict(x_f[None])[0]
        gain, raw_gain = (prediction_k - baseline_k) @ target_k, (raw_k - raw_bk.mean(0)) @ target_k
        stretch = jnp.where(jnp.abs(raw_gain) > SMALL * model.unit / 10, gain / raw_gain, 1.0)
        stretched_f = contribution_f * jnp.clip(stretch, *STRETCH)
        return stretched_f, prediction_k @ target_k, baseline_k @ target_k

    return lambda x_nf, target_nk: jax.lax.map(lambda row: one(*row), (x_nf, target_nk))


def _steps(model: Model, part: Part) -> int:
    """Steps of a path: many where a net enters by an affine map, few where every one costs an encoding."""
    if not part.kind.net.bends:
        return STEPS
    bent = sum(int(jax.tree.leaves(other.weights)[0].shape[0]) for other in model.parts if other.kind.net.bends)
    return max(1, BENT_STEPS // bent)


def _part_explainer(model: Model, part: Part, from_bf: Array, steps: int) -> Callable[[Any, Any], Any]:
    """Contributions [f] to the answer of one part."""
    kind, weights = part.kind, part.weights
    members = jax.tree.leaves(weights)[0].shape[0]
    places_ms = (np.arange(steps) + (np.arange(members)[:, None] + 0.5) / members) / steps
    if not kind.net.bends:
        places_ms = np.broadcast_to((np.arange(steps) + 0.5) / steps, places_ms.shape)
    places_ms = places_ms.astype(np.float32)

    def enter(x_bf: jax.Array) -> Any:
        return jax.vmap(lambda member: kind.net.enter(member, x_bf))(weights)

    def chosen(entered: Any, target_k: jax.Array) -> jax.Array:
        out = jax.vmap(lambda member, h: kind.net.finish(member, h, keep))(weights, entered)
        out_mbk = out if out.ndim == 3 else jnp.moveaxis(out, 2, 1).reshape(-1, out.shape[1], out.shape[3])
        return answer(kind.task, kind.log1p, model.scale, out_mbk, kind.loss) @ target_k

    start = jax.tree.map(np.asarray, jax.jit(enter)(from_bf))

    def one(x_f: jax.Array, target_k: jax.Array) -> jax.Array:
        end = enter(x_f[None])
        path = jax.tree.map(lambda a, b: _points(a, b, places_ms), start, end)
        slope = jax.grad(lambda points: chosen(points, target_k).sum())(path)
        mean = jax.tree.map(lambda g, a: g.reshape(*a.shape[:2], steps, -1).mean(2).reshape(a.shape), slope, start)
        carried_bf = jax.vjp(enter, from_bf)[1](mean)[0]
        contribution_f: jax.Array = ((x_f - from_bf) * carried_bf).mean(0)
        return contribution_f

    return one


def spread(explained: Explained) -> Explained:
    """Contributions that add up: what the steps missed, given to the features by the size of their contributions.

    For NumPy's arrays as for JAX's.
    """
    contribution_nf, prediction_n, baseline_n = explained
    size_nf = abs(contribution_nf)
    missed_n = prediction_n - baseline_n - contribution_nf.sum(1)
    share_nf = size_nf / (size_nf.sum(1) + 1e-12)[:, None]
    return contribution_nf + missed_n[:, None] * share_nf, prediction_n, baseline_n


def _points(start: jax.Array, end: jax.Array, places_ms: Array) -> jax.Array:
    """All points of all paths, [m, B * S, h], from starts [m, B, h] to an end [m, 1, h]."""
    at = places_ms.reshape(len(places_ms), 1, -1, *[1] * (start.ndim - 2))
    points: jax.Array = start[:, :, None] + at * (end - start)[:, :, None]
    return points.reshape(start.shape[0], -1, *start.shape[2:])


def targets_of(answer_nk: Array) -> Array:
    """The answered class of each row as one-hot; ones for values."""
    if answer_nk.shape[1] == 1:
        return np.ones_like(answer_nk)
    one_hot_nk: Array = np.eye(answer_nk.shape[1], dtype=np.float32)[answer_nk.argmax(1)]
    return one_hot_nk


def explained_in_blocks(explain: Explainer, x_nf: Array, target_nk: Array) -> Explained:
    """Many rows through a compiled explainer, EXPLAIN_ROWS at a time, in full float32 precision."""
    step, compiled = EXPLAIN_ROWS, jax.jit(explain)
    extra = ((0, -len(x_nf) % step), (0, 0))
    filled_nf, filled_nk = np.pad(x_nf, extra), np.pad(target_nk, extra)
    with jax.default_matmul_precision("highest"):
        starts = range(0, len(filled_nf), step)
        parts = [compiled(filled_nf[at : at + step], filled_nk[at : at + step]) for at in starts]
    contribution_nf, prediction_n, baseline_n = (np.concatenate(part)[: len(x_nf)] for part in zip(*parts, strict=True))
    return contribution_nf, prediction_n, baseline_n


def completeness(explained: Explained, unit: float) -> dict[str, float]:
    """How far contributions are from adding up, relative to what they explain: quantiles over rows."""
    contribution_nf, prediction_n, baseline_n = (np.asarray(part, np.float64) for part in explained)
    gain_n = prediction_n - baseline_n
    error_n = np.abs(contribution_nf.sum(1) - gain_n) / np.maximum(np.abs(gain_n), SMALL * unit)
    return {name: float(np.quantile(error_n, level)) for name, level in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))}
