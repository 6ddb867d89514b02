"""What is tried: settings by family, and the record of how each fared.

Axes: c configurations.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidemill.training.augment import Bend
from tidemill.training.config import CLIP_NORM, KEPT, KEPT_FOLDED, TRIED, Config
from tidemill.training.families import Family
from tidemill.training.optimizers import Knobs, rate_scale

DIVERGED, STOPPED, KEPT_ON, BLENDED = "diverged", "stopped", "kept", "blended"


@dataclass
class Trial:
    """One configuration, and what became of it; `json` gives its entry in search.json."""

    id: str
    family: str
    settings: dict[str, float]
    rungs: list[dict[str, float | None]] = field(default_factory=list)
    curve: list[dict[str, float | None]] = field(default_factory=list)
    loss: float | None = None
    state: str = STOPPED
    share: float = 0.0

    def json(self) -> dict[str, Any]:
        """Plain values; infinite losses are None."""
        return {
            **{"id": self.id, "family": self.family, "settings": self.settings, "rungs": self.rungs},
            **{"loss": self.loss, "state": self.state, "share": self.share, "curve": self.curve},
        }

    def passed(self, epochs: int, loss: float) -> None:
        """Note the best loss at the end of a rung."""
        self.rungs.append({"epochs": epochs, "loss": _finite(loss)})

    def ended(self, losses: list[tuple[float, float]], loss: float) -> None:
        """Note the train and held losses of all epochs, and the best one."""
        pairs = [(_finite(seen), _finite(held)) for seen, held in losses]
        self.curve = [{"epoch": at + 1, "train_loss": a, "validation_loss": b} for at, (a, b) in enumerate(pairs)]
        self.loss = _finite(loss)
        self.passed(len(losses), loss)
        if self.loss is None:
            self.state = DIVERGED


def trials_of(family: Family, config: Config, rows: int) -> list[Trial]:
    """The configurations of a family, the defaults first, with what the user fixed; equal ones only once."""
    fixed, faster = dict(config.fixed), rate_scale(config.optimizer, config.momentum)
    wanted = config.configurations or TRIED[family.NAME]
    found: list[dict[str, float]] = []
    for settings in family.trials(config.task, rows):
        kept_to = {name: value for name, value in fixed.items() if name in settings}
        chosen = {**settings, "learning_rate": settings["learning_rate"] * faster, **kept_to}
        if chosen not in found:
            found.append(chosen)
    return [Trial(f"{family.NAME}-{at + 1}", family.NAME, settings) for at, settings in enumerate(found[:wanted])]


def kept_of(family: str, trials: int, folds: int) -> int:
    """How many configurations are trained to the end."""
    return min((KEPT if folds == 1 else KEPT_FOLDED)[family], trials)


def knobs_of(trials: list[Trial], momentum: float) -> Knobs:
    """The settings of a population as arrays [c]."""

    def values(name: str) -> Any:
        return np.array([trial.settings[name] for trial in trials], np.float32)

    every = (np.full(len(trials), value, np.float32) for value in (momentum, CLIP_NORM))
    bend = Bend(*(values(name) for name in Bend._fields)) if "affine" in trials[0].settings else None
    return Knobs(*(values(name) for name in ("learning_rate", "weight_decay", "l1", "dropout")), *every)._replace(
        bend=bend
    )


def winner(made: list[Trial], alone: list[float], together: float, tried: int, rows: int) -> str:
    """Why these parts answer, in a sentence."""
    chosen = [trial for trial in made if trial.share]
    best = made[int(np.argmin(alone))]
    where = f"on {rows:,} rows they had not trained on"
    if len(chosen) == 1 and chosen[0] is not best:
        return (
            f"{chosen[0].id} alone, with a loss of {together:.4g} {where}: {best.id} has the lowest of {tried} "
            f"configurations ({min(alone):.4g}), but on so few rows that is within chance, and the plain model stays."
        )
    if len(chosen) == 1:
        return f"{best.id} alone: of {tried} configurations it has the lowest loss ({min(alone):.4g}) {where}."
    names = ", ".join(f"{trial.id} ({trial.share:.0%})" for trial in sorted(chosen, key=lambda trial: -trial.share))
    return (
        f"An average of {names}: its loss is {together:.4g} {where}, "
        f"{1 - together / min(alone):.1%} below that of the best of {tried} configurations alone, {best.id}."
    )


def _finite(value: float) -> float | None:
    return float(f"{value:.7g}") if np.isfinite(value) else None
