"""Tidemill's own path: loop.start and loop.train on the families, one configuration, epochs compiled whole.

In its time, and not in the others': gradient clipping, the running average of the weights, and after each epoch a look
at 64 held rows and as many of training, and the keeping of the best.
"""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
from throughput.problem import TASKS, WIDTH, WORDS, Losses, rows, ways

from tidemill.core.features.text_bags import Texts
from tidemill.training import batches, config, loop, losses
from tidemill.training.families import cnn, lstm, mlp, transformer
from tidemill.training.optimizers import Knobs

PACKAGES = ("jax", "jaxlib", "flax", "optax", "numpy")
LOOKED = 64
SETTINGS = (1e-3, 1e-4, 0.0, 0.0, 0.9, 1.0)  # learning rate, weight decay; no L1, no dropout; momentum, clipping

config.use_compilation_cache(None)  # JAX_COMPILATION_CACHE_DIR, where set


def net_of(name: str) -> Any:
    """The family's network in the sizes of the problem."""
    task = TASKS[name]
    if name == "mlp":
        return mlp.net(task.shape[0], task.classes, None)
    if name == "cnn":
        return cnn.net(task.shape, task.classes, None)  # in the sizes of the problem as it is
    family = lstm if name == "lstm" else transformer
    return family.net((1, WORDS), task.classes, None, width=WIDTH)


class Training:
    """One network: its rows on the device, its state, and an epoch of it."""

    def __init__(self, name: str) -> None:
        task, (x_n, y_n) = TASKS[name], rows(name)
        if len(task.shape) == 1 and name != "mlp":
            empty = np.zeros((len(y_n), 1), np.int32)
            x_n = Texts(empty, empty.astype(np.float32), x_n, np.full(len(y_n), x_n.shape[1], np.int32))
        self.kind = loop.Kind(net_of(name), "binary" if task.classes == 2 else "multiclass", log1p=False)
        every = np.arange(len(y_n))
        self.groups = [batches.Group(every, every[:LOOKED], (0, 0))]
        seen = np.zeros(task.shape, np.float32) if name == "cnn" else None
        self.state = loop.start(self.kind, [seen], self.groups, [WIDTH])
        weights = sum(leaf[0].size for leaf in jax.tree.leaves(self.state.weights))
        cut = batches.plan(len(y_n), task.batch, weights)
        on_device = batches.on_device(x_n, y_n, np.ones(len(y_n), np.float32))
        self.ground = loop.Field(on_device, losses.scale_of(y_n, log1p=False), self.groups, cut)
        self.knobs = Knobs(*(np.array([value], np.float32) for value in SETTINGS))

    def epochs(self, count: int) -> Losses:
        """So many more epochs."""
        until = self.state.epoch + count
        pace = loop.Pace(1_000_000, 1_000_000)
        self.state = loop.train(self.kind, self.knobs, self.ground, pace, self.state, until=until)
        jax.block_until_ready(self.state.best)
        return lambda: [float(self.state.best_loss[0, 0])]


WAYS = ways(Training)
