"""Explanations of a bundle against sampled Shapley values over the same background, and what they cost.

    python tests/benchmarks/bench_explain.py [TABLE.csv TARGET] [--rows 50] [--permutations 200]

Trains on the table (default: tests/data/adult-3000.csv), then explains test rows through explain.onnx alone. The truth
is the Shapley value of every input column, absent columns taken from the background rows, by sampled permutations and
their reversals (Mitchell et al. 2022). It is sampled twice: what one sampling says of the other is the ceiling.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from results import ROOT, record
from scipy.stats import spearmanr

from tidemill.core.features import Program
from tidemill.core.prepare import load_split, prepare
from tidemill.core.spec import Data, Spec
from tidemill.training import explain
from tidemill.training.export.parity import session
from tidemill.training.fit import fit_bundle


def shapley(run: Any, x_f: Any, background: Any, owner_f: Any, permutations: int, seed: int) -> Any:
    """The value of every column for one row: mean gain as columns of the row replace the background's, one by one."""
    rng, columns = np.random.default_rng(seed), int(owner_f.max()) + 1
    value_c = np.zeros(columns)
    for _ in range(permutations // 2):
        order = rng.permutation(columns)
        for way in (order, order[::-1]):
            place = np.empty(columns, int)
            place[way] = np.arange(columns)
            taken = place[owner_f][None] < np.arange(columns + 1)[:, None]  # after s steps, the first s columns
            mixed = np.where(taken[:, None], x_f, background).reshape(-1, len(x_f))
            worth = run(mixed.astype(np.float32)).reshape(columns + 1, -1).mean(1)
            value_c[way] += np.diff(worth)
    return value_c / (permutations // 2 * 2)


def agreement(left_nc: Any, right_nc: Any) -> tuple[float, float]:
    """Median Spearman correlation over rows, and the mean share of the three largest columns in common."""
    ranks = [spearmanr(a, b).statistic for a, b in zip(left_nc, right_nc, strict=True)]
    tops = [np.argsort(-np.abs(values), axis=1)[:, :3] for values in (left_nc, right_nc)]
    shared = [len(set(a) & set(b)) / 3 for a, b in zip(*tops, strict=True)]
    return float(np.median(ranks)), float(np.mean(shared))


def milliseconds(runner: Any, inputs: dict[str, Any], repeats: int = 50) -> float:
    """Median CPU time of one run."""
    spent = []
    for _ in range(repeats + 5):
        began = time.process_time()
        runner.run(None, inputs)
        spent.append(time.process_time() - began)
    return float(np.median(spent[5:])) * 1e3


def main() -> None:
    """Train, explain, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", nargs="?", type=Path, default=ROOT / "tests/data/adult-3000.csv")
    parser.add_argument("target", nargs="?", default="income")
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--permutations", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        dataset, bundle = Path(work) / "dataset", Path(work) / "bundle"
        spec = Spec(data=Data(target=given.target))
        prepare(given.table, given.table.name, spec, dataset, model="bench")
        fit_bundle(dataset, spec, bundle)
        compare(dataset, bundle, given.rows, given.permutations, f"{given.table.name}, column {given.target!r}")


def compare(dataset: Path, bundle: Path, rows: int, permutations: int, name: str) -> None:
    """Explain test rows and hold the explanations to the truth."""
    program = Program.from_json(json.loads((bundle / "features.json").read_text()))
    predictor, explainer = session(bundle / "model.onnx"), session(bundle / "explain.onnx")
    x_nf = program.apply(load_split(dataset, "test")[0])[:rows]
    fitted_nf = program.apply(load_split(dataset, "train")[0])
    background = explain.background(fitted_nf, predictor.run(None, {"x": fitted_nf})[0], seed=0)
    target_nk = explain.targets_of(predictor.run(None, {"x": x_nf})[0])
    began = time.process_time()
    parts = [explainer.run(None, {"x": x_nf[i : i + 8], "target": target_nk[i : i + 8]}) for i in range(0, rows, 8)]
    batched_ms = (time.process_time() - began) / rows * 1e3
    contribution_nf, _, baseline_n = (np.concatenate(part) for part in zip(*parts, strict=True))
    assert np.allclose(baseline_n, target_nk @ predictor.run(None, {"x": background})[0].mean(0), atol=1e-4), (
        "the background drawn here is not the one in explain.onnx"
    )
    columns = np.eye(len(program.columns))[program.owner_f]
    began = time.process_time()
    truths = [
        np.stack([shapley(_answer(predictor, t), x, background, program.owner_f, permutations, seed)
                  for x, t in zip(x_nf, target_nk, strict=True)])
        for seed in (1, 2)
    ]  # fmt: skip
    shapley_ms = (time.process_time() - began) / rows / 2 * 1e3
    ours, ceiling = agreement(contribution_nf @ columns, truths[0]), agreement(truths[1], truths[0])
    one_ms = milliseconds(explainer, {"x": x_nf[:1], "target": target_nk[:1]})
    missed = json.loads((bundle / "parity.json").read_text())["completeness"]["before_spreading"]
    record(
        f"Explanations against sampled Shapley values: {name}, {rows} test rows",
        ("way", "Spearman, median", "top 3 in common", "CPU ms a row", "missed before spreading, p50 / p99"),
        [
            ("explain.onnx, one row", f"{ours[0]:.3f}", f"{ours[1]:.2f}", f"{one_ms:.2f}",
             f"{missed['p50']:.2%} / {missed['p99']:.2%}"),
            ("explain.onnx, 8 rows at once", "", "", f"{batched_ms:.2f}", ""),
            (f"{permutations} permutations, again", f"{ceiling[0]:.3f}", f"{ceiling[1]:.2f}", f"{shapley_ms:.0f}", ""),
        ],
        notes=f"Background of {len(background)} rows, {explain.STEPS} steps; values are summed by input column.",
    )  # fmt: skip


def _answer(predictor: Any, target_k: Any) -> Any:
    return lambda x_nf: predictor.run(None, {"x": x_nf})[0] @ target_k


if __name__ == "__main__":
    main()
