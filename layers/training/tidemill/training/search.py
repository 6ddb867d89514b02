"""The search: families one after the other, a population of each at once, the worse given up early, the best blended.

Successive halving (Jamieson and Talwalkar, arXiv 1502.07943) with two rungs: after a few epochs the better few of a
family's configurations go on to the end. Two shapes of population, two compilations. Which of the trained ones
answer together, and with what shares, is decided on rows that they have not trained on.

Axes: g groups, c configurations, n rows, k outputs, m members of a part.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from tidemill.core.errors import TidemillError
from tidemill.core.progress import Progress, Report, silent
from tidemill.training import batches, blend, frozen, inputs, losses, nodes
from tidemill.training.batches import Group, Rows
from tidemill.training.checkpoint import Interrupted, Keeper, Saved
from tidemill.training.config import Config
from tidemill.training.evaluate import Part, in_blocks
from tidemill.training.families import family
from tidemill.training.inputs import Inputs
from tidemill.training.lines import Line, narrowed, resumed, resumed_solutions
from tidemill.training.loop import Field, Kind, Pace, State, start, train
from tidemill.training.losses import Scale
from tidemill.training.solved import Solver, blank, unsolved
from tidemill.training.trials import BLENDED, KEPT_ON, Trial, kept_of, knobs_of, trials_of, winner

Array = NDArray[Any]
PLAIN = ("backbone", "linear")  # the first that is tried is the one to beat: what the user gave, else the plain one
COPIES = 4  # small nets from different seeds, where no folds make several of each configuration


@dataclass(frozen=True, eq=False)
class Pool:
    """The rows a search may use, and how they are divided: lists of (train, held) row numbers."""

    x_n: Inputs
    y_n: Array
    folds: list[tuple[Array, Array]]

    @property
    def held_n(self) -> Array:
        """The rows that some fold holds out, in order."""
        return np.unique(np.concatenate([held for _, held in self.folds]))


@dataclass(frozen=True, eq=False)
class Found:
    """What a search ends with."""

    parts: tuple[Part, ...]
    scale: Scale
    held_n: Array  # the pool's rows that answers were held out for
    answer_nk: Array  # of the blend, on those rows, by members that have not trained on them
    record: dict[str, Any]  # search.json


@dataclass
class Search:
    """A search under way: all that is needed to go on with it, and to tell of it."""

    config: Config
    pool: Pool
    keeper: Keeper | None = None
    report: Report = silent
    stop: Callable[[], bool] = lambda: False
    backbone: Any = None  # what the family of that name has loaded
    trials: dict[str, list[Trial]] = field(default_factory=dict)
    lines: dict[str, Line] = field(default_factory=dict)
    chunks: int = 0  # trained so far; numbers the checkpoints
    kept_at: int = 0  # the chunks that the last checkpoint holds
    epochs: int = 0  # of all families, for the progress
    programs: set[tuple[Any, ...]] = field(default_factory=set)  # family and shapes that were compiled for
    share: int = 0  # percent of the way that was told last: early ends leap ahead, folds begin anew, none goes back
    looks: dict[str, list[Any]] = field(default_factory=dict)  # what families found in the training rows

    def run(self) -> Found:
        """Train all families, blend; raises Interrupted once `stop` is true, and DIVERGED where nothing learned."""
        self.scale = losses.scale_of(self.pool.y_n, log1p=self.config.log1p)
        self.weight_n = self._row_weights()
        self._resume()
        for name in self.config.families:
            self._search(name)
        if self.chunks > self.kept_at:
            self.save()  # what follows has no checkpoints: an interruption there must not cost the search
        return self._blended()

    # --- one family -------------------------------------------------------------------------------------------------

    def _search(self, name: str) -> None:
        """Rungs of one family, from wherever it stands."""
        line = self.lines.get(name) or self._begin(name)
        if line.finished:
            return
        if self._is_solved(name):
            self._solve(line)
            return
        config, keep = self.config, self._kept(name)
        if line.rung == 0 and line.halves:
            self._train(line, config.rung_epochs)
            self._halve(line, keep)
        self._train(line, config.epochs)
        self._note(line, list(range(len(line.alive))))
        line.finished = True

    def _solve(self, line: Line) -> None:
        """All configurations of a family that is solved, from wherever it stands; see `solved`."""
        name, trials, pool = line.family, self.trials[line.family], self.pool
        solve: Any = getattr(family(name, self.config.modality), "solve")  # noqa: B009 - only some families have it
        groups, keep = self._groups(name), self._kept(name)
        self._compute(name)
        total = len(trials) + keep * len(groups)

        def before(trial: Trial) -> None:
            if nodes.any_of(self.stop()):
                raise Interrupted(self.save(), trial.id)

        def after(trial: Trial, group: Group) -> None:
            self.chunks += 1
            said = f"{name}: {trial.id} solved on {len(group.train):,} rows"
            best = min(solution.loss for solution in line.solved.values())
            self.report(self._told(name, len(line.solved) / total, said, best))
            if self._is_due():
                self.save()

        solver = Solver(self._kind(name), solve, self.config, pool.x_n, pool.y_n, self.weight_n, self.scale, groups)
        line.alive, line.state = solver.run(trials, keep, line.solved, before, after)
        line.rung, line.finished, line.solved = 1, True, {}

    def _compute(self, name: str) -> None:
        """Features of all rows, where the family has a frozen net: the part that takes long, so told of and stopped."""
        net, rows = self._kind(name).net, inputs.count(self.pool.x_n)
        for done in frozen.fill(net, self.pool.x_n):
            if nodes.any_of(self.stop()):
                raise Interrupted(self.save(), f"row {done:,} of {name}")
            self.report(Progress("training", self.share, 100, f"{name}: features of {done:,} of {rows:,} rows"))

    def _is_solved(self, name: str) -> bool:
        return hasattr(family(name, self.config.modality), "solve")

    def _begin(self, name: str) -> Line:
        made = family(name, self.config.modality)
        trials = self.trials[name] = trials_of(made, self.config, len(self.pool.y_n))
        if self._is_solved(name):
            line = self.lines[name] = Line(name, list(range(len(trials))), unsolved(len(trials)))
            return line
        halves = len(trials) > self._kept(name) and self.config.rung_epochs < self.config.epochs
        alive = list(range(len(trials)))
        line = Line(name, alive, self._fresh(name, alive, 1 if halves else None), 0, halves)
        self.lines[name] = line
        return line

    def _kept(self, name: str) -> int:
        if self._is_solved(name) and len(self.pool.held_n) < blend.DOUBTED_ROWS:
            return len(self.trials[name])  # the first of several folds cannot tell; solving on few rows costs nothing
        return kept_of(name, len(self.trials[name]), len(self.pool.folds))

    def _fresh(self, name: str, alive: list[int], groups: int | None) -> State:
        widths = [int(self.trials[name][at].settings["width"]) for at in alive]
        fresh = self._groups(name)[:groups]
        return start(self._kind(name), self._seen(name)[: len(fresh)], fresh, widths)

    def _train(self, line: Line, until: int) -> None:
        """Train the line's population until an epoch, saving now and then."""
        kind, groups = self._kind(line.family), self._groups(line.family)[: line.state.best_loss.shape[0]]
        trials = [self.trials[line.family][at] for at in line.alive]
        one = jax.tree.map(lambda leaf: leaf[0, 0], line.state.weights)
        size = (
            sum(leaf.size for leaf in jax.tree.leaves(one))
            * len(trials)
            * len(groups)
            * getattr(kind.net, "members", 1)
        )
        cut = batches.plan(max(len(group.train) for group in groups), self.config.batch_size, size)
        self.programs.add((line.family, cut.batch, cut.steps, cut.chunks, len(groups), len(trials)))
        pace = Pace(self.config.epochs, self.config.patience, self.config.warmup)

        def before(state: State) -> None:
            if nodes.any_of(self.stop()):
                raise Interrupted(self.save(), f"epoch {state.epoch + 1} of {line.family}")
            self.chunks += 1

        def after(state: State) -> None:
            self.epochs += 1
            self.report(self._progress(line, until))
            if self._is_due():
                self.save()

        ground = Field(self.rows, self.scale, groups, cut)
        knobs_c = knobs_of(trials, self.config.momentum)
        train(kind, knobs_c, ground, pace, line.state, until=until, before_chunk=before, after_epoch=after)

    def _halve(self, line: Line, keep: int) -> None:
        """Give up all but the best few. With several groups the rest starts again, in all of them."""
        loss_c = line.state.best_loss.mean(0)
        order = np.argsort(loss_c, kind="stable")
        self._note(line, [int(at) for at in order[keep:]])
        stay = sorted(int(at) for at in order[:keep])
        for at in stay:
            self.trials[line.family][line.alive[at]].passed(line.state.epoch, float(loss_c[at]))
        line.alive, line.rung = [line.alive[at] for at in stay], 1
        alone = len(self._groups(line.family)) == 1
        line.state = narrowed(line.state, stay) if alone else self._fresh(line.family, line.alive, None)

    def _note(self, line: Line, places: list[int]) -> None:
        """Write what became of configurations into their trials."""
        for place in places:
            losses = [(float(np.mean(s, 0)[place]), float(np.mean(h, 0)[place])) for s, h in line.state.curve]
            best = float(line.state.best_loss.mean(0)[place])
            self.trials[line.family][line.alive[place]].ended(losses, best)

    # --- what a family trains on ------------------------------------------------------------------------------------

    def _seen(self, name: str) -> list[Any]:
        """What the family finds in the training rows of every group, whose held rows it does not see."""
        if hasattr(family(name, self.config.modality), "frozen"):
            return [self.backbone] * len(self._groups(name))
        if name not in self.looks:
            pool, outputs, look = self.pool, self.config.outputs, family(name, self.config.modality).look
            like = look(pool.x_n, None, outputs)
            by_fold = [look(inputs.taken(pool.x_n, rows), pool.y_n[rows], outputs, like) for rows, _ in pool.folds]
            copies = len(self._groups(name)) // len(pool.folds)
            self.looks[name] = [seen for seen in by_fold for _ in range(copies)]
        return self.looks[name]

    def _kind(self, name: str) -> Kind:
        config, width = self.config, dict(self.config.fixed).get("width")
        net = family(name, self.config.modality).net(
            config.features, config.outputs, self._seen(name)[0], config.members, int(width) if width else None
        )
        return Kind(net, config.task, config.log1p, config.loss, config.optimizer, config.schedule)

    def _groups(self, name: str) -> list[Group]:
        """A group for every fold; without folds several seeds of a net that is no ensemble by itself."""
        at, folds = list(self.config.families).index(name), self.pool.folds
        copies = 1 if len(folds) > 1 or name != "mlp" else self.config.members or COPIES
        return [
            Group(held_out[0], held_out[1], (self.config.seed, at, turn))
            for turn, held_out in enumerate(held_out for held_out in folds for _ in range(copies))
        ]

    @cached_property
    def rows(self) -> Rows:
        """All rows on the device, for what is trained by steps."""
        return batches.on_device(self.pool.x_n, self.pool.y_n, self.weight_n)

    def _row_weights(self) -> Array:
        if self.config.task == "regression":
            return np.ones(len(self.pool.y_n), np.float32)
        weights_k = losses.class_weights(self.config.class_weights, self.pool.y_n, self.config.outputs)
        chosen: Array = weights_k[self.pool.y_n]
        return chosen

    # --- what answers -----------------------------------------------------------------------------------------------

    def _blended(self) -> Found:
        """Choose the parts and their shares on held-out rows."""
        made = [
            (self.trials[name][at], place) for name, line in self.lines.items() for place, at in enumerate(line.alive)
        ]
        made = [(trial, place) for trial, place in made if trial.loss is not None]
        if not made:
            raise TidemillError(
                "Training diverged: no configuration gave a finite validation loss.",
                remedy="Lower [train] learning_rate, or look for enormous values in the numeric columns.",
                code="DIVERGED",
            )
        y_n, held = self.pool.y_n[self.pool.held_n], (self.config.loss, self.weight_n[self.pool.held_n])
        self.report(Progress("blending", message=f"{len(made)} configurations, {len(y_n):,} rows held out"))
        answers = [self._held_answers(trial.family, place) for trial, place in made]
        alone = [blend.loss_of(self.config.task, y_n, answer_nk, *held) for answer_nk in answers]
        plain = self._plain([trial for trial, _ in made])
        shares = blend.shares_of(self.config.task, y_n, answers, *held, plain) if self.config.blend else _only(alone)
        parts = []
        for (trial, place), share in zip(made, shares, strict=True):
            trial.state, trial.share = (BLENDED if share else KEPT_ON), float(f"{share:.6g}")
            if share:
                who = slice(-1, None) if self._is_solved(trial.family) else slice(None)  # see `solved`: of all rows
                best = self.lines[trial.family].state.best
                weights = jax.tree.map(lambda leaf, who=who, place=place: leaf[who, place], best)
                parts.append(Part(trial.id, self._kind(trial.family), weights, share))
        answer_nk = np.tensordot(np.array(shares), np.stack(answers), 1)
        together = blend.loss_of(self.config.task, y_n, answer_nk, *held)
        record = self._record([trial for trial, _ in made], alone, together)
        return Found(tuple(parts), self.scale, self.pool.held_n, answer_nk, record)

    def _plain(self, made: list[Trial]) -> list[int]:
        """The places of what others must beat: of a family that is solved, its default alone."""
        first = next((name for name in PLAIN if name in self.config.families), "")
        places = [place for place, trial in enumerate(made) if trial.family == first]
        default = [place for place in places if self._is_solved(first) and made[place] is self.trials[first][0]]
        return default or places

    def _held_answers(self, name: str, place: int) -> Array:
        """Answers [n, k] of one configuration on the held rows, each by the members that held it out."""
        state, held_n = self.lines[name].state, self.pool.held_n
        total_nk = np.zeros((len(held_n), self.config.outputs))
        count_n = np.zeros(len(held_n))
        for turn, group in enumerate(self._groups(name)):
            member = jax.tree.map(lambda leaf, turn=turn: leaf[turn : turn + 1, place], state.best)
            at_n = np.searchsorted(held_n, group.held)
            total_nk[at_n] += in_blocks(self._kind(name), member, self.scale, inputs.taken(self.pool.x_n, group.held))
            count_n[at_n] += 1
        return total_nk / count_n[:, None]

    def _record(self, made: list[Trial], alone: list[float], together: float) -> dict[str, Any]:
        """search.json."""
        trials = [trial for name in self.lines for trial in self.trials[name]]
        return {
            "format": 1,
            "score": f"validation {losses.watched(self.config.task, self.config.loss)}",
            "winner": winner(made, alone, together, len(trials), len(self.pool.held_n)),
            "folds": len(self.pool.folds),
            "loss": float(f"{together:.7g}"),
            "trials": [trial.json() for trial in trials],
            "blend": [{"id": trial.id, "share": trial.share} for trial in made if trial.share],
            "compilations": len(self.programs),
        }

    def _progress(self, line: Line, until: int) -> Progress:
        state = line.state
        said = f"{line.family}: {len(line.alive)} configurations, epoch {state.epoch} of at most {until}"
        return self._told(line.family, state.epoch / self.config.epochs, said, float(state.best_loss.mean(0).min()))

    def _told(self, name: str, done: float, said: str, best: float) -> Progress:
        """How far the search is when this share of a family's is done, and the best loss of the family."""
        place = self.config.families.index(name) + done
        self.share = max(self.share, round(100 * place / len(self.config.families)))
        watched = losses.watched(self.config.task, self.config.loss)
        return Progress("training", self.share, 100, f"{said}, best validation {watched} {best:.4g}")

    # --- interruptions ----------------------------------------------------------------------------------------------

    def save(self) -> Any:
        """Write a checkpoint; where, or None without a keeper."""
        if self.keeper is None:
            return None
        self.kept_at = self.chunks
        saved = {name: line.saved(self.trials[name]) for name, line in self.lines.items()}
        arrays = {key: array for line in saved.values() for key, array in line.arrays.items()}
        lines = {name: line.facts for name, line in saved.items()}
        facts = {"chunks": self.chunks, "epochs": self.epochs, "programs": sorted(self.programs), "lines": lines}
        return self.keeper.save(self.chunks, Saved(arrays, facts))

    def _is_due(self) -> bool:
        """Whether a checkpoint is to be written; every node writes when the first one's clock says so."""
        return bool(self.keeper and nodes.first(int(self.keeper.due())))

    def _resume(self) -> None:
        """Go on from the newest checkpoint of this very search, if there is one."""
        saved = self.keeper.newest() if self.keeper else None
        at = saved.facts["chunks"] if saved else 0
        if nodes.first(at) != at:
            raise TidemillError("The nodes of this job found different checkpoints.", code="NODES_DIFFER")
        if saved is None:
            return
        self.chunks = self.kept_at = saved.facts["chunks"]
        self.epochs = saved.facts["epochs"]
        self.programs = {tuple(program) for program in saved.facts["programs"]}
        for name, facts in saved.facts["lines"].items():
            self.trials[name] = [Trial(**told) for told in facts["trials"]]
            self.lines[name] = self._resumed(name, facts, saved.arrays)

    def _resumed(self, name: str, facts: Any, arrays: Any) -> Line:
        if not self._is_solved(name):
            return resumed(name, facts, arrays, lambda alive, groups: self._fresh(name, alive, groups))
        kind = self._kind(name)

        def fresh(alive: list[int], groups: int) -> State:
            return blank(kind, len(alive), groups) if facts["finished"] else unsolved(len(alive))

        line = resumed(name, facts, arrays, fresh)
        line.solved = resumed_solutions(name, facts, arrays, kind.net.init(np.random.default_rng(0), 0, None))
        return line


def _only(alone: list[float]) -> list[float]:
    return [float(place == int(np.argmin(alone))) for place in range(len(alone))]
