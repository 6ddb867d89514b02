"""What a prediction and an explanation cost for trained bundles of tables, pictures and texts: CPU, cold start, memory.

    python tests/benchmarks/bench_modalities.py BUNDLE_FOLDER... [--requests 40] [--record]

Every bundle answers its own test rows, one a request, through the Predict function in a fresh process: its first answer
is the cold start (spawn included), the others are warm. The memory is the most the process ever held.
"""

from __future__ import annotations

import argparse
import base64
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import served
from tests.benchmarks.results import record

from tidemill.core import holdout

MEMORY_MIB = 1769  # of the Predict function: template.yaml
CHILD = """
import json, resource, sys, time
import predict
events = json.load(open(sys.argv[1]))
told = {}
for verb, asked in events.items():
    told[verb] = []
    for event in asked:
        started = time.process_time()
        answer = predict.handler(event, None)
        told[verb].append(time.process_time() - started)
        assert answer["statusCode"] == 200, answer["body"]
        if "first" not in told:
            told["first"] = time.process_time()
    told[verb + " MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
print(json.dumps(told), flush=True)
"""


def main(folders: Sequence[Path], requests: int, keep: bool) -> None:
    """Measure every bundle and show, and where it is asked for record, the table."""
    names = [folder.parent.name if folder.name == "bundle" else folder.name for folder in folders]
    rows = [[name, *_measured(folder, requests)] for name, folder in zip(names, folders, strict=True)]
    header = ["bundle", "reads", "files MB", "requests", "cold start CPU ms", "predict ms, median", "p90"]
    header += ["explain ms, median", "p90", "MiB after predicting", "after explaining", "fits"]
    notes = f"CPU of one request of one row, warm. A bundle fits where its most memory is below {MEMORY_MIB} MB."
    record("Predict and explain by modality", header, rows, notes=notes, keep=keep)


def _measured(folder: Path, requests: int) -> list[str]:
    columns, _ = holdout.load(folder / "holdout.npz")
    rows = [_row(columns, place) for place in range(min(requests, len(next(iter(columns.values())))))]
    events = {verb: [served.event([row], verb) for row in rows] for verb in ("predict", "explain")}
    with tempfile.TemporaryDirectory() as scratch, served.endpoint(folder) as environment:
        told = _run(events, Path(scratch), environment)
    size = sum((folder / name).stat().st_size for name in ("model.onnx", "weights.bin") if (folder / name).is_file())
    features = json.loads((folder / "features.json").read_text())
    shown = [features.get("modality", "table"), f"{size / 1e6:.1f}", str(len(rows)), f"{told['first'] * 1e3:.0f}"]
    for verb in ("predict", "explain"):
        warm = told[verb][1:]
        shown += [f"{statistics.median(warm) * 1e3:.2f}", f"{statistics.quantiles(warm, n=10)[-1] * 1e3:.2f}"]
    memory = [told["predict MiB"], told["explain MiB"]]
    return [*shown, *(f"{value:.0f}" for value in memory), "yes" if max(memory) < MEMORY_MIB else "NO"]


def _row(columns: dict[str, Any], place: int) -> dict[str, Any]:
    """A test row as a client sends it."""
    row = {}
    for name, values in columns.items():
        value = values[place]
        if isinstance(value, bytes):
            value = base64.b64encode(value).decode()
        elif isinstance(value, float):
            value = None if math.isnan(value) else float(value)
        row[name] = value
    return row


def _run(events: dict[str, Any], scratch: Path, environment: dict[str, str]) -> dict[str, Any]:
    """Answer the events in a fresh process with an empty cache."""
    (scratch / "events.json").write_text(json.dumps(events))
    roots = [str(served.ROOT), str(served.ROOT / "functions"), os.environ.get("PYTHONPATH", "")]
    given = {
        **environment,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join(roots),
        "TIDEMILL_CACHE_DIR": str(scratch / "cache"),
    }
    command = [sys.executable, "-c", CHILD, str(scratch / "events.json")]
    done = subprocess.run(command, env=given, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    told: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return told


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", metavar="BUNDLE_FOLDER")
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--record", action="store_true", help="append the table to RESULTS.md")
    options = parser.parse_args()
    main(options.folders, options.requests, options.record)
