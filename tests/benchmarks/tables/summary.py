"""What the cells add up to. Every comparison is made on the same sets and the same seeds.

A set's error under a model is the mean over the seeds that every single model has; only single models compete for
the best of a set, an ensemble of many is set beside them.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

OURS, LINEAR, ENSEMBLES = "tidemill", "linear", ("autogluon",)
LEAST = 1e-6  # errors below count as this, so that a perfect score makes no ratio endless

Row = Mapping[str, Any]
Errors = dict[str, dict[str, dict[int, float]]]  # set -> model -> seed -> error
Means = dict[str, dict[str, float]]  # set -> model -> mean error over the common seeds


def newest(rows: Iterable[Row], any_code: bool = False) -> list[Row]:
    """The newest line of each cell: of the newest division of its set, and for Tidemill of the newest code."""
    rows = [row for row in rows if "error" in row]
    divided = {(row["set"], row["seed"]): row["rows"] for row in rows}
    codes = [row["code"] for row in rows if row["model"] == OURS]
    kept = {}
    for row in rows:
        if row["rows"] != divided[row["set"], row["seed"]]:
            continue
        if row["model"] == OURS and row["code"] != codes[-1] and not any_code:
            continue
        kept[row["set"], row["seed"], row["model"]] = row
    return list(kept.values())


def errors_of(rows: Iterable[Row], measure: str) -> Errors:
    """The errors of the cells that have the measure."""
    found: Errors = {}
    for row in rows:
        if measure in row:
            found.setdefault(row["set"], {}).setdefault(row["model"], {})[row["seed"]] = row[measure]
    return found


def common_seeds(by_model: Mapping[str, Mapping[int, float]]) -> list[int]:
    """The seeds that every model has."""
    return sorted(set.intersection(*(set(seeds) for seeds in by_model.values()))) if by_model else []


def means_of(errors: Errors, models: Iterable[str]) -> Means:
    """The mean error of each model on the sets where all of them stand, over the seeds that all of them have."""
    models = list(models)
    found: Means = {}
    for name, by_model in errors.items():
        if all(model in by_model for model in models):
            seeds = common_seeds({model: by_model[model] for model in models})
            if seeds:
                found[name] = {model: statistics.fmean(by_model[model][s] for s in seeds) for model in models}
    return found


def singles(errors: Errors) -> list[str]:
    """The models that compete, in order of their names."""
    return sorted({model for by_model in errors.values() for model in by_model} - set(ENSEMBLES))


@dataclass(frozen=True)
class Standing:
    """How a model stands over sets, against the best single model of each and against the best of the others."""

    model: str
    sets: int
    ratio: float  # geometric mean of error / least error of a single model
    to_others: float  # geometric mean of error / least error of a single model other than this
    improvable: float  # mean share by which the best single model's error is smaller, 0 to 1 (arXiv 2506.16791)
    worst: float
    worst_set: str
    rank: float  # mean over sets, 1 is best, equal errors share their ranks
    wins: int  # sets on which no single model has a smaller error


def standings(means: Means, models: Iterable[str]) -> list[Standing]:
    """The single models, best first."""
    models = list(models)
    found = [_standing(model, means, models) for model in models] if means else []
    return sorted(found, key=lambda standing: standing.ratio)


def _standing(model: str, means: Means, rivals: list[str]) -> Standing:
    """A model beside the rivals; it need not be one of them."""
    own = {name: max(errors[model], LEAST) for name, errors in means.items()}
    theirs = {name: [max(errors[rival], LEAST) for rival in rivals] for name, errors in means.items()}
    others = {name: [max(e[r], LEAST) for r in rivals if r != model] or [own[name]] for name, e in means.items()}
    ratios = {name: error / min(theirs[name]) for name, error in own.items()}
    worst = max(ratios, key=lambda name: ratios[name])
    return Standing(
        model,
        len(means),
        geometric_mean(ratios.values()),
        geometric_mean(error / min(others[name]) for name, error in own.items()),
        statistics.fmean(max(0.0, 1 - 1 / ratio) for ratio in ratios.values()),
        ratios[worst],
        worst,
        statistics.fmean(rank_of(error, theirs[name]) for name, error in own.items()),
        sum(error <= min(theirs[name]) for name, error in own.items()),
    )


def beside(errors: Errors, ensemble: str, rivals: list[str]) -> tuple[Standing, Standing | None] | None:
    """An ensemble against the single models, and Tidemill on the same sets and seeds; None where either never ran."""
    means = means_of(errors, [*rivals, ensemble])
    if not means or not rivals:
        return None
    return _standing(ensemble, means, rivals), _standing(OURS, means, rivals) if OURS in rivals else None


def geometric_mean(values: Iterable[float]) -> float:
    """exp of the mean of logarithms."""
    return math.exp(statistics.fmean(math.log(value) for value in values))


def rank_of(error: float, rivals: list[float]) -> float:
    """The place of an error among rivals (of which it may be one), 1 the smallest; equal ones share their places."""
    smaller, equal = sum(rival < error for rival in rivals), sum(rival == error for rival in rivals)
    return smaller + (equal + 1) / 2 if equal else smaller + 1


@dataclass(frozen=True)
class Pair:
    """Tidemill against another model on one set, over the seeds both have."""

    set: str
    seeds: int
    ours: float
    theirs: float
    difference: float  # mean of ours - theirs: positive is worse
    noise: float  # its standard error; NaN for a single seed

    @property
    def verdict(self) -> str:
        """Beyond noise is more than two standard errors."""
        if math.isnan(self.noise):
            return "one seed"
        if self.difference > 2 * self.noise:
            return "WORSE beyond noise"
        return "better beyond noise" if self.difference < -2 * self.noise else "level"


def pairs(errors: Errors, other: str = LINEAR) -> list[Pair]:
    """Tidemill against another model, set by set."""
    found = []
    for name, by_model in errors.items():
        seeds = common_seeds({model: by_model.get(model, {}) for model in (OURS, other)})
        if seeds:
            ours, theirs = ([by_model[model][seed] for seed in seeds] for model in (OURS, other))
            differences = [left - right for left, right in zip(ours, theirs, strict=True)]
            noise = statistics.stdev(differences) / math.sqrt(len(seeds)) if len(seeds) > 1 else math.nan
            found.append(
                Pair(
                    name,
                    len(seeds),
                    *(statistics.fmean(values) for values in (ours, theirs, differences)),
                    noise,
                )
            )
    return found


@dataclass(frozen=True)
class Promise:
    """What Tidemill's answers on one set said of themselves, over the seeds: means; None where nothing was said."""

    set: str
    seeds: int
    coverage: float | None  # of intervals or sets for 90 %
    noise: float | None  # the standard error of the mean coverage
    ece: float | None  # expected calibration error of the probabilities
    floor: float | None  # the same of right probabilities, by chance


