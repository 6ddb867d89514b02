"""One model on one dataset under one seed, in a process of its own, so that its time and memory are its own.

python -m tables.worker MODEL DATASET-FOLDER OUT.json --seed 0 --limit 300
"""

from __future__ import annotations

import argparse
import importlib
import json
import resource
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from tables.peers import PEERS
from tables.rows import Array, Rows
from tables.scores import calibration, scores

OURS, ENSEMBLE = "tidemill", "autogluon"
LEVEL = 0.9  # of intervals and sets


def cpu_s() -> float:
    """CPU seconds of this process and of those it started and waited for."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(item.ru_utime + item.ru_stime for item in used)


def tidemill(dataset: Path, seed: int, settings: dict[str, Any]) -> tuple[Array, dict[str, float]]:
    """Train as the job does, then answer as the Predict function does: from the bundle alone.

    Beside the answers: the share of test rows whose truth lies in what is asked for at LEVEL, where it offers that.
    """
    from tidemill.core.prepare import load_split, read_schema
    from tidemill.core.spec import Spec
    from tidemill.serving import doubt
    from tidemill.serving.predictor import Predictor
    from tidemill.training.fit import fit_bundle

    wishes = {**read_schema(dataset)["spec"], "train": {"seed": seed}}
    for name, value in settings.items():
        section, key = name.split(".")
        wishes[section] = {**wishes.get(section, {}), key: value}
    spec = Spec.from_json(wishes)
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        fit_bundle(dataset, spec, bundle)
        predictor = Predictor.load(bundle)
        columns, target, _ = load_split(dataset, "test")
        answers: Array = predictor.predict_columns(columns)
        if predictor.outputs is None or LEVEL not in predictor.outputs.offered:
            return answers, {}
        asked = "interval" if predictor.task == "regression" else "label_set"
        cells = [[None if value != value else value for value in values.tolist()] for values in columns.values()]
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*cells, strict=True)]
        found = doubt.predict(predictor, rows, **{asked: LEVEL})
    if asked == "interval":
        held = [item["low"] <= truth <= item["high"] for item, truth in zip(found, target.tolist(), strict=True)]
    else:
        held = [truth in item["set"] for item, truth in zip(found, target.tolist(), strict=True)]
    return answers, {"coverage": sum(held) / len(held)}


def autogluon(rows: Rows, seed: int, limit_s: float) -> Array:
    """AutoGluon's best quality within a time limit: bagged, stacked, weighted."""
    from autogluon.tabular import TabularPredictor

    measure = {"binary": "roc_auc", "multiclass": "log_loss", "regression": "root_mean_squared_error"}[rows.task]
    table = rows.fitted_frame().assign(**{rows.target: rows.y_fitted})
    with tempfile.TemporaryDirectory() as folder:
        model = TabularPredictor(rows.target, problem_type=rows.task, eval_metric=measure, path=folder, verbosity=0)
        model.fit(
            table,
            presets="best_quality",
            time_limit=limit_s,
            num_cpus=1,
            num_gpus=0,
            ag_args_ensemble={"fold_fitting_strategy": "sequential_local", "model_random_seed": seed},
        )
        if rows.regression:
            return model.predict(rows.frame("test")).to_numpy(float)
        found = model.predict_proba(rows.frame("test"))
        return found.reindex(columns=range(len(rows.labels)), fill_value=0.0).to_numpy(float)


def run(model: str, dataset: Path, seed: int, limit_s: float, settings: dict[str, Any]) -> dict[str, Any]:
    """Fit, answer, score; the seconds are those of fitting and answering, without the import of the library."""
    rows = Rows.load(dataset)
    module, package = {OURS: ("tidemill.training.fit", ""), ENSEMBLE: ("autogluon.tabular", "autogluon.tabular")}.get(
        model
    ) or PEERS[model][1:]
    importlib.import_module(module)
    began, used, kept = time.monotonic(), cpu_s(), {}
    if model == OURS:
        answers, kept = tidemill(dataset, seed, settings)
    elif model == ENSEMBLE:
        answers = autogluon(rows, seed, limit_s)
    else:
        answers = PEERS[model][0](rows, seed)
    spent = {"fit_cpu_s": round(cpu_s() - used, 3), "fit_wall_s": round(time.monotonic() - began, 3)}
    if not rows.regression:
        kept |= calibration(rows.y["test"], answers, seed)
    return {
        **{"task": rows.task, **scores(rows.task, rows.y["test"], answers), **kept, **spent},
        **{"fitted": len(rows.y_fitted), "tested": len(rows.y["test"])},
        "version": _version(package) if package else "",
    }


def _version(package: str) -> str:
    for name in (package, f"{package}-cpu"):
        try:
            return f"{package} {metadata.version(name)}"
        except metadata.PackageNotFoundError:
            continue
    return package


def main() -> None:
    """Run one cell of the comparison and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=[OURS, *PEERS, ENSEMBLE])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--limit", type=float, default=300.0, help="seconds AutoGluon may take")
    parser.add_argument("--settings", type=json.loads, default={}, help='for Tidemill: {"train.family": "mlp"}')
    wanted = parser.parse_args()
    found = run(wanted.model, wanted.dataset, wanted.seed, wanted.limit, wanted.settings)
    wanted.out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
