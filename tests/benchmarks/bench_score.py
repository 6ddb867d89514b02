"""Rows a second and memory of scoring a large CSV, beside pandas and ONNX Runtime called directly. Target: as fast.

The peer is what one would write by hand: read_csv, the features in NumPy, one session with one thread, to_csv; it holds
the whole table in memory. Ours checks every cell, sets rows aside, writes parts that survive a kill and hashes all of
it. Both make the same predictions, which is checked. Each run is a process of its own, in turn.

python tests/benchmarks/bench_score.py [rows] [turns]
"""

from __future__ import annotations

import csv
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = os.environ["ARROW_NUM_THREADS"] = "1"
ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

TARGET = 1.0  # of the peer's rows per second of CPU
BATCH = 65_536  # rows a run of the peer's session


def main(rows: int, turns: int) -> None:
    """Measure both in turn, and ours on a quarter of the rows, and record the table."""
    from tests.benchmarks import served
    from tests.benchmarks.results import record

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        served.make_bundle(folder / "bundle")
        sizes = {"whole": rows, "quarter": rows // 4}
        for size, count in sizes.items():
            make_file(folder / f"{size}.csv", count)
        runs: dict[tuple[str, str], list[dict[str, float]]] = {}
        for _ in range(turns):
            for way, size in (("ours", "whole"), ("pandas", "whole"), ("ours", "quarter"), ("pandas", "quarter")):
                runs.setdefault((way, size), []).append(child(folder, way, size))
        check_equal(folder)
    table = [_shown(way, sizes[size], taken) for (way, size), taken in runs.items()]
    ratio = _rate(runs["ours", "whole"], rows) / _rate(runs["pandas", "whole"], rows)
    grown = _peak(runs["ours", "whole"]) - _peak(runs["ours", "quarter"])
    verdict = "met" if ratio >= TARGET else "MISSED"
    notes = (
        f"Rows a CPU second, ours over pandas: {ratio:.2f} (ratio of medians; target {TARGET}: {verdict}). "
        f"Four times the rows take {grown:+.0f} MB of memory."
    )
    header = ["way", "rows", "runs", "rows per CPU second", "rows per second", "peak memory, MB"]
    record(f"Scoring {rows:,} rows of CSV", header, table, notes=notes)


def _rate(taken: list[dict[str, float]], rows: int, clock: str = "cpu_s") -> float:
    return rows / statistics.median(run[clock] for run in taken)


def _peak(taken: list[dict[str, float]]) -> float:
    return statistics.median(run["peak_mb"] for run in taken)


def _shown(way: str, rows: int, taken: list[dict[str, float]]) -> list[Any]:
    name = "Tidemill, part by part" if way == "ours" else "pandas and ONNX Runtime, by hand"
    rates = [f"{_rate(taken, rows, clock):,.0f}" for clock in ("cpu_s", "wall_s")]
    return [name, f"{rows:,}", len(taken), *rates, f"{_peak(taken):.0f}"]


def make_file(path: Path, rows: int) -> None:
    """Rows drawn from the adult sample, each with a number of its own."""
    draw = random.Random(rows)
    with (ROOT / "tests/data/adult-3000.csv").open(newline="") as file:
        names, *records = list(csv.reader(file))
    with path.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["id", *names[:-1]])
        for number in range(rows):
            record = records[draw.randrange(len(records))]
            writer.writerow([f"c{number}", *record[:-1]])


def child(folder: Path, way: str, size: str) -> dict[str, float]:
    """One run in a process of its own: CPU and wall seconds of the work, and the peak of its memory."""
    command = [sys.executable, __file__, "--child", way, str(folder), size]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    found: dict[str, float] = json.loads(ended.stdout.splitlines()[-1])
    return found


def run(way: str, folder: Path, size: str) -> None:
    """The child's work; imports and the opening of the model are not counted."""
    work = {"ours": ours, "pandas": by_hand}[way](folder, size)
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    taken = {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall}
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({**taken, "peak_mb": peak_mb}))


