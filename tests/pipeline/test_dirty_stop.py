"""The local stack killed with SIGKILL at work, and `tidemill up` again: the run ends without a second upload."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]
LONG = 'family = "mlp"\nepochs = 500\npatience = 500\nmembers = 2\n'
SPEC = f'[data]\ntarget = "income"\n[train]\n{LONG}[search]\nconfigurations = 1\nfolds = 1\n'


class Shell:
    """The command, on a stack of its own."""

    def __init__(self, root: Path, state: Path) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        roots = ["layers/core", "layers/serving", "layers/training", "infra", "functions"]
        self.root, self.state = root, state
        self.environment = {
            **{
                "PATH": os.environ["PATH"],
                "HOME": str(state),
                "TIDEMILL_STATE": str(state),
                "TIDEMILL_PORT": str(port),
            },
            "PYTHONPATH": ":".join(str(root / name) for name in roots),
        }

    def run(self, *arguments: str) -> Any:
        command = [sys.executable, "-m", "tidemill.cli.main", *arguments, "--json"]
        done = subprocess.run(
            command, cwd=self.root, env=self.environment, capture_output=True, text=True, timeout=300, check=False
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout[-1500:]} {done.stderr[-1500:]}"
        return json.loads(done.stdout)

    def kill(self) -> None:
        """End the server as the kernel would when memory is gone."""
        os.kill(json.loads((self.state / "stack.json").read_text())["pid"], signal.SIGKILL)

    def wait(self, model: str, until: Any, patience_s: float = 120) -> dict[str, Any]:
        deadline, last = time.monotonic() + patience_s, {}
        while time.monotonic() < deadline:
            try:
                runs = self.run("runs", model)["runs"]
            except AssertionError:
                runs = []  # the upload has not been seen yet
            if runs:
                last = runs[0]
                if until(last):
                    return last
            time.sleep(0.3)
        raise AssertionError(f"it never came so far: {last}")


@pytest.fixture
def shell(root: Path, tmp_path: Path) -> Iterator[Shell]:
    made = Shell(root, tmp_path / "state")
    made.run("up")
    yield made
    made.run("down")


def is_training(run: dict[str, Any]) -> bool:
    return run["state"] == "RUNNING" and run.get("progress", {}).get("stage") == "training"


def is_over(run: dict[str, Any]) -> bool:
    return run["state"] not in ("RECEIVED", "PREPARED", "SUBMITTED", "RUNNING") and (
        run["state"] != "READY" or "decision" in run
    )


# One moment with every run of the tests, the others with `make test-mill`: each takes a stack, twice.
@pytest.mark.parametrize(
    "moment",
    [
        pytest.param("just uploaded", marks=pytest.mark.slow),
        "training",
        pytest.param("promoted", marks=pytest.mark.slow),
    ],
)
def test_a_killed_stack_loses_nothing(shell: Shell, root: Path, tmp_path: Path, moment: str) -> None:
    spec = tmp_path / "tidemill.toml"
    spec.write_text(SPEC if moment == "training" else SPEC.replace("500", "3"))
    key = shell.run("keys", "create", "--role", "predict", "--name", "kept")
    shell.run("push", str(root / "tests/data/adult-3000.csv"), "--model", "killed", "--spec", str(spec))
    if moment == "training":
        shell.wait("killed", is_training)
    elif moment == "promoted":
        shell.wait("killed", is_over)
    shell.kill()
    shell.run("up")
    run = shell.wait("killed", is_over)
    assert run["state"] == "READY", run
    assert run["decision"]["promoted"], run["decision"]
    runs = shell.run("runs", "killed")["runs"]
    assert [item["run"] for item in runs] == [run["run"]], "one upload, one run"
    (model,) = shell.run("models")["models"]
    assert model["versions"] == 1 and model["champion"] == 1
    assert key["id"] in {item["id"] for item in shell.run("keys", "list")["keys"]}, "keys survive too"
    row = {"age": 39, "workclass": "Private", "fnlwgt": 77516, "education": "HS-grad", "education_num": 9}
    row |= {"marital_status": "Divorced", "occupation": "Sales", "relationship": "Unmarried", "race": "White"}
    row |= {"sex": "Male", "capital_gain": 0, "capital_loss": 0, "hours_per_week": 40, "native_country": "Cuba"}
    assert shell.run("predict", "killed", "--row", json.dumps(row))["version"] == 1
