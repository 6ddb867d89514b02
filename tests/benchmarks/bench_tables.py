"""Tidemill beside other libraries on real tables: the same rows, the same splits, one thread, a process for each fit.

    make bench-tables SETS=FOLDER      FOLDER/titanic/data.csv, FOLDER/adult/train.csv, ...

Tidemill trains by the job's own entry and answers from the bundle it wrote, as the Predict function does. Each result
goes at once to a file, and what stands there is not run again: the comparison can be stopped and gone on with.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tables.cells import CODE, OURS, ROOT, TOLD_ONLY, Cell, Datasets, Results, code_of, run
from tables.report import tell
from tables.sets import TARGETS

MODELS = (OURS, "linear", "lightgbm", "xgboost", "histgb", "forest", "catboost", "keras", "autogluon")


def options() -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, nargs="?", help="a folder for each set")
    add("--sets", default=",".join(TARGETS), help="comma-separated names; default: all")
    add("--seeds", default="0,1,2,3,4", help="comma-separated numbers, or FIRST-LAST")
    add("--models", default="", help=f"of {', '.join(MODELS)}; default: all that have a Python")
    add("--jobs", type=int, default=1, help="fits at once")
    add("--results", type=Path, default=ROOT / ".build/bench-tables.jsonl")
    add("--python", default=sys.executable, help="for Tidemill")
    add("--peer-python", default=sys.executable, help="for the other libraries")
    add("--keras-python", default="", help="for Keras; default: as the other libraries")
    add(
        "--autogluon-python",
        default="",
        help="for AutoGluon, which wants an environment of its own; default: leave out",
    )
    add("--autogluon-limit", type=float, default=300.0, help="seconds AutoGluon may take for a fit")
    add("--timeout", type=float, default=3600.0, help="seconds after which a fit is ended and counts as failed")
    add("--setting", action="append", default=[], help="for Tidemill, as in tidemill.toml: train.family=mlp")
    add("--any-code", action="store_true", help="take Tidemill's results from whatever code they came")
    add("--summary", action="store_true", help="run nothing, print what the results add up to")
    add("--record", action="store_true", help="append the tables to RESULTS.md")
    wanted = parser.parse_args()
    wanted.setting = dict(setting_of(text) for text in wanted.setting)
    return wanted


def setting_of(text: str) -> tuple[str, Any]:
    """SECTION.KEY=VALUE as a name and a value."""
    name, sign, value = text.partition("=")
    if not sign or name.count(".") != 1:
        raise SystemExit(f"--setting {text}: write SECTION.KEY=VALUE, as in train.family=mlp.")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def seeds_of(text: str) -> list[int]:
    """0,1,2 or 0-2 as numbers."""
    first, dash, last = text.partition("-")
    return list(range(int(first), int(last) + 1)) if dash else [int(part) for part in text.split(",")]


class Comparison:
    """Runs the cells that are not done."""

    def __init__(self, wanted: argparse.Namespace) -> None:
        self.wanted = wanted
        self.results = Results(wanted.results)
        self.datasets = Datasets(wanted.folder.resolve(), wanted.results.resolve().with_suffix(""), wanted.python)
        self.pythons = {OURS: wanted.python, "autogluon": wanted.autogluon_python}
        self.pythons["keras"] = wanted.keras_python or wanted.peer_python
        self.ended, self.lock = 0, threading.Lock()

    def cells(self) -> list[Cell]:
        """Every cell asked for, seed by seed, so that a run stopped early has whole seeds."""
        chosen = self.wanted.models.split(",") if self.wanted.models else MODELS
        unknown = set(chosen) - set(MODELS)
        if unknown:
            raise SystemExit(f"--models {', '.join(sorted(unknown))}: choose from {', '.join(MODELS)}.")
        models = [model for model in chosen if self.pythons.get(model, "-")]
        sets = self.wanted.sets.split(",")
        return [Cell(seed, name, model) for seed in seeds_of(self.wanted.seeds) for name in sets for model in models]

    def run(self) -> None:
        """Run them, some at once; an interruption ends after the fits under way."""
        cells = self.cells()
        with ThreadPoolExecutor(self.wanted.jobs) as pool:
            try:
                for _ in pool.map(lambda cell: self._one(cell, len(cells)), cells):
                    pass
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise

    def _one(self, cell: Cell, total: int) -> None:
        dataset, rows = self.datasets.of(cell.set, cell.seed)
        told: dict[str, Any] = {"set": cell.set, "seed": cell.seed, "model": cell.model, "rows": rows}
        ours: dict[str, Any] = {"code": code_of(CODE, TOLD_ONLY)} if cell.model == OURS else {}
        chosen = {"settings": self.wanted.setting} if cell.model == OURS else {}
        if self.results.done({**told, **chosen, **({} if self.wanted.any_code else ours)}):
            return self._say(cell, total, "stands already")
        python = self.pythons.get(cell.model) or self.wanted.peer_python
        began = time.monotonic()
        limit = {"limit_s": self.wanted.autogluon_limit} if cell.model == "autogluon" else {}
        asked = ["--limit", str(self.wanted.autogluon_limit), "--settings", json.dumps(self.wanted.setting)]
        found = run(cell, python, dataset, asked, self.wanted.timeout)
        when = datetime.now(UTC).isoformat(timespec="seconds")
        self.results.add({**told, **ours, **chosen, **limit, **found, "when": when})
        reason = found.get("failed", "").strip().rpartition("\n")[2]
        said = f"failed: {reason}" if reason else f"error {found['error']:.5g}"
        return self._say(cell, total, f"{said}, {found['cpu_s']:.1f} CPU s, {time.monotonic() - began:.1f} s")

    def _say(self, cell: Cell, total: int, text: str) -> None:
        with self.lock:
            self.ended += 1
            print(f"[{self.ended}/{total}] {cell.set} seed {cell.seed} {cell.model}: {text}", flush=True)


def main() -> None:
    """Run what is not done, then print what all of it adds up to."""
    wanted = options()
    if not wanted.summary:
        if wanted.folder is None:
            raise SystemExit("Name the folder with the sets: make bench-tables SETS=FOLDER")
        Comparison(wanted).run()
    chosen, seeds = set(wanted.sets.split(",")), set(seeds_of(wanted.seeds))
    shown = set(wanted.models.split(",")) if wanted.models else set(MODELS)
    rows = [
        row
        for row in Results(wanted.results).read()
        if row["set"] in chosen and row["seed"] in seeds and row["model"] in shown
        if row.get("settings", wanted.setting) == wanted.setting
    ]
    tell(rows, any_code=wanted.any_code, keep=wanted.record)


if __name__ == "__main__":
    main()
