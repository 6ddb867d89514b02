"""The training loop: a population of members at once, epochs compiled whole, early stopping for each on its own.

A member is one net with its own settings, all of them traced: other settings, the same compiled program. Members
stand in groups (rows of the matrix g x c): a group shares batches and the rows it is watched on. What is watched and
kept is a running average of the weights over about an epoch (Polyak and Juditsky 1992), which does the work of a
falling step size without needing to know when training will end.

Axes: g groups, c configurations, n rows, b batch rows, v rows looked at, j nets trained as one, k outputs, s steps.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from tidemill.training import batches, nodes
from tidemill.training.augment import beside
from tidemill.training.batches import Group, Plan, Rows, look_of
from tidemill.training.devices import Placement
from tidemill.training.dropout import dropper, fold
from tidemill.training.families import Drop, Net, Weights, keep
from tidemill.training.losses import Scale, answer, primary_losses, row_losses, watched
from tidemill.training.optimizers import Knobs, Optimizer
from tidemill.training.schedules import factor

Array = NDArray[Any]
TREES = ("weights", "moments", "average", "best")  # of a state
AVERAGED = 2.0  # epochs over which weights are averaged


class Kind(NamedTuple):
    """The static settings: another value, another program."""

    net: Net
    task: str
    log1p: bool
    loss: str = "auto"
    optimizer: str = "adamw"
    schedule: str = "constant"


class Pace(NamedTuple):
    """How long to train: traced."""

    epochs: int  # at most
    patience: int  # epochs without a better validation loss
    warmup: float = 0.0  # share of the steps


@dataclass
class State:
    """Everything a population needs to go on: arrays with leading axes g, c, and counters."""

    weights: Weights
    moments: Any
    average: Weights
    best: Weights
    best_loss: Array  # [g, c]; infinite where nothing finite was seen
    best_epoch: Array
    epoch: int = 0  # epochs finished
    chunk: int = 0  # chunks finished of the current epoch
    curve: list[tuple[list[list[float]], list[list[float]]]] = field(default_factory=list)  # train and held losses

    def done(self, pace: Pace) -> bool:
        """Whether no member can get better within the pace."""
        stalled = (self.epoch - self.best_epoch >= pace.patience) | ~np.isfinite(self.best_loss)
        return self.epoch >= pace.epochs or (self.epoch >= pace.patience and bool(stalled.all()))


@dataclass(frozen=True, eq=False)
class Field:
    """What a population trains on."""

    rows: Rows
    scale: Scale
    groups: list[Group]
    cut: Plan

    @property
    def padding(self) -> int:
        """The number of a row that weighs nothing."""
        return len(self.rows.y_n) - 1


def train(
    kind: Kind,
    knobs_c: Knobs,
    ground: Field,
    pace: Pace,
    state: State,
    *,
    until: int | None = None,
    after_epoch: Callable[[State], None] = lambda _: None,
    before_chunk: Callable[[State], None] = lambda _: None,
) -> State:
    """Train until every member has stalled, the epochs are over or `until` is reached; the best weights are in `best`.

    `before_chunk` may raise to stop: the state is whole then. The trees of the state end up as NumPy arrays.
    """
    placement = Placement.of(*state.best_loss.shape)
    for tree in TREES:
        setattr(state, tree, placement.members(getattr(state, tree)))
    knobs_c, rows, scale = (placement.everywhere(tree) for tree in (knobs_c, ground.rows, ground.scale))
    ground = replace(ground, rows=rows, scale=scale)
    held_gv = batches.looked([group.held for group in ground.groups], ground.padding, look_of(rows.x_n))
    most = min(held_gv.shape[1], batches.LOOK)
    seen_gv = batches.filled([group.train[:most] for group in ground.groups], most, ground.padding)
    while not state.done(pace) and state.epoch < (until or pace.epochs):
        order_gn = batches.order(ground.groups, state.epoch, ground.cut.rows, ground.padding)
        order_gsb = placement.order(order_gn, ground.cut.batch)
        for chunk in range(state.chunk, ground.cut.chunks):
            before_chunk(state)
            seeds_g = np.array([hash_of(group.seed, state.epoch) for group in ground.groups], np.uint32)
            place = (np.int32(state.epoch), np.int32(chunk), np.float32(pace.epochs), np.float32(pace.warmup))
            state.weights, state.moments, state.average = run_chunk(
                kind,
                ground.cut,
                state.weights,
                state.moments,
                state.average,
                ground.rows,
                ground.scale,
                knobs_c,
                order_gsb,
                seeds_g,
                place,
            )
            state.chunk = chunk + 1
        _finish_epoch(kind, ground, state, held_gv, seen_gv)
        after_epoch(state)
    for tree in TREES:
        setattr(state, tree, nodes.whole(getattr(state, tree)))
    return state


def start(kind: Kind, seen_g: Sequence[Any], groups: list[Group], widths: list[int]) -> State:
    """Fresh members. Drawn in NumPy: nothing to compile. `seen_g` is what the family found in each group's rows."""

    def drawn(group: Group, seen: Any, place: int) -> Weights:
        return kind.net.init(np.random.default_rng((*group.seed, 1 << 20, place)), widths[place], seen)

    pairs = zip(groups, seen_g, strict=True)
    members = [[drawn(group, seen, place) for place in range(len(widths))] for group, seen in pairs]
    shape = (len(groups), len(widths))
    flat = [member for row in members for member in row]
    weights = jax.tree.map(lambda *leaves: np.stack(leaves).reshape(*shape, *leaves[0].shape), *flat)
    moments = Optimizer(kind.optimizer).init(members[0][0])
    moments = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (*shape, *leaf.shape)).copy(), moments)
    average, best = jax.tree.map(jnp.array, weights), jax.tree.map(jnp.array, weights)  # copies: they are donated
    weights, moments = jax.tree.map(jnp.array, (weights, moments))
    return State(weights, moments, average, best, np.full(shape, np.inf), np.zeros(shape, np.int64))


