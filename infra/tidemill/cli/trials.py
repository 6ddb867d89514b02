"""What was tried before a version was chosen, for a person: why it won, its parts, the trials and their curves."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.cli.screen import Screen, bar, number

Item = dict[str, Any]
SHOWN = 10
WIDTH = 16  # of a curve, in characters
_BLOCKS = "▁▂▃▄▅▆▇█"
_STATES = {"blended": "in the model", "kept": "finished"}


def show_search(screen: Screen, search: Mapping[str, Any] | None, *, everything: bool = False) -> None:
    """Why a version won, what it is made of, and the trials, the best first; nothing where nothing was kept."""
    if not search or not search.get("trials"):
        return
    if search.get("winner"):
        screen.say(f"Why this model: {search['winner']}")
    parts = sorted(search.get("blend") or [], key=lambda part: -float(part["share"]))
    if len(parts) > 1:
        rows = [(part["id"], f"{part['share']:.0%}", bar(float(part["share"]), 1.0)) for part in parts]
        screen.table(["part", "share", ""], rows, "Its answer is the mean of these parts")
    trials = sorted(search["trials"], key=_rank)
    shown = trials if everything else trials[:SHOWN]
    columns = ["trial", "loss", "by epoch", "became", "share", "settings"]
    screen.table(columns, _rows(shown, trials), _title(search, trials))
    if len(trials) > len(shown):
        screen.say(f"{len(trials) - len(shown)} more: --all shows every trial.", "dim")


def _title(search: Mapping[str, Any], trials: Sequence[Item]) -> str:
    count = f"{len(trials)} trial{'s' if len(trials) > 1 else ''}"
    folds = search.get("folds") or 1
    score = f" by {search['score']}" if search.get("score") else ""
    return f"{count}, best first{score}" + (f" over {folds} parts of the rows" if folds > 1 else "")


def _rank(trial: Item) -> tuple[bool, float, float]:
    """By loss; those without one by where they were stopped."""
    rungs = trial.get("rungs") or []
    loss, last = _float(trial.get("loss")), _float(rungs[-1].get("loss")) if rungs else math.nan
    return not math.isfinite(loss), loss if math.isfinite(loss) else -len(rungs), last if math.isfinite(last) else 1e300


def _rows(shown: Sequence[Item], trials: Sequence[Item]) -> list[tuple[str, ...]]:
    different = _different(trials)
    ends = _ends([trial for trial in shown if _losses(trial)])
    return [
        (
            str(trial["id"]),
            _loss(trial),
            spark(_losses(trial), *ends),
            _STATES.get(trial["state"], str(trial["state"])),
            f"{trial['share']:.0%}" if trial.get("share") else "",
            _settings(trial, different),
        )
        for trial in shown
    ]


def _loss(trial: Item) -> str:
    """The loss it was judged by, or the last one and the epoch it was stopped at."""
    rungs = trial.get("rungs") or []
    if trial.get("loss") is not None or not rungs:
        return number(trial.get("loss"))
    return f"{number(rungs[-1].get('loss'))} at {rungs[-1].get('epochs')}"


def _different(trials: Sequence[Item]) -> list[str]:
    """The settings that are not equal in all trials that have them."""
    values: dict[str, set[str]] = {}
    for trial in trials:
        for key, value in (trial.get("settings") or {}).items():
            values.setdefault(key, set()).add(json.dumps(value, sort_keys=True))
    return [key for key, found in values.items() if len(found) > 1]


def _settings(trial: Item, different: Sequence[str]) -> str:
    given = trial.get("settings") or {}
    return " ".join(f"{key}={number(given[key], 3)}" for key in different if key in given)


def _losses(trial: Item) -> list[float]:
    found = [_float(point.get("validation_loss")) for point in trial.get("curve") or []]
    return [loss for loss in found if math.isfinite(loss)]


def _ends(trials: Sequence[Item]) -> tuple[float, float]:
    """The range of losses that curves are drawn in, the same for all; the first tenth of the epochs may be above it."""
    curves = [_losses(trial) for trial in trials]
    low = min((min(losses) for losses in curves), default=0.0)
    high = max((losses[len(losses) // 10] for losses in curves), default=1.0)
    return low, high


def spark(losses: Sequence[float], low: float, high: float, width: int = WIDTH) -> str:
    """A curve in one line: a block for each of `width` stretches of epochs, low for low losses."""
    if not losses:
        return ""
    count = min(width, len(losses))
    picked = [losses[round(at * (len(losses) - 1) / max(1, count - 1))] for at in range(count)]
    shares = [(min(max(loss, low), high) - low) / (high - low) if high > low else 0.0 for loss in picked]
    return "".join(_BLOCKS[min(len(_BLOCKS) - 1, int(share * len(_BLOCKS)))] for share in shares)


def _float(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