def promises(rows: Iterable[Row], model: str = OURS) -> list[Promise]:
    """Coverage and calibration, set by set; sets whose cells tell of neither are left out."""
    by_set: dict[str, list[Row]] = {}
    for row in rows:
        if row["model"] == model and ("coverage" in row or "ece" in row):
            by_set.setdefault(row["set"], []).append(row)

    def mean(found: list[Row], key: str) -> float | None:
        told = [row[key] for row in found if key in row]
        return statistics.fmean(told) if told else None

    def noise(found: list[Row]) -> float | None:
        told = [row["coverage"] for row in found if "coverage" in row]
        return statistics.stdev(told) / math.sqrt(len(told)) if len(told) > 1 else None

    return [
        Promise(name, len(found), mean(found, "coverage"), noise(found), mean(found, "ece"), mean(found, "ece_floor"))
        for name, found in by_set.items()
    ]


def medians(rows: Iterable[Row], keys: Iterable[str]) -> dict[str, list[float]]:
    """For each model the median of each key over its cells, and how many there are."""
    by_model: dict[str, list[Row]] = {}
    for row in rows:
        by_model.setdefault(row["model"], []).append(row)
    return {
        model: [len(found), *(statistics.median(row[key] for row in found) for key in keys)]
        for model, found in sorted(by_model.items())
    }
