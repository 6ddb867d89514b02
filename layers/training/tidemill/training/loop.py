"""The training loop: epochs compiled whole, all members at once, early stopping on the answer a user would get.

Axes: n rows, b batch rows, m members, k outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax

from tidemill.core.errors import TidemillError
from tidemill.core.progress import Progress, Report, silent
from tidemill.training.batches import LOOK, Plan, Rows
from tidemill.training.checkpoint import Interrupted, Keeper
from tidemill.training.config import Config
from tidemill.training.dropout import dropper, fold
from tidemill.training.families import Net, Weights, keep
from tidemill.training.losses import Scale, answer, primary_losses, row_losses

ADAM = optax.scale_by_adam()


class Knobs(NamedTuple):
    """The traced settings: another value, the same compiled program."""

    learning_rate: float
    weight_decay: float
    dropout: float
    clip_norm: float


class Kind(NamedTuple):
    """The static settings: another value, another program."""

    net: Net
    task: str
    log1p: bool


@dataclass
class State:
    """Everything a run needs to go on: arrays with a leading member axis, and counters."""

    weights: Weights
    moments: Any
    best: Weights  # on the host: NumPy arrays
    epoch: int = 0  # epochs finished
    chunk: int = 0  # chunks finished of the current epoch
    loss_sum: float = 0.0  # of the current epoch
    best_epoch: int = 0
    best_loss: float = float("inf")
    history: list[dict[str, float]] = field(default_factory=list)


def train(
    kind: Kind,
    config: Config,
    scale: Scale,
    rows: Rows,
    cut: Plan,
    validation: Rows,
    *,
    keeper: Keeper | None = None,
    report: Report = silent,
    stop: Callable[[], bool] = lambda: False,
) -> State:
    """Train until the validation loss has not improved for `patience` epochs; the best weights are in `best`."""
    knobs = Knobs(config.learning_rate, config.weight_decay, config.dropout, config.clip_norm)
    state = start(kind, config)
    state = keeper.resume(state) if keeper else state
    while state.epoch < config.epochs and state.epoch - state.best_epoch < config.patience:
        order_n = np.random.default_rng((config.seed, state.epoch)).permutation(cut.rows).astype(np.int32)
        for chunk in range(state.chunk, cut.chunks):
            if stop():
                raise Interrupted(keeper.save(state) if keeper else None, state.epoch)
            state.weights, state.moments, loss_sum = run_chunk(
                kind, cut, state.weights, state.moments, rows, scale, knobs, order_n, config.seed, state.epoch, chunk
            )
            state.chunk, state.loss_sum = chunk + 1, state.loss_sum + float(loss_sum)
        finish_epoch(state, float(rows.w_n.sum()), float(look(kind, state.weights, scale, validation)))
        report(_progress(state, config))
        if keeper:
            keeper.save_if_due(state)
    return state


def start(kind: Kind, config: Config) -> State:
    """Fresh members, equal but for their seeds. Drawn in NumPy: nothing to compile."""
    drawn = [kind.net.init(np.random.default_rng((config.seed, member))) for member in range(config.members)]
    best = jax.tree.map(lambda *leaves: np.stack(leaves), *drawn)
    count = np.zeros(config.members, np.int32)
    moments = optax.ScaleByAdamState(count, *(jax.tree.map(np.zeros_like, best) for _ in "mv"))
    weights, moments = jax.device_put((best, moments))
    return State(weights, moments, best)


def finish_epoch(state: State, rows: float, validation_loss: float) -> None:
    """Count the epoch, note its losses, keep the weights where they are the best so far."""
    if not validation_loss < float("inf"):
        raise TidemillError(
            f"Training diverged in epoch {state.epoch + 1}: the validation loss is {validation_loss}.",
            remedy="Lower [train] learning_rate, or look for enormous values in the numeric columns.",
            code="DIVERGED",
        )
    state.epoch, state.chunk = state.epoch + 1, 0
    entry = {"epoch": state.epoch, "train_loss": state.loss_sum / rows, "validation_loss": validation_loss}
    state.history.append(entry)
    state.loss_sum = 0.0
    if validation_loss < state.best_loss:
        state.best_loss, state.best_epoch = validation_loss, state.epoch
        state.best = jax.tree.map(lambda leaf: np.array(leaf, copy=True), state.weights)


def _progress(state: State, config: Config) -> Progress:
    name = "RMSE" if config.task == "regression" else "log loss"
    said = f"validation {name} {state.history[-1]['validation_loss']:.4g}, best {state.best_loss:.4g}"
    return Progress("training", state.epoch, config.epochs, f"{said} in epoch {state.best_epoch}")


# --- compiled -----------------------------------------------------------------------------------------------------


@partial(jax.jit, static_argnames=("kind", "cut"), donate_argnames=("weights", "moments"))
def run_chunk(
    kind: Kind,
    cut: Plan,
    weights: Weights,
    moments: Any,
    rows: Rows,
    scale: Scale,
    knobs: Knobs,
    order_n: jax.Array,
    seed: jax.Array,
    epoch: jax.Array,
    chunk: jax.Array,
) -> tuple[Weights, Any, jax.Array]:
    """A chunk of an epoch: its share of the epoch's shuffled rows in batches; returns the sum of the row losses."""
    members = jnp.arange(jax.tree.leaves(weights)[0].shape[0])
    epoch_key = fold(fold(jnp.uint32(seed), 1), epoch)

    def step(carry: tuple[Weights, Any], index: jax.Array) -> tuple[tuple[Weights, Any], jax.Array]:
        at_b = jax.lax.dynamic_slice(order_n, (index * cut.batch,), (cut.batch,))
        batch = jax.tree.map(lambda value: value[at_b], rows)
        keys = jax.vmap(fold, (None, 0))(fold(epoch_key, index), members)
        after, losses_m = jax.vmap(partial(_step, kind, batch, scale, knobs))(keys, carry)
        return after, losses_m.mean()

    indices = chunk * cut.steps + jnp.arange(cut.steps)
    (weights, moments), losses = jax.lax.scan(step, (weights, moments), indices)
    return weights, moments, losses.sum()


