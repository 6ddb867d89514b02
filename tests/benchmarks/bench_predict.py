"""CPU time of one warm request through the Predict function. Target: at most 300 us for one row.

python tests/benchmarks/bench_predict.py [requests]
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from tests.benchmarks import served
from tests.benchmarks.results import record

TARGET_US = 300
BLOCK = 100  # requests in a row before the next way has its turn, so that all meet the same noise


def cpu_us(call: Callable[[], Any]) -> float:
    """The CPU time of one call."""
    started = time.process_time_ns()
    call()
    return (time.process_time_ns() - started) / 1000


def main(requests: int) -> None:
    """Measure every way in turn and record the table."""
    with tempfile.TemporaryDirectory() as folder:
        rows = served.make_bundle(Path(folder) / "bundle")
        with served.endpoint(Path(folder) / "bundle") as environment:
            os.environ.update(environment, TIDEMILL_CACHE_DIR=f"{folder}/cache")
            ways = _ways(rows)
            taken = _measure(ways, requests)
    table = [[name, len(us), *(f"{v:.0f}" for v in _shown(us))] for name, us in taken.items()]
    one = statistics.median(taken["1 row, plain handler"])
    verdict = f"Target for one row: {TARGET_US} us; {'met' if one <= TARGET_US else 'MISSED'} with {one:.0f} us."
    header = ["request", "measured", "median us", "p90 us", "p99 us"]
    record("CPU time of a warm predict request", header, table, notes=verdict)


def _ways(rows: list[dict[str, Any]]) -> dict[str, Callable[[], Any]]:
    """The function, the same behind Mangum, and the parts of which the function is made."""
    from tests.benchmarks import asgi_door

    import predict
    from tidemill.serving import payloads
    from tidemill.serving.predictor import Predictor

    sys.stderr = Path(os.devnull).open("w", buffering=1)  # noqa: SIM115 - the log lines, for as long as the process lives
    one, hundred, thousand = (served.event(rows[:n]) for n in (1, 100, 1000))
    context = type("Context", (), {"aws_request_id": "0"})()
    answer = predict.handler(one, context)
    assert answer["statusCode"] == 200, answer
    assert json.loads(asgi_door.handler(one, context)["body"]) == json.loads(answer["body"])
    predictor = Predictor.load(next(Path(os.environ["TIDEMILL_CACHE_DIR"]).iterdir()))
    x_nf = predictor.program.x_of_rows(rows[:1])
    return {
        "1 row, plain handler": lambda: predict.handler(one, context),
        "1 row, Mangum and an ASGI app": lambda: asgi_door.handler(one, context),
        "100 rows, plain handler": lambda: predict.handler(hundred, context),
        "1,000 rows, plain handler": lambda: predict.handler(thousand, context),
        "part: body to rows": lambda: payloads.read(one["body"].encode(), "predict"),
        "part: row to features": lambda: predictor.program.x_of_rows(rows[:1]),
        "part: ONNX Runtime": lambda: predictor.session.run(None, {"x": x_nf}),
    }


def _measure(ways: dict[str, Callable[[], Any]], requests: int) -> dict[str, list[float]]:
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for call in ways.values():
        call()
    while any(len(us) < _wanted(name, requests) for name, us in taken.items()):
        for name, call in ways.items():
            if len(taken[name]) < _wanted(name, requests):
                taken[name] += [cpu_us(call) for _ in range(min(BLOCK, _wanted(name, requests)))]
    return taken


def _wanted(name: str, requests: int) -> int:
    return requests // 50 if "1,000" in name else requests // 10 if "100 " in name else requests


def _shown(us: list[float]) -> tuple[float, float, float]:
    cuts = statistics.quantiles(us, n=100)
    return statistics.median(us), cuts[89], cuts[98]


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6000)
