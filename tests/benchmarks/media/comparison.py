"""A comparison of models on sets of texts or pictures: cells in turn, what is done is not run again, one table.

Each result goes at once to a file, and what stands there is not run again: the comparison can be stopped and gone on
with.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from bench_tables import seeds_of, setting_of
from media.summary import Row, newest, table
from media.worker import ALONE, FAMILIES, WITH
from results import record
from tables.cells import CODE, ROOT, TOLD_ONLY, Cell, Datasets, Results, code_of, run


class Kind(NamedTuple):
    """What is compared."""

    name: str
    title: str
    sets: tuple[str, ...]
    models: tuple[str, ...]
    verdicts: Callable[[list[Row]], list[str]]
    about: str


def options(kind: Kind, about: str, seeds: str) -> argparse.Namespace:
    """What was asked for on the command line."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("folder", type=Path, nargs="?", help="a folder for each set")
    add("--sets", default=",".join(kind.sets), help='comma-separated; "SET@N": N rows to learn from; default: all')
    add("--seeds", default=seeds, help="comma-separated numbers, or FIRST-LAST")
    add("--models", default=",".join(kind.models), help="comma-separated; default: all")
    add("--backbone", type=Path, help="a folder with model.safetensors; default: models with a backbone are left out")
    add("--results", type=Path, default=ROOT / f".build/bench-{kind.name}.jsonl")
    add("--python", default=sys.executable, help="for Tidemill")
    add("--peer-python", default=sys.executable, help="for the other libraries")
    add("--keras-python", default="", help="for Keras; default: as the other libraries")
    add("--timeout", type=float, default=3600.0, help="seconds after which a fit is ended and counts as failed")
    add("--setting", action="append", default=[], help="for Tidemill, as in tidemill.toml: train.epochs=5")
    add("--summary", action="store_true", help="run nothing, print what the results add up to")
    add("--record", action="store_true", help="append the table to RESULTS.md")
    wanted = parser.parse_args()
    wanted.setting = dict(setting_of(text) for text in wanted.setting)
    if unknown := set(wanted.models.split(",")) - set(kind.models):
        raise SystemExit(f"--models {', '.join(sorted(unknown))}: choose from {', '.join(kind.models)}.")
    return wanted


def cells_of(wanted: argparse.Namespace) -> list[Cell]:
    """Every cell asked for, seed by seed, so that a run stopped early has whole seeds."""
    needs = (WITH, ALONE)
    models = [model for model in wanted.models.split(",") if wanted.backbone or model not in needs]
    sets = wanted.sets.split(",")
    return [Cell(seed, name, model) for seed in seeds_of(wanted.seeds) for name in sets for model in models]


def compare(wanted: argparse.Namespace) -> None:
    """Run what is not done, one after the other."""
    if wanted.folder is None:
        raise SystemExit("Name the folder with the sets.")
    results = Results(wanted.results)
    kept = wanted.results.resolve().with_suffix("")
    datasets, cells = Datasets(wanted.folder.resolve(), kept, wanted.python, "media"), cells_of(wanted)
    for place, cell in enumerate(cells, 1):
        dataset, rows = datasets.of(cell.set, cell.seed)
        told = {"set": cell.set, "seed": cell.seed, "model": cell.model, "rows": rows, **_chosen(wanted, cell)}
        done = results.done(told)
        if not done:
            found = run(cell, _python(wanted, cell), dataset, _asked(wanted, cell), wanted.timeout, "media")
            results.add({**told, **found, "when": datetime.now(UTC).isoformat(timespec="seconds")})
            print(f"[{place}/{len(cells)}] {cell.set} seed {cell.seed} {cell.model}: {_said(found)}", flush=True)


def _chosen(wanted: argparse.Namespace, cell: Cell) -> dict[str, Any]:
    """What decides Tidemill's answers beside the rows: its code, its settings, the backbone's weights."""
    if cell.model not in FAMILIES:
        return {}
    weights = wanted.backbone / "model.safetensors" if cell.model in (WITH, ALONE) else None
    digest = {"backbone": hashlib.sha256(weights.read_bytes()).hexdigest()[:12]} if weights else {}
    return {"code": code_of(CODE, TOLD_ONLY), "settings": wanted.setting, **digest}


def _python(wanted: argparse.Namespace, cell: Cell) -> str:
    if cell.model in FAMILIES:
        return str(wanted.python)
    return str((wanted.keras_python or wanted.peer_python) if "keras" in cell.model else wanted.peer_python)


def _asked(wanted: argparse.Namespace, cell: Cell) -> list[str]:
    settings = ["--settings", json.dumps(wanted.setting)] if cell.model in FAMILIES else []
    return settings + (["--backbone", str(wanted.backbone.resolve())] if cell.model in (WITH, ALONE) else [])


def _said(found: dict[str, Any]) -> str:
    if "missing" in found:
        return f"left out, {found['missing']} is not installed"
    if "failed" in found:
        return f"failed: {found['failed'].strip().rpartition(chr(10))[2]}"
    return f"accuracy {found['accuracy']:.4f}, {found['fit_cpu_s']:.1f} CPU s"


def tell(kind: Kind, wanted: argparse.Namespace) -> None:
    """Print the table and the verdicts, and keep them where asked."""
    sets = wanted.sets.split(",")
    rows = newest(Results(wanted.results).read(), sets, seeds_of(wanted.seeds))
    models = [model for model in kind.models if any(row["model"] == model for row in rows)]
    if not models:
        print("No results yet.")
        return
    versions = ", ".join(sorted({row["version"] for row in rows if row.get("version")}))
    header = ["set", "rows", "classes", "seeds", *models, "CPU s of a fit"]
    lines = table(rows, sets, models)
    notes = " ".join([*kind.verdicts(rows), kind.about, f"Versions: {versions}."])
    record(kind.title, header, lines, notes=notes, keep=wanted.record)


def main(kind: Kind, about: str, seeds: str) -> None:
    """Measure, print, and keep where asked."""
    wanted = options(kind, about, seeds)
    if not wanted.summary:
        compare(wanted)
    tell(kind, wanted)
