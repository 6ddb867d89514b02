"""From an upload to its first prediction, on a local stack of its own with nothing compiled before.

    python tests/benchmarks/bench_upload.py FILE.csv --target COLUMN      the first 5,000 rows, default settings

The way is the user's: `tidemill push --wait`, then `tidemill predict`. The stage times are those that push shows.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from results import ROOT, record


def tidemill(environment: dict[str, str], *arguments: str) -> str:
    """Run a command of the CLI; what it printed. Ends the benchmark where the command fails."""
    command = [sys.executable, "-m", "tidemill.cli.main", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"tidemill {' '.join(arguments)}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout


def measured(table: Path, one: Path, target: str, state: Path) -> tuple[dict[str, float | None], float]:
    """Seconds of each stage, and of the whole way."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "TIDEMILL_STATE": str(state), "TIDEMILL_PORT": str(port)}
    environment.pop("JAX_COMPILATION_CACHE_DIR", None)
    tidemill(environment, "up")
    try:
        began = time.monotonic()
        said = json.loads(
            tidemill(environment, "push", str(table), "--model", "upload", "--target", target, "--wait", "--json")
        )
        tidemill(environment, "predict", "upload", "--file", str(one))
        return said["times_s"], time.monotonic() - began
    finally:
        tidemill(environment, "down")


def main() -> None:
    """Measure, print and append the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--target", required=True)
    parser.add_argument("--rows", type=int, default=5_000)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, wanted.file.open() as file:
        table, one = Path(folder) / wanted.file.name, Path(folder) / "one.csv"
        lines = list(itertools.islice(file, wanted.rows + 1))
        table.write_text("".join(lines))
        one.write_text("".join(lines[:2]))
        stages, seconds = measured(table, one, wanted.target, Path(folder) / "stack")
    rows = [*stages.items(), ("upload to first prediction", seconds)]
    title = f"Upload to first prediction: {len(lines) - 1:,} rows of {wanted.file.parent.name}, default settings"
    record(title, ["stage", "seconds"], [[name, f"{value:.1f}"] for name, value in rows if value is not None])


if __name__ == "__main__":
    main()
