"""Families that are solved instead of trained by steps: every configuration is a problem with one best answer.

All configurations are solved on the rows of the first group, the better ones on those of the others, too: that tells
how good they are on rows held out. What answers in the end is solved once more, on all rows: one best answer for all
the data instead of an average over parts of it. Solutions stand under the names of their configuration and group, so
that an interrupted search goes on behind the last of them.

Axes: g groups, c configurations, n rows, k outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray

from tidemill.training import blend, frozen, inputs
from tidemill.training.batches import Group
from tidemill.training.config import Config
from tidemill.training.evaluate import in_blocks
from tidemill.training.families import Weights
from tidemill.training.inputs import Inputs
from tidemill.training.loop import Kind, State
from tidemill.training.losses import Scale
from tidemill.training.trials import Trial

Array = NDArray[Any]


class Solution(NamedTuple):
    """The weights of one configuration in one group, and what is watched of them on the group's held rows, if any."""

    weights: Weights
    loss: float


@dataclass(frozen=True, eq=False)
class Solver:
    """The rows that a family's configurations are solved on, and how."""

    kind: Kind
    solve: Callable[..., Weights]  # of the family
    config: Config
    x_n: Inputs
    y_n: Array
    weight_n: Array
    scale: Scale
    groups: list[Group]

    def run(
        self,
        trials: list[Trial],
        keep: int,
        done: dict[str, Solution],
        before: Callable[[Trial], None],
        after: Callable[[Trial, Group], None],
    ) -> tuple[list[int], State]:
        """Solve all configurations in the first group, the best few in all and on all rows; who they are, their state.

        The best weights [g + 1, c, ...] are of the groups, then of all rows. What stands in `done` is not solved
        again, and what is solved is put there. `before` may raise to stop.
        """
        groups = [*self.groups, _everything(len(self.y_n), self.groups[0])]

        def one(at: int, turn: int) -> Solution:
            key = f"{trials[at].id}@{turn}"
            if key not in done:
                before(trials[at])
                done[key] = self._solution(trials[at], groups[turn])
                after(trials[at], groups[turn])
            return done[key]

        first = [one(at, 0).loss for at in range(len(trials))]
        alive = sorted(int(at) for at in np.argsort(first, kind="stable")[:keep])
        found = [[one(at, turn) for at in alive] for turn in range(len(groups))]
        state = _state(found)
        for at, loss in enumerate(first):
            trials[at].ended([], float(state.best_loss[:, alive.index(at)].mean()) if at in alive else loss)
        return alive, state

    def _solution(self, trial: Trial, group: Group) -> Solution:
        config = self.config
        settings = {**trial.settings, "slots": config.features[0]}
        rows = frozen.read(self.kind.net, inputs.taken(self.x_n, group.train))
        target_nk = self._targets(group.train)
        weights = self.solve(rows, target_nk, self.weight_n[group.train], settings, config.task != "regression")
        if not len(group.held):
            return Solution(weights, float("inf"))
        member = jax.tree.map(lambda leaf: leaf[None], weights)
        answer_nk = in_blocks(self.kind, member, self.scale, inputs.taken(self.x_n, group.held))
        held = self.y_n[group.held], answer_nk, config.loss, self.weight_n[group.held]
        return Solution(weights, blend.loss_of(config.task, *held))

    def _targets(self, at_n: Array) -> Array:
        """Classes as one-hot [n, k], or standardised values [n, 1]."""
        y_n = self.y_n[at_n]
        if self.config.task != "regression":
            one_hot_nk: Array = np.eye(self.config.outputs)[y_n]
            return one_hot_nk
        learned_n = np.log1p(y_n) if self.config.log1p else y_n
        return ((learned_n - float(self.scale.mean)) / float(self.scale.std))[:, None]


def blank(kind: Kind, configurations: int, groups: int) -> State:
    """A state whose best weights, of the groups and of all rows, take no memory: shapes to fill in."""
    one = kind.net.init(np.random.default_rng(0), 0, None)
    best = jax.tree.map(lambda leaf: np.broadcast_to(leaf, (groups + 1, configurations, *leaf.shape)), one)
    return _solved(best, np.full((groups, configurations), np.inf))


def unsolved(configurations: int) -> State:
    """The state of configurations that nothing is known of."""
    return State({}, {}, {}, {}, np.full((1, configurations), np.inf), np.zeros((1, configurations), np.int64))


def _everything(rows: int, like: Group) -> Group:
    """All rows and none held out."""
    return Group(np.arange(rows), np.arange(0), like.seed)


def _state(found: list[list[Solution]]) -> State:
    rows = [jax.tree.map(lambda *leaves: np.stack(leaves), *[one.weights for one in row]) for row in found]
    best = jax.tree.map(lambda *leaves: np.stack(leaves), *rows)
    return _solved(best, np.array([[one.loss for one in row] for row in found[:-1]]))


def _solved(best: Weights, loss_gc: Array) -> State:
    return State({}, {}, {}, best, loss_gc, np.ones(loss_gc.shape, np.int64), epoch=1)
