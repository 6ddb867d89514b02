"""Real tables through the public door, beside scikit-learn's linear models on the very same rows.

    tidemill up
    python tests/benchmarks/bench_real_sets.py FOLDER      FOLDER/adult/train.csv, FOLDER/letters/data.csv, ...

Each table is pushed with `tidemill push --wait`. The dataset that Preprocess wrote is then read back and a logistic
(or ridge) regression is trained on its train and validation rows and scored on its test rows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from results import ROOT, record
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.metrics import log_loss, r2_score, roc_auc_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tidemill.core.prepare import load_split, read_schema
from tidemill.core.storage import Storage
from tidemill.local.stack import status

SETS = [
    ("adult", "train.csv", "income"),
    ("letters", "data.csv", "lettr"),
    ("ames_housing", "data.csv", "Sale_Price"),
    ("resume_callbacks", "data.csv", "received_callback"),
]


def push(name: str, path: Path, target: str, run: str) -> tuple[dict[str, Any], float]:
    """Send one table and wait for its version; what the command said, and the seconds it took."""
    command = [sys.executable, "-m", "tidemill.cli.main", "push", str(path), "--model", name, "--target", target]
    began = time.monotonic()
    done = subprocess.run([*command, "--wait", "--json"], cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode not in (0, 4):
        raise SystemExit(f"{name}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    said: dict[str, Any] = json.loads(done.stdout)
    return said, time.monotonic() - began


def linear(folder: Path) -> dict[str, float]:
    """Test scores of a linear model trained on the same split: one-hot, median, standardised."""
    schema = read_schema(folder)
    parts = {name: load_split(folder, name)[:2] for name in ("train", "validation", "test")}
    kinds = {c["name"]: c["kind"] for c in schema["columns"] if c["role"] == "feature"}
    fitted = np.concatenate([parts["train"][1], parts["validation"][1]])

    def numbers(name: str) -> Any:
        columns = parts[name][0]
        found = [columns[c] for c, kind in kinds.items() if kind != "category"]
        return np.stack(found, 1) if found else np.empty((len(parts[name][1]), 0))

    def levels(name: str) -> Any:
        columns = parts[name][0]
        found = [
            np.array(["" if v is None else v for v in columns[c]], object) for c, k in kinds.items() if k == "category"
        ]
        return np.stack(found, 1) if found else None

    scale = make_pipeline(SimpleImputer(strategy="median", keep_empty_features=True), StandardScaler())
    encode = OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=5, sparse_output=False)
    wide = np.concatenate([numbers("train"), numbers("validation")])
    x_fit, x_test = scale.fit_transform(wide), scale.transform(numbers("test"))
    if levels("train") is not None:
        coded = encode.fit_transform(np.concatenate([levels("train"), levels("validation")]))
        x_fit = np.concatenate([x_fit, coded], 1)
        x_test = np.concatenate([x_test, encode.transform(levels("test"))], 1)
    truth = parts["test"][1]
    if schema["task"] == "regression":
        guess = RidgeCV(np.logspace(-3, 4, 15)).fit(x_fit, fitted.astype(float)).predict(x_test)
        return {"rmse": root_mean_squared_error(truth.astype(float), guess), "r2": r2_score(truth.astype(float), guess)}
    model = LogisticRegression(max_iter=2000).fit(x_fit, fitted.astype(str))
    chance = model.predict_proba(x_test)
    scores = {
        "log_loss": log_loss(truth.astype(str), chance, labels=model.classes_),
        "accuracy": float((model.classes_[chance.argmax(1)] == truth.astype(str)).mean()),
    }
    if len(model.classes_) == 2:
        positive = list(model.classes_).index(schema["labels"][-1])
        scores["roc_auc"] = roc_auc_score(truth.astype(str) == schema["labels"][-1], chance[:, positive])
    return scores


def main() -> None:
    """Push every set, compare, print and append the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", default="")
    wanted = parser.parse_args()
    stack = status(ROOT / ".tidemill")
    if stack is None:
        raise SystemExit("No stack is running. Start one: tidemill up")
    artifacts = Storage(stack.outputs["ArtifactsBucketName"], stack.client("s3"))
    stamp, rows = time.strftime("%H%M%S"), []
    for name, file, target in SETS:
        if wanted.only and name != wanted.only:
            continue
        model = f"{name.replace('_', '-')}-{stamp}"
        said, seconds = push(model, wanted.folder / name / file, target, stamp)
        run = said["run"]
        with tempfile.TemporaryDirectory() as folder:
            artifacts.read_folder(f"datasets/{model}/{run['dataset']}/", Path(folder))
            peer = linear(Path(folder))
        metrics = artifacts.read_json(f"bundles/{model}/{run['run']}/metrics.json")
        parity = artifacts.read_json(f"bundles/{model}/{run['run']}/parity.json")
        warned = ", ".join(sorted({item["code"] for item in metrics["warnings"]})) or "-"
        for metric, theirs in peer.items():
            ours = metrics["metrics"][metric]
            lower = ours["better"] == "lower"
            worse = (ours["low"] > theirs) if lower else (ours["high"] < theirs)
            rows.append(
                [
                    *(
                        name,
                        run["rows"]["used"],
                        metric,
                        f"{ours['value']:.4g}",
                        f"{ours['low']:.4g} to {ours['high']:.4g}",
                    ),
                    *(f"{theirs:.4g}", "WORSE" if worse else "no", f"{ours['baseline']:.4g}", f"{seconds:.0f}"),
                    *(f"{parity['max_abs_difference']:.1e}", parity["rows"], warned),
                ]
            )
    header = ["set", "rows", "metric", "Tidemill", "95 % interval", "linear", "worse beyond it", "trivial", "push s"]
    record("Real tables through `tidemill push --wait`", [*header, "parity", "parity rows", "card warns"], rows)


if __name__ == "__main__":
    main()