def hash_of(seed: tuple[int, ...], epoch: int) -> int:
    """32 bits that follow from a group's seed and the epoch."""
    return int(np.random.SeedSequence((*seed, epoch)).generate_state(1)[0])


def _finish_epoch(kind: Kind, ground: Field, state: State, held_gv: Array, seen_gv: Array) -> None:
    """Count the epoch, note its losses, keep the weights of members that are the best so far."""
    state.epoch, state.chunk = state.epoch + 1, 0
    seen_gc, held_gc = (
        np.asarray(found, np.float64)
        for found in nodes.whole(look(kind, state.average, ground.rows, ground.scale, seen_gv, held_gv))
    )
    held_gc = np.where(np.isfinite(held_gc), held_gc, np.inf)
    state.curve.append((seen_gc.tolist(), held_gc.tolist()))
    better_gc = held_gc < state.best_loss
    state.best_loss = np.where(better_gc, held_gc, state.best_loss)
    state.best_epoch = np.where(better_gc, state.epoch, state.best_epoch)
    state.best = keep_better(state.best, state.average, better_gc)


# --- compiled -----------------------------------------------------------------------------------------------------


@partial(jax.jit, static_argnames=("kind", "cut"), donate_argnames=("weights", "moments", "average"))
def run_chunk(
    kind: Kind,
    cut: Plan,
    weights: Weights,
    moments: Any,
    average: Weights,
    rows: Rows,
    scale: Scale,
    knobs_c: Knobs,
    order_gsb: jax.Array,
    seeds_g: jax.Array,
    place: tuple[Any, ...],
) -> tuple[Weights, Any, Weights]:
    """A chunk of an epoch: its share of the epoch's shuffled rows in batches."""
    epoch, chunk, epochs, warmup = place
    per_epoch = cut.steps * cut.chunks

    def group(order_sb: jax.Array, seed: jax.Array, *carried: Any) -> tuple[Any, ...]:
        def member(knobs: Knobs, *carry: Any) -> tuple[Any, ...]:
            def step(carry: tuple[Any, ...], index: jax.Array) -> tuple[tuple[Any, ...], None]:
                number = epoch * per_epoch + index
                scheduled = factor(kind.schedule, number, epochs * per_epoch, warmup)
                share = jnp.maximum(1.0 / max(1.0, AVERAGED * per_epoch), 1.0 / (number + 1.0))
                at_b = jax.lax.dynamic_index_in_dim(order_sb, index, keepdims=False)
                batch = jax.tree.map(lambda value: value[at_b], rows)
                key = fold(seed, index)  # equal draws for a group's members: their settings are what differs
                return _step(kind, batch, scale, scheduled, share, key, knobs, *carry), None

            after: tuple[Any, ...] = jax.lax.scan(step, carry, chunk * cut.steps + jnp.arange(cut.steps))[0]
            return after

        return each(member, knobs_c, *carried)

    return each(group, order_gsb, seeds_g, weights, moments, average)


def each(one: Callable[..., tuple[Any, ...]], *axes: Any) -> tuple[Any, ...]:
    """`jax.vmap`, but for what there is one of: XLA's programs for a CPU are faster without an axis of one.

    Around a whole chunk, not in its steps, where taking the axis off and on would cost copies.
    """
    if jax.tree.leaves(axes)[0].shape[0] > 1:
        done: tuple[Any, ...] = jax.vmap(one)(*axes)
        return done
    alone = jax.tree.map(lambda leaf: leaf[0], axes)
    return jax.tree.map(lambda leaf: leaf[None], one(*alone))  # type: ignore[no-any-return]


