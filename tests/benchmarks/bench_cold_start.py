"""From spawning the process to its first answer: the Predict function between its floor and the usual way.

    python tests/benchmarks/bench_cold_start.py [starts]

floor  Python, NumPy, ONNX Runtime and the model from the disk, one row
ours   functions/predict.py: key, alias and bundle from the endpoint, one request answered
Mangum the same behind Mangum and a small ASGI app
peer   FastAPI, Mangum and boto3, clients made when the module loads

Target: ours takes at most 1.5 times the CPU time of the floor. The ways take turns, so that all meet the same noise.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import served
from tests.benchmarks.results import record

TARGET = 1.5
TELL = "\nimport time\nprint(json.dumps({'cpu': time.process_time(), 'status': status}), flush=True)\n"
FLOOR = """
import json, os, sys
import numpy as np
import onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = ort.InferenceSession(os.environ["FLOOR_MODEL"], options, providers=["CPUExecutionProvider"])
x = np.zeros((1, session.get_inputs()[0].shape[1]), np.float32)
status = 200 if np.isfinite(session.run(None, {"x": x})[0]).all() else 500
"""
HANDLER = """
import json, sys
from MODULE import handler
context = type("Context", (), {"aws_request_id": "0"})()
status = handler(json.load(open(sys.argv[1])), context)["statusCode"]
"""
WAYS = {
    "floor": FLOOR + TELL,
    "ours": HANDLER.replace("MODULE", "predict") + TELL,
    "Mangum": HANDLER.replace("MODULE", "tests.benchmarks.asgi_door") + TELL,
    "peer": HANDLER.replace("MODULE", "tests.benchmarks.peer_app") + TELL,
}


def main(starts: int) -> None:
    """Start every way in turn and record the table."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = served.make_bundle(folder / "bundle")
        (folder / "event.json").write_text(json.dumps(served.event(rows[:1])))
        with served.endpoint(folder / "bundle") as environment:
            taken = _measure(folder, environment, starts)
    floor = statistics.median(cpu for _, cpu in taken["floor"])
    table = []
    for way, pairs in taken.items():
        walls, cpus = zip(*pairs, strict=True)
        cpu = statistics.median(cpus)
        shown = [statistics.median(walls), min(walls), cpu, min(cpus)]
        table.append([way, len(pairs), *(f"{value * 1000:.0f}" for value in shown), f"{cpu / floor:.2f}"])
    ratio = float(str(table[1][-1]))
    verdict = (
        f"Target: ours at most {TARGET} times the floor; {'met' if ratio <= TARGET else 'MISSED'} with {ratio:.2f}."
    )
    header = ["way", "starts", "wall ms median", "wall ms least", "CPU ms median", "CPU ms least", "times the floor"]
    record("Cold start of the Predict function, spawn to first answer, model of 1 MB", header, table, notes=verdict)


def _measure(folder: Path, environment: dict[str, str], starts: int) -> dict[str, list[tuple[float, float]]]:
    taken: dict[str, list[tuple[float, float]]] = {way: [] for way in WAYS}
    for turn in range(starts + 1):
        for way in WAYS:
            measured = _start(way, folder, environment, turn)
            if turn:  # the first turn writes the .pyc files and fills the cache of the disk
                taken[way].append(measured)
    return taken


def _start(way: str, folder: Path, environment: dict[str, str], turn: int) -> tuple[float, float]:
    """Spawn a fresh interpreter with an empty cache folder; seconds of wall and CPU until its first answer."""
    cache = folder / f"cache-{way}-{turn}"
    cache.mkdir()
    given = {
        **environment,
        "PATH": os.environ["PATH"],
        "PYTHONPATH": os.pathsep.join([str(served.ROOT), str(served.ROOT / "functions")]),
        "TIDEMILL_CACHE_DIR": str(cache),
        "FLOOR_MODEL": str(folder / "bundle" / "model.onnx"),
    }
    command = [sys.executable, "-c", WAYS[way], str(folder / "event.json")]
    started = time.perf_counter()
    with subprocess.Popen(command, env=given, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        told = process.stdout.readline()
        wall = time.perf_counter() - started
    answer = json.loads(told)
    assert answer["status"] == 200, f"{way} answered {answer}"
    return wall, answer["cpu"]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 21)