def ours(folder: Path, size: str) -> Any:
    """What Score does with a file, its bucket a folder."""
    from tests.benchmarks import served
    from tests.doubles.disk import DiskS3

    from tidemill.core.scoring.inputs import Reader
    from tidemill.core.storage import Storage
    from tidemill.serving.predictor import Predictor
    from tidemill.serving.scoring_parts import Model, Parts, join, write_parts

    predictor = Predictor.load(folder / "bundle")
    scorer = Model(1, predictor, Reader.of(predictor.program, served.adult()[1]))
    place = Path(tempfile.mkdtemp(dir=folder))
    parts = Parts(Storage("artifacts", DiskS3(place)), "parts/adult/s-1/")

    def work() -> None:
        done = write_parts(folder / f"{size}.csv", f"{size}.csv", scorer, parts, lambda _: None)
        join(parts, done, "results/", place)
        (place / "artifacts/results/predictions.csv").replace(folder / f"ours-{size}.csv")

    return work


def by_hand(folder: Path, size: str) -> Any:
    """The same with pandas: whole columns in memory."""
    import numpy as np
    import pandas as pd

    from tidemill.core import features
    from tidemill.core.features.kinds import CLIP, Category, signed_log1p
    from tidemill.serving.session import open_session

    program, session = features.load(folder / "bundle"), open_session(folder / "bundle/model.onnx")

    def work() -> None:
        frame = pd.read_csv(folder / f"{size}.csv", na_values=["?"], keep_default_na=True)
        x_nf = np.zeros((len(frame), program.width), np.float32)
        start, every = 0, np.arange(len(frame))
        for column in program.inputs:
            cells, width = frame[column.name], len(column.features())
            if isinstance(column, Category):
                code_n = pd.Categorical(cells, categories=list(column.levels)).codes.astype(np.int64)
                other = len(column.levels) if column.other else -1
                missing = len(column.levels) + column.other if column.missing else other
                code_n = np.where(cells.isna(), missing, np.where(code_n < 0, other, code_n))
                x_nf[every[code_n >= 0], start + code_n[code_n >= 0]] = 1.0
            else:
                value_n = cells.to_numpy(np.float64)
                filled_n = np.where(np.isnan(value_n), column.median, value_n)
                filled_n = signed_log1p(filled_n) if column.log1p else filled_n
                if column.scale > 0:
                    x_nf[:, start] = np.clip((filled_n - column.mean) / column.scale, -CLIP, CLIP)
                if column.flag:
                    x_nf[:, start + width - 1] = np.isnan(value_n)
            start += width
        batches = [session.run(None, {"x": x_nf[at : at + BATCH]})[0] for at in range(0, len(x_nf), BATCH)]
        score_nk = np.round(np.concatenate(batches).astype(np.float64), 7)
        labels = np.array(["<=50K", ">50K"])
        told = {"row": every + 2, "id": frame["id"], "version": 1, "label": labels[score_nk.argmax(1)]}
        told |= {f"probability:{label}": score_nk[:, k] for k, label in enumerate(labels)}
        pd.DataFrame(told).to_csv(folder / f"pandas-{size}.csv", index=False)

    return work


def check_equal(folder: Path) -> None:
    """Both ways say the same of every row, or the comparison is worth nothing."""
    import numpy as np
    import pandas as pd

    ours, theirs = (pd.read_csv(folder / f"{way}-whole.csv") for way in ("ours", "pandas"))
    assert list(ours.columns) == list(theirs.columns) and len(ours) == len(theirs)
    assert (ours["id"] == theirs["id"]).all() and (ours["row"] == theirs["row"]).all()
    np.testing.assert_allclose(ours["probability:>50K"], theirs["probability:>50K"], atol=2e-6)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        run(sys.argv[2], Path(sys.argv[3]), sys.argv[4])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
