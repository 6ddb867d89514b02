"""Tidemill's own path: loop.start and loop.train on families.mlp, as the search trains one rung on one split.

Part of it, and of the time: gradient clipping, the running average of the weights, and after each epoch the look at
256 training rows beside the held ones, and the keeping of the best. Axes: c configurations.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np
from searching.problem import BATCH, CLASSES, EPOCHS, FEATURES, HELD, ROWS, rows, settings

from tidemill.training import batches, config, loop, losses
from tidemill.training.batches import Group
from tidemill.training.families import mlp
from tidemill.training.trials import Trial, knobs_of

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
MOMENTUM = 0.9  # not used by AdamW
KIND = loop.Kind(mlp.net(FEATURES, CLASSES, None), "binary", log1p=False)
GROUPS = [Group(np.arange(ROWS), np.arange(ROWS, ROWS + HELD), (0, 0))]

config.use_compilation_cache(None)  # JAX_COMPILATION_CACHE_DIR, where set
X_NF, Y_N = rows()
ON_DEVICE = batches.on_device(X_NF, Y_N, np.ones(len(Y_N), np.float32))
SCALE = losses.scale_of(Y_N, log1p=False)
Losses = Callable[[], list[float]]


def train(trials: list[Trial]) -> list[float]:
    """Train these configurations at once; their best validation losses."""
    state = loop.start(KIND, [None] * len(GROUPS), GROUPS, [int(trial.settings["width"]) for trial in trials])
    weights = sum(leaf[0].size for leaf in jax.tree.leaves(state.weights))
    ground = loop.Field(ON_DEVICE, SCALE, GROUPS, batches.plan(ROWS, BATCH, weights))
    state = loop.train(KIND, knobs_of(trials, MOMENTUM), ground, loop.Pace(EPOCHS, EPOCHS), state)
    jax.block_until_ready(state.best)
    return list(state.best_loss[0])


def trials_of(count: int) -> list[Trial]:
    """The configurations as the search has them."""
    return [Trial(f"mlp-{at + 1}", mlp.NAME, told) for at, told in enumerate(settings(count))]


def together(count: int) -> Losses:
    """All configurations at once."""
    found = train(trials_of(count))
    return lambda: found


def one_by_one(count: int) -> Losses:
    """The same, a population of one at a time: one program for all."""
    found = [train([trial])[0] for trial in trials_of(count)]
    return lambda: found


WAYS = {"together": together, "one by one": one_by_one}
