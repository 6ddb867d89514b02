"""The tables of the comparison as text, printed and on request kept in RESULTS.md."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

from results import record
from tables.sets import LARGEST, LEARNED, TARGETS, TESTED
from tables.summary import (
    ENSEMBLES,
    LINEAR,
    OURS,
    Errors,
    Row,
    Standing,
    beside,
    common_seeds,
    errors_of,
    means_of,
    medians,
    newest,
    pairs,
    promises,
    singles,
    standings,
)

SPENT = ("cpu_s", "fit_cpu_s", "wall_s", "memory_mib")
ABOUT = (
    f"Of sets of more than {LARGEST:,} rows, {sum(LEARNED.values()):,} are learned from, drawn anew by every seed, and"
    f" {TESTED:.0%} of all are tested on. A seed is another split and another training seed. Same rows for all, default"
    " settings, one thread where a library can be told so (CPU seconds count all)."
)
HOW = (
    "Ratios are of mean errors; the best single model of a set may be the model itself, the best other may not."
    " Improvable: the mean share by which the best single model's error is smaller; one odd set cannot rule it."
)
OWN_NAMES = {"error": "1 - AUC, log loss or RMSE (arXiv 2506.16791)", "log_loss": "log loss"}


def tell(rows: Iterable[dict[str, Any]], *, any_code: bool = False, keep: bool = False) -> None:
    """Print every table that the results allow."""
    rows = newest(rows, any_code)
    if not rows:
        print("No results yet.")
        return
    versions = ", ".join(sorted({row["version"] for row in rows if row.get("version")}))
    for measure, words in OWN_NAMES.items():
        errors = errors_of(rows, measure)
        if errors:
            _errors(errors, rows, measure, words, keep, f"{ABOUT} {_when(rows)} Versions: {versions}.")
            _standings(errors, words, keep)
            _pairs(errors, words, keep)
    _promises(rows, keep)
    _costs(rows, keep)


def _when(rows: list[Row]) -> str:
    """When the fits ran: a summary may be made much later, under another load."""
    times = sorted(str(row["when"])[:16].replace("T", " ") for row in rows if row.get("when"))
    return f"Fits ran between {times[0]} and {times[-1]} UTC; the load above is the summary's." if times else ""


def _errors(errors: Errors, rows: list[Row], measure: str, words: str, keep: bool, notes: str) -> None:
    """(a) The mean error of each model on each set."""
    models = [*singles(errors), *(name for name in ENSEMBLES if any(name in found for found in errors.values()))]
    tasks = {row["set"]: row["task"] for row in rows}
    lines = []
    for name in sorted(errors, key=_place):
        competing = {model: seeds for model, seeds in errors[name].items() if model not in ENSEMBLES}
        seeds = common_seeds(competing or errors[name])
        shown = {model: _mean(errors[name].get(model, {}), seeds) for model in models}
        best = min((value for model, value in shown.items() if model in competing), default=math.nan)
        cells = [f"**{value:.4g}**" if value == best else "-" if math.isnan(value) else f"{value:.4g}"
                 for value in shown.values()]  # fmt: skip
        lines.append([name, _measure(tasks[name], measure), len(seeds), *cells])
    record(f"Real tables: mean {words}", ["set", "measure", "seeds", *models], lines, notes=notes, keep=keep)


def _standings(errors: Errors, words: str, keep: bool) -> None:
    """(b) How the models stand over all sets, and the ensembles beside them."""
    models = singles(errors)
    means = means_of(errors, models)
    lines = [_line(standing) for standing in standings(means, models)]
    for name in ENSEMBLES:
        found = beside(errors, name, models)
        if found is not None:
            ensemble, ours = found
            lines.append(_line(ensemble))
            if ours is not None:
                lines.append([f"{OURS} on {name}'s cells", *_line(ours)[1:]])
    header = ["model", "sets", "geo-mean to best single", "to best other", "improvable"]
    record(
        f"Real tables: standing by {words}", [*header, "worst", "on", "mean rank", "wins"], lines, notes=HOW, keep=keep
    )


def _line(found: Standing) -> list[object]:
    ratios = [f"{found.ratio:.3f}", f"{found.to_others:.3f}", f"{found.improvable:.1%}", f"{found.worst:.2f}"]
    return [found.model, found.sets, *ratios, found.worst_set, f"{found.rank:.2f}", found.wins]


def _pairs(errors: Errors, words: str, keep: bool) -> None:
    """(c) Tidemill against linear, with the noise of the difference."""
    found = sorted(pairs(errors), key=lambda pair: _place(pair.set))
    if not found:
        return
    lines = [
        [p.set, p.seeds, f"{p.ours:.4g}", f"{p.theirs:.4g}", f"{p.difference:+.3g}", f"{p.noise:.2g}", p.verdict]
        for p in found
    ]
    notes = "Standard error of the paired difference; the splits share rows, so the true noise is rather larger."
    header = ["set", "seeds", OURS, LINEAR, "difference", "standard error", "verdict"]
    record(f"Real tables: {OURS} against {LINEAR} by {words}", header, lines, notes=notes, keep=keep)


def _promises(rows: list[Row], keep: bool) -> None:
    """(d) Whether intervals, sets and probabilities keep their word."""
    found = sorted(promises(rows), key=lambda promise: _place(promise.set))
    if not found:
        return

    def shown(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    lines = [
        [p.set, p.seeds, shown(p.coverage, ".1%"), shown(p.noise, ".1%"), shown(p.ece, ".3f"), shown(p.floor, ".3f")]
        for p in found
    ]
    notes = (
        "Of the test rows. Intervals for numbers, sets for classes, both asked for 90 %; a set of few classes may have"
        " to hold more. The floor is what probabilities that are right show on as many rows."
    )
    header = ["set", "seeds", "coverage", "standard error", "calibration error", "its floor"]
    record(f"Real tables: what {OURS} says of its own errors", header, lines, notes=notes, keep=keep)


def _costs(rows: list[Row], keep: bool) -> None:
    """(e) What a fit costs."""
    lines = [
        [model, cells, *(f"{value:.2f}" for value in spent[:-1]), f"{spent[-1]:.0f}"]
        for model, (cells, *spent) in medians(rows, SPENT).items()
    ]
    header = ["model", "fits", "CPU s, whole process", "CPU s, fit and answers", "wall s", "peak MiB"]
    record("Real tables: median cost of a fit", header, lines, keep=keep)


def _mean(by_seed: dict[int, float], seeds: list[int]) -> float:
    found = [by_seed[seed] for seed in seeds if seed in by_seed]
    return sum(found) / len(found) if found and len(found) == len(seeds) else math.nan


def _measure(task: str, measure: str) -> str:
    if measure == "log_loss" or task == "multiclass":
        return "log loss"
    return "RMSE" if task == "regression" else "1 - AUC"


def _place(name: str) -> tuple[int, str]:
    order = list(TARGETS)
    return (order.index(name) if name in order else len(order), name)
