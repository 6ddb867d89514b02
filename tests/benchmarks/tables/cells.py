"""The cells of the comparison (a set, a seed, a model), each run in a process of its own and kept as one line.

A cell is done when the file of results holds it for the same rows, and for Tidemill the same code.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent.parent
ROOT = HERE.parents[1]
ROOTS = [ROOT / "layers" / name for name in ("core", "serving", "training")]
OURS = "tidemill"

# What decides Tidemill's answers to given rows; the rows themselves have a digest of their own.
CODE = (
    "layers/training/tidemill/training",
    "layers/core/tidemill/core/features",
    "layers/core/tidemill/core/outputs*",
    "layers/core/tidemill/core/metrics.py",
    "layers/serving/tidemill/serving/predictor.py",
)
TOLD_ONLY = "layers/training/tidemill/training/card"  # decides what is told of a model, not the model
DIVIDING = ("layers/core/tidemill/core/prepare", "layers/core/tidemill/core/readers")
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1"),
    **{"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"},
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


@dataclass(frozen=True, order=True)
class Cell:
    """One model on one set under one seed."""

    seed: int
    set: str
    model: str


@dataclass
class Results:
    """The file of results: one JSON object a line, the newest of a cell counts."""

    path: Path
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> list[dict[str, Any]]:
        """Every line; the torn last line of a run that was killed is left out."""
        found = []
        for line in self.path.read_text().splitlines() if self.path.exists() else []:
            try:
                found.append(json.loads(line))
            except ValueError:
                continue
        return found

    def add(self, row: dict[str, Any]) -> None:
        """Append a line at once, and not to a torn one."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.lock, self.path.open("a+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 1))
            torn = file.read(1) not in (b"", b"\n")
            file.write(b"\n" * torn + json.dumps(row).encode() + b"\n")

    def done(self, wanted: dict[str, Any]) -> bool:
        """Whether a result with these facts stands there: set, seed, model, rows, and Tidemill's code and settings."""
        return any(
            "error" in row and all(row.get(key) == value for key, value in wanted.items()) for row in self.read()
        )


def code_of(patterns: Iterable[str], but: str = "") -> str:
    """A digest of the Python files that the patterns name, and of those in the folders they name, but one folder's."""
    found = hashlib.sha256()
    for path in (path for pattern in patterns for path in sorted(ROOT.glob(pattern))):
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            if not but or ROOT / but not in file.parents:
                found.update(f"{file.relative_to(ROOT)}\n".encode() + file.read_bytes())
    return found.hexdigest()[:12]


class Datasets:
    """Dataset folders by set and seed, made when first asked for and kept while the code that makes them is kept."""

    def __init__(self, source: Path, folder: Path, python: str, package: str = "tables") -> None:
        self.source, self.folder, self.python, self.package = source, folder, python, package
        self.code = code_of((*DIVIDING, f"tests/benchmarks/{package}/sets.py"))
        self.lock = threading.Lock()

    def of(self, name: str, seed: int) -> tuple[Path, str]:
        """The folder, and the digest of its rows."""
        out = self.folder / f"{name}-{seed}-{self.code}"
        told = out.with_suffix(".rows")
        with self.lock:
            if not told.exists():
                out.mkdir(parents=True, exist_ok=True)
                for leftover in out.iterdir():
                    leftover.unlink()
                command = [self.python, "-m", f"{self.package}.dividing", str(self.source / name), str(seed), str(out)]
                made = subprocess.run(command, env=environment(), capture_output=True, text=True, check=False)
                if made.returncode:
                    raise SystemExit(f"{name}: {made.stderr[-2000:]}")
                told.write_text(made.stdout.strip())
        return out, told.read_text()


def environment() -> dict[str, str]:
    """One thread, a cold compiler, and Tidemill's folders on the path, whichever Python it is."""
    path = ":".join([str(HERE), *map(str, ROOTS), *filter(None, [os.environ.get("PYTHONPATH", "")])])
    kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
    return {**kept, **ONE_THREAD, "PYTHONPATH": path}


def run(
    cell: Cell, python: str, dataset: Path, options: list[str], timeout_s: float, package: str = "tables"
) -> dict[str, Any]:
    """Run a cell; `options` go to the worker.

    Gives its scores with the seconds and memory of the whole process, or what went wrong as `failed`.
    """
    with tempfile.TemporaryDirectory() as folder:
        out, log = Path(folder) / "out.json", Path(folder) / "log"
        command = [python, "-m", f"{package}.worker", cell.model, str(dataset), str(out)]
        with log.open("w") as file:
            began = time.monotonic()
            child = subprocess.Popen(
                [*command, "--seed", str(cell.seed), *options],
                env=environment(),
                stdout=file,
                stderr=file,
                cwd=folder,
            )
            watch = threading.Timer(timeout_s, child.kill)
            watch.start()
            try:
                _, status, used = os.wait4(child.pid, 0)
            finally:
                watch.cancel()
            child.returncode = os.waitstatus_to_exitcode(status)
        spent = {
            "cpu_s": round(used.ru_utime + used.ru_stime, 3),
            "wall_s": round(time.monotonic() - began, 3),
            "memory_mib": round(used.ru_maxrss / (1024 if sys.platform == "linux" else 1 << 20), 1),
        }
        if child.returncode or not out.exists():
            return {"failed": f"exit {child.returncode}: {log.read_text()[-1500:]}", **spent}
        return {**json.loads(out.read_text()), **spent}
