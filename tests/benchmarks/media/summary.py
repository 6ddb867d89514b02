"""The arithmetic of the comparison: mean accuracies with standard errors, and what is held to what.

A row of results has a set, a seed, a model and an accuracy; only seeds that all the models compared have are counted.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

Row = dict[str, Any]


class Mean(NamedTuple):
    """A mean over seeds; its standard error is no number where there is one seed."""

    value: float
    error: float
    seeds: int

    def __str__(self) -> str:
        return f"{self.value:.4f}" + (f" ± {self.error:.4f}" if math.isfinite(self.error) else "")


def by_seed(rows: Iterable[Row], name: str, model: str, key: str = "accuracy") -> dict[int, float]:
    """What a model reached on a set, by seed; the newest result counts."""
    return {row["seed"]: row[key] for row in rows if row["set"] == name and row["model"] == model and key in row}


def mean(values: Iterable[float]) -> Mean | None:
    """The mean of values and its standard error; None where there are none."""
    found = list(values)
    if not found:
        return None
    spread = statistics.stdev(found) / math.sqrt(len(found)) if len(found) > 1 else math.inf
    return Mean(statistics.fmean(found), spread, len(found))


def common(rows: Iterable[Row], name: str, models: Iterable[str]) -> set[int]:
    """The seeds that every one of these models has results for."""
    rows = list(rows)
    seeds = [set(by_seed(rows, name, model)) for model in models]
    return set.intersection(*seeds) if seeds else set()


def within_error(rows: Iterable[Row], name: str, ours: str, theirs: str) -> str:
    """Whether ours is at least theirs less one standard error of theirs, on the seeds that both have."""
    rows = list(rows)
    seeds = common(rows, name, (ours, theirs))
    pair = [mean(found[seed] for seed in seeds) for found in (by_seed(rows, name, model) for model in (ours, theirs))]
    mine, other = pair
    if mine is None or other is None:
        return "-"
    if not math.isfinite(other.error):
        return "one seed"
    return "yes" if mine.value >= other.value - other.error else "NO"


def beats(rows: Iterable[Row], name: str, ours: str, others: Iterable[str]) -> str:
    """Whether ours has the highest mean, on the seeds that all have."""
    rows, others = list(rows), list(others)
    seeds = common(rows, name, (ours, *others))
    if not seeds:
        return "-"
    means = {model: statistics.fmean(by_seed(rows, name, model)[seed] for seed in seeds) for model in (ours, *others)}
    return "yes" if all(means[ours] > means[model] for model in others) else "NO"


def reaches(rows: Iterable[Row], name: str, model: str, target: float) -> str:
    """Whether a model's mean accuracy is at least a target, in words; empty without results."""
    found = mean(by_seed(rows, name, model).values())
    if found is None:
        return ""
    return f"{name}, {model}: at least {target}; {'met' if found.value >= target else 'MISSED'} with {found}."


def newest(rows: Iterable[Row], sets: Iterable[str], seeds: Iterable[int]) -> list[Row]:
    """The newest result of every cell asked for; of Tidemill only those of the code that ran last."""
    sets, seeds = set(sets), set(seeds)
    asked = [row for row in rows if row["set"] in sets and row["seed"] in seeds and "accuracy" in row]
    found = {(row["set"], row["seed"], row["model"]): row for row in asked}
    last = max((row for row in found.values() if "code" in row), key=lambda row: str(row["when"]), default={"code": ""})
    return [row for row in found.values() if row.get("code", last["code"]) == last["code"]]


def table(rows: Sequence[Row], sets: Iterable[str], models: Sequence[str]) -> list[list[str]]:
    """A line for each set: rows learned from, mean accuracies, the best in bold, and mean CPU seconds of the fits."""
    lines = []
    for name in sets:
        facts = next((row for row in rows if row["set"] == name), None)
        if facts is None:
            continue
        means = [mean(by_seed(rows, name, model).values()) for model in models]
        best = max(found.value for found in means if found)
        shown = ["-" if not found else f"**{found}**" if found.value == best else str(found) for found in means]
        spent = [mean(by_seed(rows, name, model, "fit_cpu_s").values()) for model in models]
        seconds = " / ".join(f"{found.value:.0f}" if found else "-" for found in spent)
        seeds = max(found.seeds for found in means if found)
        lines.append([name, f"{facts['fitted']:,}", str(facts["classes"]), str(seeds), *shown, seconds])
    return lines