def _step(
    kind: Kind, batch: Rows, scale: Scale, knobs: Knobs, key: jax.Array, carry: tuple[Weights, Any]
) -> tuple[tuple[Weights, Any], jax.Array]:
    """One AdamW step of one member."""
    weights, moments = carry

    def loss_of(weights: Weights) -> tuple[jax.Array, jax.Array]:
        out_bk = kind.net.finish(weights, kind.net.enter(weights, batch.x_nf), dropper(key, knobs.dropout))
        total = (row_losses(kind.task, kind.log1p, scale, out_bk, batch.y_n) * batch.w_n).sum()
        return total / jnp.maximum(batch.w_n.sum(), 1.0), total

    gradients, total = jax.grad(loss_of, has_aux=True)(weights)
    shrink = jnp.minimum(1.0, knobs.clip_norm / (optax.tree.norm(gradients) + 1e-9))
    updates, moments = ADAM.update(jax.tree.map(lambda g: g * shrink, gradients), moments)

    def moved(weight: jax.Array, update: jax.Array) -> jax.Array:
        decay = knobs.weight_decay * weight if weight.ndim > 1 else 0.0  # biases are not decayed
        return weight - knobs.learning_rate * (update + decay)

    return (jax.tree.map(moved, weights, updates), moments), total


def predict(kind: Kind, weights: Weights, scale: Scale, x_bf: jax.Array) -> jax.Array:
    """The answer of all members together; pure, so that it can be compiled, differentiated and exported."""
    out_mbk = jax.vmap(lambda member: kind.net.finish(member, kind.net.enter(member, x_bf), keep))(weights)
    return answer(kind.task, kind.log1p, scale, out_mbk)


@partial(jax.jit, static_argnames=("kind",))
def look(kind: Kind, weights: Weights, scale: Scale, rows: Rows) -> jax.Array:
    """The primary metric over rows, in looks of LOOK rows at most."""
    size = min(LOOK, len(rows.y_n))

    def part(piece: Rows) -> jax.Array:
        losses_b = primary_losses(kind.task, predict(kind, weights, scale, piece.x_nf), piece.y_n)
        return jnp.sum(losses_b * piece.w_n)

    pieces = jax.tree.map(lambda value: value.reshape(-1, size, *value.shape[1:]), rows)
    mean: jax.Array = jax.lax.map(part, pieces).sum() / rows.w_n.sum()
    root: jax.Array = jnp.sqrt(mean)
    return root if kind.task == "regression" else mean
