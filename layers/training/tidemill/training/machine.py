"""What the job runs on and how quick its model is: what costs are worked out from."""

from __future__ import annotations

import json
import statistics
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

METADATA = "http://169.254.169.254/latest/"
LENGTH = 64  # of a text, and of whatever else has a size that changes
WARM, TIMED = 5, 30
_KINDS = {"float": np.float32, "uint8": np.uint8, "int32": np.int32, "int64": np.int64, "double": np.float64}


def machine(environment: Mapping[str, str]) -> dict[str, Any]:
    """The EC2 machine under the job: {"type", "spot"}; empty where there is none to be asked, as on a laptop."""
    if not environment.get("ECS_CONTAINER_METADATA_URI_V4", "").startswith("http://169.254."):
        return {}
    try:
        token = _ask("api/token", method="PUT", header=("x-aws-ec2-metadata-token-ttl-seconds", "60"))
        known = ("x-aws-ec2-metadata-token", token)
        kind, cycle = (_ask(f"meta-data/{name}", header=known) for name in ("instance-type", "instance-life-cycle"))
    except (OSError, ValueError):
        return {}
    return {"type": kind[:32], "spot": cycle == "spot"}


def _ask(path: str, *, header: tuple[str, str], method: str = "GET") -> str:
    request = urllib.request.Request(METADATA + path, headers=dict([header]), method=method)  # noqa: S310 - link-local
    with urllib.request.urlopen(request, timeout=2) as answer:  # noqa: S310
        return str(answer.read(256).decode("ascii"))


def row_ms(folder: Path) -> float:
    """Milliseconds that model.onnx takes for one row on one core, the median of a few; reading the row not counted."""
    from tidemill.training.export.parity import session

    runner = session(folder / "model.onnx")
    row = {item.name: _blank(item) for item in runner.get_inputs()}
    taken = []
    for _ in range(WARM + TIMED):
        began = time.perf_counter()
        runner.run(None, row)
        taken.append(time.perf_counter() - began)
    return round(1000 * statistics.median(taken[WARM:]), 3)


def _blank(item: Any) -> Any:
    """An input of zeros: one row, and a middling length where that is open."""
    kind = item.type.removeprefix("tensor(").removesuffix(")")
    shape = [1 if at == 0 else size if isinstance(size, int) else LENGTH for at, size in enumerate(item.shape)]
    return np.zeros(shape, _KINDS[kind])


def log_stream(environment: Mapping[str, str]) -> str:
    """Where this attempt's log goes: told by the local stack, or worked out from the container's own description."""
    if "TIDEMILL_LOG_STREAM" in environment:
        return environment["TIDEMILL_LOG_STREAM"]
    address = environment.get("ECS_CONTAINER_METADATA_URI_V4", "")
    if not address.startswith("http://169.254."):
        return ""
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:  # noqa: S310 - the container agent's own address
            described = json.load(answer)
        return str(described.get("LogOptions", {}).get("awslogs-stream", ""))
    except (OSError, ValueError):
        return ""