def _step(
    kind: Kind,
    batch: Rows,
    scale: Scale,
    scheduled: jax.Array,
    share: jax.Array,
    key: jax.Array,
    knobs: Knobs,
    weights: Weights,
    moments: Any,
    average: Weights,
) -> tuple[Weights, Any, Weights]:
    """One step of one member."""

    x_b, share_b = batch.x_n, None
    if knobs.bend is not None:
        x_b, share_b = kind.net.bent(key, knobs.bend, batch.x_n, batch.w_n)

    def loss_of(weights: Weights) -> jax.Array:
        out_jbk = outputs(kind.net, weights, x_b, dropper(key, knobs.dropout))

        def against(y_b: jax.Array) -> jax.Array:
            one = partial(row_losses, kind.task, kind.log1p, scale, y_b=y_b, loss=kind.loss)
            return jax.vmap(one)(out_jbk).mean(0)

        loss_b = against(batch.y_n)
        if share_b is not None:
            loss_b = share_b * loss_b + (1.0 - share_b) * against(beside(batch.y_n))
        loss: jax.Array = (loss_b * batch.w_n).sum() / jnp.maximum(batch.w_n.sum(), 1e-9)
        return loss

    gradients = jax.grad(loss_of)(weights)
    rate, decayed = scheduled * knobs.learning_rate, kind.net.decayed(weights)
    weights, moments = Optimizer(kind.optimizer).step(weights, gradients, moments, knobs, rate, decayed)
    average = jax.tree.map(lambda old, new: jnp.where(new == 0, 0.0, old + share * (new - old)), average, weights)
    return weights, moments, average


def outputs(net: Net, weights: Weights, x_b: jax.Array, drop: Drop) -> jax.Array:
    """Outputs [j, b, k] of one member."""
    out = net.finish(weights, net.enter(weights, net.encode(weights, x_b)), drop)
    return out[None] if out.ndim == 2 else out.swapaxes(0, 1)


def predict(kind: Kind, weights: Weights, scale: Scale, x_b: jax.Array) -> jax.Array:
    """The answer of members [m, ...] together; pure, so that it can be compiled, differentiated and exported."""
    out_mjbk = beside_each_other(lambda member: outputs(kind.net, member, x_b, keep), weights)
    return answer(kind.task, kind.log1p, scale, out_mjbk.reshape(-1, *out_mjbk.shape[2:]), kind.loss)


def beside_each_other(one: Callable[..., Any], *values: Any, in_axes: Any = 0) -> Any:
    """`jax.vmap` over members whose weights may be NumPy's, which JAX does not take where gradients are our own."""
    return jax.vmap(one, in_axes)(*jax.tree.map(jnp.asarray, values))


@partial(jax.jit, static_argnames=("kind",))
def look(
    kind: Kind, average: Weights, rows: Rows, scale: Scale, seen_gv: jax.Array, held_gv: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """What is watched [g, c] on rows of training and on held ones, weighed alike, some rows at a time."""
    size = min(look_of(rows.x_n), held_gv.shape[1])
    first = seen_gv.shape[1] // size

    def losses(members: Weights, at_v: jax.Array) -> tuple[jax.Array, jax.Array]:
        def part(at: jax.Array) -> tuple[jax.Array, jax.Array]:
            x_v, y_v, w_v = jax.tree.map(lambda value: value[at], rows)

            def one(member: Weights) -> jax.Array:
                answer_vk = predict(kind, jax.tree.map(lambda leaf: leaf[None], member), scale, x_v)
                return jnp.sum(primary_losses(kind.task, answer_vk, y_v, kind.loss) * w_v)

            return jax.vmap(one)(members), w_v.sum()

        sums, counts = jax.lax.map(part, at_v.reshape(-1, size))  # one body to compile for both kinds of rows
        seen_c, held_c = (sums[at].sum(0) / counts[at].sum() for at in (slice(first), slice(first, None)))
        rooted = watched(kind.task, kind.loss) == "RMSE"
        return (jnp.sqrt(seen_c), jnp.sqrt(held_c)) if rooted else (seen_c, held_c)

    told: tuple[jax.Array, jax.Array] = jax.vmap(losses)(average, jnp.concatenate([seen_gv, held_gv], axis=1))
    return told


@partial(jax.jit, donate_argnames=("best",))
def keep_better(best: Weights, average: Weights, better_gc: jax.Array) -> Weights:
    """The averages where they are better."""

    def chosen(old: jax.Array, new: jax.Array) -> jax.Array:
        return jnp.where(better_gc.reshape(*better_gc.shape, *[1] * (old.ndim - 2)), new, old)

    return jax.tree.map(chosen, best, average)
