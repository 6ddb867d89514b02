"""A worker process as its parent sees it: started with a Python of its own, asked in lines of JSON."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any

HERE = Path(__file__).resolve().parent.parent
LAYERS = [HERE.parents[1] / "layers" / name for name in ("core", "training")]
ONE_THREAD = {
    **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NPROC"), "1"),
    **{"JAX_PLATFORMS": "cpu", "CUDA_VISIBLE_DEVICES": "", "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"},
    "XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false",
}


class Child:
    """One worker; `told` is what it says of itself at the start."""

    def __init__(self, module: str, python: str, **environment: str) -> None:
        kept = {name: value for name, value in os.environ.items() if name != "JAX_COMPILATION_CACHE_DIR"}
        path = ":".join([str(HERE), *map(str, LAYERS), *filter(None, [os.environ.get("PYTHONPATH", "")])])
        self.log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self.process = subprocess.Popen(
            [python, "-m", "searching.worker", module],
            env={**kept, **ONE_THREAD, **environment, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            text=True,
        )
        self.told = self._answer()

    def ask(self, way: str, count: int) -> dict[str, Any]:
        """Have it train configurations; raises SystemExit with the end of its log where it died."""
        assert self.process.stdin is not None
        with suppress(BrokenPipeError):  # what happened stands in the log, and no answer will come
            self.process.stdin.write(json.dumps({"way": way, "count": count}) + "\n")
            self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise SystemExit(f"A worker ended, exit {self.process.wait()}: {self.log.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def __enter__(self) -> Child:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Let it end by itself, unless something went wrong."""
        if kind:
            self.process.kill()
        self.process.communicate()
        self.log.close()
