"""Small learnable problems, and populations of a few members that train on them in milliseconds.

Sizes are the same everywhere: what is compiled for one test serves the others.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np

from tidemill.core.spec import Search as SearchSection
from tidemill.core.spec import Spec, Train
from tidemill.training import batches, config, losses
from tidemill.training.config import Config
from tidemill.training.evaluate import Model
from tidemill.training.families import family
from tidemill.training.loop import Field, Kind, Pace, State, start, train
from tidemill.training.optimizers import Knobs
from tidemill.training.search import Found, Pool, Search

LABELS = {"binary": ["a", "b"], "multiclass": ["a", "b", "c"], "regression": []}
TASKS = list(LABELS)
WIDTH, MEMBERS, BATCH = 8, 2, 32
QUICK = Train(epochs=4, patience=4, members=MEMBERS, width=WIDTH, batch_size=BATCH)
SHORT = Pace(6, 6)
SETTINGS = {"learning_rate": 1e-2, "weight_decay": 0.0, "l1": 0.0, "dropout": 0.0, "width": WIDTH}


@dataclass(frozen=True, eq=False)
class Problem:
    """A generated table with the configuration of a short search."""

    x_nf: Any
    y_n: Any
    config: Config

    def changed(self, **fields: Any) -> Problem:
        """The same with other settings."""
        return dataclasses.replace(self, config=dataclasses.replace(self.config, **fields))

    def resolved(self, spec: Spec) -> Problem:
        """The same with the configuration that a specification gives."""
        schema = {"task": self.config.task, "labels": LABELS[self.config.task]}
        sizes = {"rows": len(self.y_n), "features": self.x_nf.shape[1]}
        return dataclasses.replace(self, config=config.resolve(spec, schema, **sizes))

    @property
    def pool(self) -> Pool:
        """The first two thirds train and the rest is held out; or every `folds`-th row by turns."""
        every, folds = np.arange(len(self.y_n)), self.config.folds
        cut = len(every) * 2 // 3
        turns = [(every[every % folds != turn], every[every % folds == turn]) for turn in range(folds)]
        return Pool(self.x_nf, self.y_n, turns if folds > 1 else [(every[:cut], every[cut:])])

    def search(self, **more: Any) -> Search:
        """A search that has not begun."""
        return Search(self.config, self.pool, **more)

    def found(self, **more: Any) -> Found:
        """What the search finds."""
        return self.search(**more).run()

    def model(self, found: Found | None = None) -> Model:
        """The model of what was found, not calibrated."""
        found = found or self.found()
        return Model(found.parts, found.scale, float(self.y_n.std()) if self.config.task == "regression" else 1.0)


def problem(task: str, rows: int = 350, features: int = 5, seed: int = 0) -> Problem:
    """A table in which most of the target follows from bent and crossed features."""
    rng = np.random.default_rng(seed)
    x_nf = rng.normal(size=(rows, features)).astype(np.float32)
    signal_n = 2 * x_nf[:, 0] * x_nf[:, 1] + np.abs(x_nf[:, 2]) + 0.3 * rng.normal(size=rows)
    classes = len(LABELS[task])
    cuts = np.quantile(signal_n, np.arange(1, classes) / max(1, classes))
    y_n = np.digitize(signal_n, cuts) if classes else 100 + 10 * signal_n
    sizes = {"rows": rows, "features": features}
    spec = Spec(train=QUICK, search=SearchSection(configurations=3, folds=1))
    return Problem(x_nf, y_n, config.resolve(spec, {"task": task, "labels": LABELS[task]}, **sizes))


@dataclass(frozen=True, eq=False)
class Population:
    """Members side by side, as the search makes them, with settings that the test chooses."""

    case: Problem
    settings: tuple[dict[str, float], ...]
    family: str = "mlp"
    copies: int = 1  # groups that differ by their seed
    pace: Pace = SHORT
    seed: int = 0
    chunks: int = 1
    batch: int = BATCH
    optimizer: str = "adamw"
    schedule: str = "constant"
    momentum: float = 0.9
    clip_norm: float = 1.0

    def changed(self, **fields: Any) -> Population:
        """The same with other fields."""
        return dataclasses.replace(self, **fields)

    @cached_property
    def seen(self) -> Any:
        """What the family found in the training rows."""
        return family(self.family).look(self.case.x_nf, None, self.case.config.outputs)

    @cached_property
    def kind(self) -> Kind:
        """The program's static settings."""
        settings = self.case.config
        width = max(int(some["width"]) for some in self.settings)
        net = family(self.family).net(settings.features, settings.outputs, self.seen, MEMBERS, width)
        return Kind(net, settings.task, settings.log1p, settings.loss, self.optimizer, self.schedule)

    @cached_property
    def ground(self) -> Field:
        """The rows on the device, cut into epochs."""
        pool = self.case.pool
        made = [batches.Group(*pool.folds[0], (self.seed, 0, turn)) for turn in range(self.copies)]
        scale = losses.scale_of(pool.y_n, log1p=self.case.config.log1p)
        rows = batches.on_device(pool.x_n, pool.y_n, np.ones(len(pool.y_n), np.float32))
        steps = -(-len(pool.folds[0][0]) // (self.batch * self.chunks))
        return Field(rows, scale, made, batches.Plan(self.batch, steps, self.chunks))

    @property
    def knobs(self) -> Knobs:
        """The settings as arrays."""
        named = ("learning_rate", "weight_decay", "l1", "dropout")
        values = [[some[name] for some in self.settings] for name in named]
        values += [[self.momentum] * len(self.settings), [self.clip_norm] * len(self.settings)]
        return Knobs(*(np.array(value, np.float32) for value in values))

    def start(self) -> State:
        """Fresh members."""
        return start(
            self.kind, [self.seen] * self.copies, self.ground.groups, [int(some["width"]) for some in self.settings]
        )

    def train(self, state: State | None = None, knobs: Knobs | None = None, **more: Any) -> State:
        """Train to the end."""
        return train(self.kind, knobs or self.knobs, self.ground, self.pace, state or self.start(), **more)


def members(case: Problem, *changes: dict[str, float], **more: Any) -> Population:
    """A population of three members that differ from the usual settings by these."""
    return Population(
        case, tuple({**SETTINGS, **change} for change in (*changes, {}, {}, {})[: max(3, len(changes))]), **more
    )


def member(tree: Any, group: int, place: int) -> Any:
    """The leaves of one member."""
    return jax.tree.map(lambda leaf: np.asarray(leaf[group, place]), tree)


def same(left: Any, right: Any) -> bool:
    """Whether two trees are equal to the last bit."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.asarray(a).tobytes() == np.asarray(b).tobytes() for a, b in pairs)


def near(left: Any, right: Any, most: float = 1e-5) -> bool:
    """Whether two trees agree within a distance, absolute or relative."""
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return all(np.allclose(a, b, rtol=most, atol=most) for a, b in pairs)
