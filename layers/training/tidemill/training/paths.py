"""Nets of one kind, followed together along paths from background rows to the row that is explained.

Answers are averages over nets, so what a net says of some paths is a sample of what all would say: every net starts
from a few background rows only, spread evenly, so that all nets together start from each equally often.

Numbers are explained before they are told in the target's unit, where nets add up; every path is then stretched to
what it makes in that unit (the rescale rule of DeepLIFT, arXiv 1704.02685).

Axes: q parts, u their nets (members of all parts in turn), s starts of a net, t steps, b rows, B background rows,
e columns of an encoding, f features, j nets trained as one, k outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tidemill.training.evaluate import Model
from tidemill.training.families import Weights, keep
from tidemill.training.loop import Kind, beside_each_other
from tidemill.training.losses import Scale, answer

Array = NDArray[Any]

STEPS = (2, 4)  # of a path, at least and at most
LOOKS = 8  # at places of a path, where it takes no more steps: nets that walk it together look at different places
STARTS = 512  # of all nets of a model together, by the shares of their parts
NEAR = 0.01  # standard deviations of the target: values nearer than this have a slope between them, no chord


class Walked(NamedTuple):
    """Rows on their way through the nets."""

    encoded_ube: Any
    entered: Any  # leaves [u, b, ...]
    value_qb: Any  # of numbers: mean outputs of parts, before they are told in the target's unit
    answer_qbk: Any


@dataclass(frozen=True, eq=False)
class Nets:
    """Parts of a blend that are of one kind: weights with leaves [u, ...], shares, and where the nets start."""

    kind: Kind
    weights: Weights
    share_q: Array
    scale: Scale
    start_us: Array  # numbers of background rows
    place_ustj: Array  # 0 at the start of a path, 1 at its end

    def walk(self, x_bf: Any) -> Walked:
        """Rows all the way from features to answers."""
        encoded_ube = self._each(lambda weights: self.kind.net.encode(weights, x_bf))
        entered = self.enter(encoded_ube)
        out_ujbk = jnp.moveaxis(self.finish(entered), 2, 1)
        out_qmbk = out_ujbk.reshape(len(self.share_q), -1, *out_ujbk.shape[2:])
        return Walked(encoded_ube, entered, out_qmbk.mean(1)[:, :, 0], jax.vmap(self.told)(out_qmbk))

    def enter(self, encoded_ube: Any) -> Any:
        """Encoded rows behind the affine map."""
        return self._each(self.kind.net.enter, encoded_ube)

    def finish(self, entered: Any) -> jax.Array:
        """Outputs [u, b, j, k]."""
        out: jax.Array = self._each(lambda weights, h: self.kind.net.finish(weights, h, keep), entered)
        return out if out.ndim == 4 else out[:, :, None]

    def told(self, out_mbk: jax.Array) -> jax.Array:
        """Outputs of nets as one answer [b, k]."""
        return answer(self.kind.task, self.kind.log1p, self.scale, out_mbk, self.kind.loss)

    @property
    def part_u(self) -> Array:
        """The part each net belongs to."""
        parts = len(self.share_q)
        part_u: Array = np.repeat(np.arange(parts), len(self.start_us) // parts)
        return part_u

    def _each(self, step: Callable[..., Any], *values: Any) -> Any:
        return beside_each_other(step, self.weights, *values)


@dataclass(frozen=True, eq=False)
class Paths:
    """Where the paths of nets begin."""

    nets: Nets
    home: Walked  # the background
    encoded_use: Array
    entered: Any  # leaves [u, s, ...]

    def explain(self, end: Walked, target_k: jax.Array, stretch_b: Any) -> jax.Array:
        """What each feature [f] added to the nets' share of an answer, from the background to a walked row.

        `stretch` weighs paths by the background row they start from.
        """
        nets = self.nets
        points = jax.tree.map(partial(_points, nets.place_ustj), self.entered, end.entered)
        stretch_us = (self._unit_qb(end) * stretch_b)[nets.part_u[:, None], nets.start_us]
        slope = jax.tree.map(partial(_mean_slope, stretch_us), jax.grad(self._told)(points, target_k), self.entered)
        carried_use = jax.vjp(nets.enter, self.encoded_use)[1](slope)[0]
        gain_e = ((end.encoded_ube - self.encoded_use) * carried_use).sum((0, 1))
        contribution_f: jax.Array = nets.kind.net.by_feature(gain_e[None])[0]
        return contribution_f

    def _told(self, points: Any, target_k: jax.Array) -> jax.Array:
        """What nets say at their points, weighed as in the answer and summed: probabilities, or mean outputs."""
        nets = self.nets
        out_ubjk = nets.finish(points)
        if nets.kind.task == "regression":
            said = out_ubjk[..., 0] * target_k[0]
        else:
            said = nets.told(out_ubjk.reshape(1, -1, len(target_k))) @ target_k
        weight_u = nets.share_q[nets.part_u] / (len(nets.part_u) // len(nets.share_q))
        starts_and_nets = nets.start_us.shape[1] * out_ubjk.shape[2]
        total: jax.Array = (said.reshape(len(weight_u), -1).sum(1) * weight_u).sum() / starts_and_nets
        return total

    def _unit_qb(self, end: Walked) -> Any:
        """What a mean output is worth in the target's unit on the way from each background row; 1 for probabilities."""
        if self.nets.kind.task != "regression":
            return np.ones(self.home.value_qb.shape, np.float32)
        slope_q1 = jax.vmap(jax.grad(lambda value: self.nets.told(value.reshape(1, 1, 1))[0, 0]))(end.value_qb[:, 0])
        rise_qb = (end.answer_qbk - self.home.answer_qbk)[:, :, 0]
        return chord(rise_qb, end.value_qb - self.home.value_qb, slope_q1[:, None], NEAR)


