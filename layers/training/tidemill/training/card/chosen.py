"""How the model was chosen: the trials as facts, and the parts of the model as bars."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tidemill.training.card import bars
from tidemill.training.card.text import number, percent, short, visible

Facts = dict[str, Any]
SHOWN = 20  # trials in the table before the rest is folded away
RUNGS = 5  # columns of losses in the table
POINTS = 80  # of a curve; longer ones are thinned
STATES = {"blended": "in the model", "kept": "finished", "stopped": "stopped", "diverged": "diverged"}
ORDER = {"blended": 0, "kept": 1, "stopped": 2, "diverged": 3}


def chosen(search: Facts | None) -> Facts | None:
    """The search as the card tells it: trials from best to worst, with the settings in which they differ."""
    if not search or not search.get("trials"):
        return None
    trials = sorted(search["trials"], key=_rank)
    common, different = _settings(trials)
    states = [str(trial.get("state", "")) for trial in trials]
    return {
        "winner": search.get("winner"),
        "score": search.get("score") or "validation loss",
        "folds": search.get("folds"),
        "compilations": search.get("compilations"),
        "count": len(trials),
        "states": {name: states.count(name) for name in sorted(set(states), key=lambda name: ORDER.get(name, 9))},
        "common": common,
        "different": different,
        "heads": _heads(trials),
        "trials": [_trial(trial, different) for trial in trials],
        "blend": sorted(search.get("blend") or [], key=lambda part: -float(part["share"])),
    }


def _rank(trial: Facts) -> tuple[int, float, int, float]:
    """Those in the model first, by share; then by the loss; those that were stopped by how far they came."""
    rungs = trial.get("rungs") or []
    loss, last = _float(trial.get("loss")), _float(rungs[-1].get("loss")) if rungs else math.inf
    share = _float(trial.get("share"))
    place = 0 if trial.get("state") == "blended" else 1 if math.isfinite(loss) else 2
    if place == 0:
        return place, -share if math.isfinite(share) else 0.0, 0, loss
    return place, loss if place == 1 else 0.0, -len(rungs), last if math.isfinite(last) else math.inf


def _settings(trials: Sequence[Facts]) -> tuple[Facts, list[str]]:
    """Settings that are equal in all trials that have them, and the names of those that are not."""
    values: dict[str, dict[str, Any]] = {}
    for trial in trials:
        for key, value in (trial.get("settings") or {}).items():
            values.setdefault(key, {})[json.dumps(value, sort_keys=True, default=str)] = value
    common = {key: next(iter(found.values())) for key, found in values.items() if len(found) == 1}
    return common, [key for key, found in values.items() if len(found) > 1]


def _heads(trials: Sequence[Facts]) -> list[str]:
    """What stands above the columns of losses: the epochs of a halt where they are the same for all."""
    most = min(RUNGS, max(len(trial.get("rungs") or []) for trial in trials))
    heads = []
    for at in range(most):
        epochs = {rungs[at].get("epochs") for trial in trials if len(rungs := trial.get("rungs") or []) > at}
        heads.append(f"{number(epochs.pop())} epochs" if len(epochs) == 1 else f"halt {at + 1}")
    return heads


def _trial(trial: Facts, different: Sequence[str]) -> Facts:
    settings = trial.get("settings") or {}
    return {
        "id": trial["id"],
        "family": trial.get("family", ""),
        "settings": {key: settings[key] for key in different if key in settings},
        "rungs": trial.get("rungs") or [],
        "loss": trial.get("loss"),
        "state": trial.get("state", ""),
        "share": trial.get("share"),
        "curve": _curve(trial),
    }


def _curve(trial: Facts) -> list[Facts]:
    """Validation losses by epoch, thinned; the halts stand in where no curve was kept."""
    points = [{"epoch": at["epoch"], "loss": at.get("validation_loss")} for at in trial.get("curve") or []]
    if not points:
        points = [{"epoch": at["epochs"], "loss": at.get("loss")} for at in trial.get("rungs") or []]
    if not points and trial.get("loss") is not None:
        points = [{"epoch": 0, "loss": trial["loss"]}]  # fitted in one go
    if len(points) <= POINTS:
        return points
    return [points[round(at * (len(points) - 1) / (POINTS - 1))] for at in range(POINTS)]


def said(settings: Facts) -> str:
    """Settings in a line."""
    return ", ".join(f"{visible(key, 30).replace('_', ' ')} {_value(value)}" for key, value in settings.items())


def _value(value: Any) -> str:
    if isinstance(value, str):
        return visible(value, 30)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return short(value)
    return visible(json.dumps(value, default=str), 40)


def blend(search: Facts | None) -> Markup | None:
    """The parts of the model by their share."""
    if not search or not search["blend"]:
        return None
    families = {trial["id"]: trial["family"] for trial in search["trials"]}
    rows = [(_part(part, families), float(part["share"])) for part in search["blend"]]
    about = (
        f"The model's answer is the mean of {len(rows)} part{'s' if len(rows) > 1 else ''}, weighed by these shares."
    )
    return bars.rows_of_bars("blend", "Parts of the model", about, rows, written=percent)


def _part(part: Facts, families: Mapping[str, str]) -> str:
    name, family = visible(part["id"]), visible(families.get(part["id"], ""))
    return name if not family or family in name else f"{name} ({family})"


def _float(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
