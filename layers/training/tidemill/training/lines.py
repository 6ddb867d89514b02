"""The search of one family under way: the configurations still in it, their state, and both as a checkpoint keeps them.

Axes: g groups, c configurations.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np

from tidemill.training import nodes
from tidemill.training.checkpoint import Saved, named, restored
from tidemill.training.families import Weights
from tidemill.training.loop import TREES, State
from tidemill.training.solved import Solution
from tidemill.training.trials import Trial


@dataclass
class Line:
    """One family: the configurations still in it, and their state."""

    family: str
    alive: list[int]
    state: State
    rung: int = 0
    halves: bool = False  # whether the first rung, in the first group alone, decides who goes on
    finished: bool = False
    solved: dict[str, Solution] = field(default_factory=dict)  # of a family that is solved, until it is finished

    def saved(self, trials: list[Trial]) -> Saved:
        """Arrays by name, and facts, from which `resumed` makes the line again."""
        arrays: dict[str, Any] = {}
        for tree in ("best",) if self.finished else TREES:
            arrays |= named(nodes.whole(getattr(self.state, tree)), f"{self.family}/{tree}")
        for key, solution in self.solved.items():
            arrays |= named(solution.weights, f"{self.family}/{key}")
        state = self.state
        facts = {
            **{"alive": self.alive, "rung": self.rung, "halves": self.halves, "finished": self.finished},
            **{"epoch": state.epoch, "chunk": state.chunk, "curve": state.curve},
            **{"best_loss": state.best_loss.tolist(), "best_epoch": state.best_epoch.tolist()},
            "solved": {key: solution.loss for key, solution in self.solved.items()},
            "trials": [trial.json() for trial in trials],
        }
        return Saved(arrays, facts)


def resumed(
    name: str, facts: Mapping[str, Any], arrays: Mapping[str, Any], fresh: Callable[[list[int], int], State]
) -> Line:
    """The line that `saved` told of; `fresh` gives the state of configurations in a number of groups to fill in."""
    state = fresh(facts["alive"], len(facts["best_loss"]))
    for tree in ("best",) if facts["finished"] else TREES:
        setattr(state, tree, restored(getattr(state, tree), f"{name}/{tree}", arrays))
    state.epoch, state.chunk = facts["epoch"], facts["chunk"]
    state.curve = [(seen, held) for seen, held in facts["curve"]]
    state.best_loss, state.best_epoch = np.array(facts["best_loss"]), np.array(facts["best_epoch"])
    return Line(name, facts["alive"], state, facts["rung"], facts["halves"], facts["finished"])


def resumed_solutions(
    name: str, facts: Mapping[str, Any], arrays: Mapping[str, Any], like: Weights
) -> dict[str, Solution]:
    """The solutions of a family under way; `like` has their shapes."""
    return {key: Solution(restored(like, f"{name}/{key}", arrays), loss) for key, loss in facts["solved"].items()}


def narrowed(state: State, stay: list[int]) -> State:
    """The state with some of its configurations only."""
    at = np.array(stay)
    trees = {tree: jax.tree.map(lambda leaf: leaf[:, at], getattr(state, tree)) for tree in TREES}
    curve = [tuple(np.array(losses)[:, at].tolist() for losses in pair) for pair in state.curve]
    facts = {"best_loss": state.best_loss[:, at], "best_epoch": state.best_epoch[:, at]}
    return State(**trees, **facts, epoch=state.epoch, chunk=state.chunk, curve=curve)
