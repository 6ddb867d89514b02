"""One model on one dataset under one seed, in a process of its own, so that its time and memory are its own.

python -m media.worker MODEL DATASET-FOLDER OUT.json --seed 0 [--backbone FOLDER]
"""

from __future__ import annotations

import argparse
import importlib
import json
import tempfile
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from media.peers import PEERS
from tables.rows import Array, Rows
from tables.worker import cpu_s

OURS = "tidemill"
WITH, ALONE, WITHOUT = "tidemill + backbone", "backbone alone", "n-grams alone"
FAMILIES = {OURS: "auto", WITH: "auto", ALONE: "backbone", WITHOUT: "linear"}
BLOCK = 128  # rows answered at once


def tidemill(dataset: Path, model: str, seed: int, settings: dict[str, Any], backbone: Path | None) -> Array:
    """Train as the job does, then answer from the bundle alone."""
    from tidemill.core.prepare import load_split, read_schema
    from tidemill.core.spec import Spec
    from tidemill.training.families import minilm
    from tidemill.training.fit import fit_bundle

    if model == ALONE:
        minilm.TOGETHER = ()  # without the n-grams that its layer may read, too
    named = {"backbone": backbone.name} if backbone else {}
    wishes = {**read_schema(dataset)["spec"], "train": {"seed": seed, "family": FAMILIES[model], **named}}
    for name, value in settings.items():
        section, key = name.split(".")
        wishes[section] = {**wishes.get(section, {}), key: value}
    with tempfile.TemporaryDirectory() as folder:
        bundle = Path(folder) / "bundle"
        given: dict[str, Any] = {"backbone_dir": backbone} if backbone else {}
        fit_bundle(dataset, Spec.from_json(wishes), bundle, **given)
        return answers(bundle, load_split(dataset, "test")[0])


def answers(bundle: Path, columns: dict[str, Array]) -> Array:
    """Probabilities of the rows, from the bundle's features and graph."""
    import onnxruntime

    from tidemill.core import features

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    runner = onnxruntime.InferenceSession(str(bundle / "model.onnx"), options, providers=["CPUExecutionProvider"])
    program, rows = features.load(bundle), len(next(iter(columns.values())))
    names = [item.name for item in runner.get_inputs()]
    found = []
    for at in range(0, rows, BLOCK):
        x_n = program.apply({name: values[at : at + BLOCK] for name, values in columns.items()})
        found.append(runner.run(None, {name: getattr(x_n, name, x_n) for name in names})[0])
    return np.concatenate(found)


def run(model: str, dataset: Path, seed: int, settings: dict[str, Any], backbone: Path | None) -> dict[str, Any]:
    """Fit, answer, score; the seconds are those of fitting and answering, without the import of the library."""
    rows = Rows.load(dataset)
    module, package = ("tidemill.training.fit", "") if model in FAMILIES else PEERS[model][1:]
    importlib.import_module(module)
    began, used = time.monotonic(), cpu_s()
    score_nk = tidemill(dataset, model, seed, settings, backbone) if model in FAMILIES else PEERS[model][0](rows, seed)
    spent = {"fit_cpu_s": round(cpu_s() - used, 3), "fit_wall_s": round(time.monotonic() - began, 3)}
    accuracy = float((score_nk.argmax(1) == rows.y["test"]).mean())
    return {
        **{"task": rows.task, "accuracy": accuracy, "error": 1 - accuracy, **spent},
        **{"fitted": len(rows.y_fitted), "tested": len(rows.y["test"]), "classes": len(rows.labels)},
        "version": f"{package} {metadata.version(package)}" if package else "",
    }


def main() -> None:
    """Run one cell of the comparison and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=[*FAMILIES, *PEERS])
    parser.add_argument("dataset", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--backbone", type=Path)
    parser.add_argument("--settings", type=json.loads, default={}, help='for Tidemill: {"train.family": "lstm"}')
    wanted = parser.parse_args()
    backbone = wanted.backbone if wanted.model in (WITH, ALONE) else None
    try:
        found = run(wanted.model, wanted.dataset, wanted.seed, wanted.settings, backbone)
    except ModuleNotFoundError as problem:
        found = {"missing": problem.name}
    wanted.out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