def paths_of(model: Model, background_bf: Array) -> list[Paths]:
    """Paths of all nets of a model, by the kind of net."""
    kinds = dict.fromkeys(part.kind for part in model.parts)
    return [_paths(_nets(model, kind, len(background_bf)), background_bf) for kind in kinds]


def chord(rise: Any, run: Any, slope: Any, near: float) -> jax.Array:
    """Rise over run; the slope where both are nearly nothing."""
    far = jnp.abs(run) > near
    return jnp.where(far, rise / jnp.where(far, run, 1.0), slope)


def _nets(model: Model, kind: Kind, rows: int) -> Nets:
    """The parts of a kind. Where they count for more they get more starts; each background row is started from."""
    parts = [part for part in model.parts if part.kind == kind]
    weights = jax.tree.map(lambda *leaves: np.concatenate(leaves), *(part.weights for part in parts))
    share_q = np.array([part.share for part in parts], np.float32)
    nets = len(jax.tree.leaves(weights)[0])
    together = getattr(kind.net, "members", 1)
    wanted = STARTS * float(share_q.sum()) / (nets * together)
    starts = int(np.clip(np.ceil(wanted), np.ceil(rows / nets), rows))
    start_us = (np.arange(starts) + (np.arange(nets)[:, None] + 0.5) / nets) * rows / starts
    place_ustj = _places(start_us.shape, together)
    return Nets(kind, weights, share_q, model.scale, start_us.astype(int), place_ustj)


def _places(paths: tuple[int, int], nets: int) -> Array:
    """Middles of a path's steps, shifted from path to path, and evenly from net to net that walk the same path."""
    shift_us = np.random.default_rng(0).permutation(paths[0] * paths[1]).reshape(paths) + 0.5
    shift_usj = (np.arange(nets) + shift_us[:, :, None] / shift_us.size) / nets
    steps = int(np.clip(LOOKS // nets, *STEPS))
    place_ustj = (np.arange(steps)[:, None] + shift_usj[:, :, None]) / steps
    return place_ustj.astype(np.float32)


def _paths(nets: Nets, background_bf: Array) -> Paths:
    home = jax.tree.map(np.asarray, quickly(nets.walk)(background_bf))
    net = np.arange(len(nets.start_us))[:, None]
    entered, encoded_use = jax.tree.map(lambda leaf: leaf[net, nets.start_us], (home.entered, home.encoded_ube))
    return Paths(nets, home, encoded_use, entered)


def quickly(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compiled in little time to code that takes more: for many small operations on a few rows."""
    options = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}
    compiled: Callable[..., Any] = jax.jit(function, compiler_options=options if _on_cpu() else None)
    return compiled


def _on_cpu() -> bool:
    return bool(jax.default_backend() == "cpu")


def _points(place_ustj: Array, start: jax.Array, end: jax.Array) -> jax.Array:
    """All points of all paths [u, s * t, ...], from starts [u, s, ...] to an end [u, 1, ...]."""
    place = place_ustj.reshape(*place_ustj.shape, *[1] * (start.ndim - 3))
    points: jax.Array = start[:, :, None] + place * (end - start)[:, :, None]
    return points.reshape(start.shape[0], -1, *start.shape[2:])


def _mean_slope(stretch_us: jax.Array, slope: jax.Array, start: jax.Array) -> jax.Array:
    """Slopes [u, s * t, ...] at a path's points, averaged over the path and stretched [u, s, ...]."""
    slope_ustd = slope.reshape(*start.shape[:2], -1, start[0, 0].size)
    stretched: jax.Array = (slope_ustd.mean(2) * stretch_us[:, :, None]).reshape(start.shape)
    return stretched
