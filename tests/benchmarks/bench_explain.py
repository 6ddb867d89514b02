"""Explanations of a bundle against sampled Shapley values, and what they cost.

    python tests/benchmarks/bench_explain.py [TABLE.csv TARGET | DATASET_FOLDER] [--rows 50]

Trains (default: tests/data/adult-3000.csv), then explains test rows through explain.onnx alone. The truth is the
Shapley value of every input column of model.onnx, absent columns taken from a background row, by sampled permutations
and their reversals (Mitchell et al. 2022), each with a few background rows drawn anew. It is sampled three times: twice
from the background that stands in explain.onnx, which gives the ceiling, and once from all training rows.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
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

DRAWN = 4  # background rows of a permutation and its reversal


@dataclass(frozen=True)
class Agreement:
    """Rank correlation over columns: median and tenth percentile over rows; share of the three largest in common."""

    median: float
    low: float
    top: float

    @property
    def cells(self) -> tuple[str, str, str]:
        """As a table shows it."""
        return f"{self.median:.3f}", f"{self.low:.3f}", f"{self.top:.2f}"


def shapley(run: Any, x_f: Any, background: Any, owner_f: Any, permutations: int, seed: int) -> Any:
    """The value of every column for one row: mean gain as columns of the row replace the background's, one by one."""
    rng, columns = np.random.default_rng(seed), int(owner_f.max()) + 1
    value_c = np.zeros(columns)
    for _ in range(permutations // 2):
        order = rng.permutation(columns)
        drawn = background[rng.choice(len(background), min(DRAWN, len(background)), replace=False)]
        for way in (order, order[::-1]):
            place = np.empty(columns, int)
            place[way] = np.arange(columns)
            taken = place[owner_f][None] < np.arange(columns + 1)[:, None]  # after s steps, the first s columns
            mixed = np.where(taken[:, None], x_f, drawn).reshape(-1, len(x_f))
            worth = run(mixed.astype(np.float32)).reshape(columns + 1, -1).mean(1)
            value_c[way] += np.diff(worth)
    return value_c / (permutations // 2 * 2)


def agreement(left_nc: Any, right_nc: Any) -> Agreement:
    """How well two explanations of the same rows agree."""
    ranks = [spearmanr(a, b).statistic for a, b in zip(left_nc, right_nc, strict=True)]
    tops = [np.argsort(-np.abs(values), axis=1)[:, :3] for values in (left_nc, right_nc)]
    shared = [len(set(a) & set(b)) / min(3, left_nc.shape[1]) for a, b in zip(*tops, strict=True)]
    return Agreement(float(np.median(ranks)), float(np.quantile(ranks, 0.1)), float(np.mean(shared)))


def milliseconds(step: Callable[[], Any], repeats: int = 50) -> float:
    """Median CPU time of one run."""
    spent = []
    for _ in range(repeats + 5):
        began = time.process_time()
        step()
        spent.append(time.process_time() - began)
    return float(np.median(spent[5:])) * 1e3


def main() -> None:
    """Train, explain, compare, record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", type=Path, default=ROOT / "tests/data/adult-3000.csv")
    parser.add_argument("target", nargs="?", default="income")
    parser.add_argument("--rows", type=int, default=50)
    parser.add_argument("--permutations", type=int, default=400)
    parser.add_argument("--print", action="store_true", help="print the table without adding it to RESULTS.md")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        dataset, bundle, spec = given.table, Path(work) / "bundle", Spec()
        if not given.table.is_dir():
            dataset, spec = Path(work) / "dataset", Spec(data=Data(target=given.target))
            prepare(given.table, given.table.name, spec, dataset, model="bench")
        fit_bundle(dataset, spec, bundle)
        compare(dataset, bundle, given.rows, given.permutations, given.table.name, keep=not given.print)


def compare(dataset: Path, bundle: Path, rows: int, permutations: int, name: str, *, keep: bool) -> None:
    """Explain test rows and hold the explanations to the truth."""
    program = Program.from_json(json.loads((bundle / "features.json").read_text()))
    predictor, explainer = session(bundle / "model.onnx"), session(bundle / "explain.onnx")
    x_nf = program.apply(load_split(dataset, "test")[0])[:rows]
    fitted_nf = program.apply(load_split(dataset, "train")[0])
    background = explain.background(fitted_nf, predictor.run(None, {"x": fitted_nf})[0], seed=0)
    target_nk = explain.targets_of(predictor.run(None, {"x": x_nf})[0])
    blocks = [{"x": x_nf[at : at + 8], "target": target_nk[at : at + 8]} for at in range(0, rows, 8)]
    parts = [explainer.run(None, block) for block in blocks]
    contribution_nf, _, baseline_n = (np.concatenate(part) for part in zip(*parts, strict=True))
    expected_n = target_nk @ predictor.run(None, {"x": background})[0].mean(0)
    assert np.allclose(baseline_n, expected_n, rtol=1e-3), "the background drawn here is not the one in explain.onnx"

    def truth(start: Any, seed: int) -> Any:
        values = [shapley(_answer(predictor, t), x, start, program.owner_f, permutations, seed)
                  for x, t in zip(x_nf, target_nk, strict=True)]  # fmt: skip
        return np.stack(values)

    began = time.process_time()
    same = truth(background, 1)
    shapley_ms = (time.process_time() - began) / rows * 1e3
    ours_nc = contribution_nf @ np.eye(len(program.columns))[program.owner_f]
    one = {"x": x_nf[:1], "target": target_nk[:1]}
    one_ms = milliseconds(lambda: explainer.run(None, one))
    eight_ms = milliseconds(lambda: explainer.run(None, blocks[0]), 20) / len(blocks[0]["x"])
    facts = {part: json.loads((bundle / f"{part}.json").read_text()) for part in ("parity", "search", "card")}
    missed = facts["parity"]["completeness"]["before_spreading"]
    stages = facts["card"]["time"]["stages"]
    record(
        f"Explanations against sampled Shapley values: {name}, {rows} test rows",
        ("way", "truth's background", "Spearman, median", "10th percentile", "top 3 in common", "CPU ms a row"),
        [
            ("explain.onnx", "its own", *agreement(ours_nc, same).cells, f"{one_ms:.2f}"),
            ("explain.onnx, 8 rows at once", "all training rows", *agreement(ours_nc, truth(fitted_nf, 3)).cells,
             f"{eight_ms:.2f}"),
            (f"{permutations} permutations, again", "its own", *agreement(truth(background, 2), same).cells,
             f"{shapley_ms:.0f}"),
        ],
        notes=f"Answers: {', '.join(part['id'] for part in facts['search']['blend'])}; {x_nf.shape[1]} features in "
        f"{len(program.columns)} columns, by which values are summed. {len(background)} background rows. Missed before "
        f"spreading: {missed['p50']:.1%} (median), {missed['p99']:.1%} (99th percentile). Export took "
        f"{stages['exporting']:.1f} s, proof {stages['proving']:.1f} s; explain.onnx has "
        f"{(bundle / 'explain.onnx').stat().st_size / 1e3:.0f} kB, the weights of both graphs "
        f"{(bundle / 'weights.bin').stat().st_size / 1e6:.1f} MB.",
        keep=keep,
    )  # fmt: skip


def _answer(predictor: Any, target_k: Any) -> Any:
    return lambda x_nf: predictor.run(None, {"x": x_nf})[0] @ target_k


if __name__ == "__main__":
    main()
