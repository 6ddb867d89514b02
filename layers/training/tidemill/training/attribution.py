"""What pixels, tokens and n-grams added to an answer: gradients along the way from nothing to the row explained.

Integrated gradients (arXiv 1703.01365) in a net's encoding, where a row is a point: from the origin that the net names
(a mean picture, a text without words) in a straight line, met in the middle of equal steps. What the steps miss of
`prediction - baseline` is spread as in `explain`, so that contributions always add up.

Axes: n rows, k outputs, t steps, p places of a row (pixels, or n-grams and then tokens).
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from tidemill.training import calibrate
from tidemill.training.evaluate import Model, Part
from tidemill.training.explain import BOUNDS, Explained, Explainer, Explaining
from tidemill.training.families import keep, pixels
from tidemill.training.frozen import frozen_of
from tidemill.training.inputs import Inputs
from tidemill.training.loop import beside_each_other
from tidemill.training.losses import answer

STEPS = 16
# Every pixel's convolutions bend and pool somewhere, and a last bit decides on which side (DECISIONS 32).
PICTURE_BOUNDS = {"p50": 1e-3, "p99": 1e-2, "place_p90": 1e-4}
FROZEN_BOUNDS = {"p50": 2e-3, "p99": 2e-2}  # a deep net has more of them than pixels
ORIGINS = {"picture": "the mean training picture", "text": "a text without words"}


def explaining(model: Model, modality: str) -> Explaining:
    """The explainer, with what parity.json says of it."""
    origins = dict.fromkeys(origin_of(part, modality) for part in model.parts)
    bounds = FROZEN_BOUNDS if model.frozen else PICTURE_BOUNDS if modality == "picture" else BOUNDS
    about = {"origin": ", ".join(origins), "steps": STEPS}
    return Explaining(explainer(model), about, bounds, lambda: explainer(nudged(model)))


def origin_of(part: Part, modality: str) -> str:
    """Where a part's explanations start, in words."""
    return str(getattr(type(part.kind.net), "ORIGIN", ORIGINS[modality]))


def explainer(model: Model) -> Explainer:
    """The function (inputs, target_nk) -> contributions_np, prediction_n, baseline_n, not yet spread.

    `target` weighs the outputs: one-hot for a class. Rows are taken one after the other, so that memory does not grow.
    """

    def run(inputs: Inputs, target_nk: jax.Array) -> Explained:
        exporting = not isinstance(target_nk.shape[0], int)
        with pixels.exported(exporting):  # else a single row looks as if it were computed here
            found: Explained = jax.lax.map(lambda row: _one(model, *row), (inputs, target_nk))
        return found

    return jax.jit(run) if model.frozen else run  # a large net is worth the time of compiling it well


def nudged(model: Model) -> Model:
    """The same model with every trained weight a last bit up or down, by chance."""
    rng = np.random.default_rng(0)

    def beside(leaf: Any) -> Any:
        up = np.where(rng.random(np.shape(leaf)) < 0.5, np.float32(-np.inf), np.float32(np.inf))
        return np.nextafter(np.asarray(leaf, np.float32), up)

    parts = tuple(replace(part, weights=jax.tree.map(beside, part.weights)) for part in model.parts)
    return replace(model, parts=parts)


def _one(model: Model, x: Inputs, target_k: jax.Array) -> Explained:
    """One row explained."""
    row = jax.tree.map(lambda array: array[None], x)
    encoded = [_by_member(part, lambda net, weights: net.encode(weights, row)) for part in model.parts]
    origins = [
        _by_member(part, lambda net, weights, z: net.origin(weights, z), z)
        for part, z in zip(model.parts, encoded, strict=True)
    ]

    def told(points: list[jax.Array]) -> jax.Array:
        return _told(model, points) @ target_k

    slopes = _mean_slope(model, origins, encoded, target_k)
    found = [_gained(part, row, *ends) for part, *ends in zip(model.parts, slopes, origins, encoded, strict=True)]
    return sum(found[1:], start=found[0]), told(encoded), told(origins)


def _by_member(part: Part, function: Any, *points: Any) -> Any:
    """What a function of net and weights gives for every member [m, 1, ...].

    A frozen net's encoding is the same for all of its heads: it stands once [1, ...].
    """
    net = part.kind.net
    if frozen_of(net):
        return function(net, None, *points)
    return beside_each_other(partial(function, net), part.weights, *points)


def _told(model: Model, points: list[jax.Array]) -> jax.Array:
    """The calibrated answer [k] at a point in every part's encoding."""
    shared = [part.share * _answer(part, model, z) for part, z in zip(model.parts, points, strict=True)]
    return calibrate.apply(model.calibration, sum(shared[1:], start=shared[0]))[0]


def _answer(part: Part, model: Model, z: jax.Array) -> jax.Array:
    """What a part answers [1, k] at points of its members."""
    kind = part.kind

    def one(weights: Any, z: jax.Array) -> jax.Array:
        return kind.net.finish(weights, kind.net.enter(weights, z), keep)

    out_mbk = beside_each_other(one, part.weights, z, in_axes=(0, None if frozen_of(kind.net) else 0))
    return answer(kind.task, kind.log1p, model.scale, out_mbk, kind.loss)


def _mean_slope(model: Model, origins: list[jax.Array], ends: list[jax.Array], target_k: jax.Array) -> list[jax.Array]:
    """The answer's mean gradient in every part's encoding, over the steps between origin and end."""
    slope_of = jax.grad(lambda points: _told(model, points) @ target_k)
    place_t = (np.arange(STEPS, dtype=np.float32) + 0.5) / STEPS

    def at(total: Any, share: Any) -> tuple[Any, None]:
        points = [jax.tree.map(lambda a, b: a + share * (b - a), *pair) for pair in zip(origins, ends, strict=True)]
        return jax.tree.map(jnp.add, total, slope_of(points)), None

    total, _ = jax.lax.scan(at, jax.tree.map(jnp.zeros_like, ends), place_t)
    mean: list[jax.Array] = jax.tree.map(lambda slope: slope / STEPS, total)
    return mean


def _gained(part: Part, x: Inputs, slope: jax.Array, origin: jax.Array, end: jax.Array) -> jax.Array:
    """Slope times way, by place of the row [p], over all members."""
    gain = jax.tree.map(lambda s, a, b: s * (b - a), slope, origin, end)
    gain = gain if frozen_of(part.kind.net) else jax.tree.map(lambda leaf: leaf.sum(0), gain)
    found: jax.Array = part.kind.net.by_place(gain, x)[0]
    return found
