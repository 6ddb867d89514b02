"""The README's commands, run top to bottom as a stranger would, on a stack of their own."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


def commands(readme: str) -> list[str]:
    """Every line of every bash block."""
    blocks = re.findall(r"^```bash\n(.*?)^```", readme, flags=re.M | re.S)
    return [line for block in blocks for line in block.splitlines() if line.strip() and not line.startswith("#")]


@pytest.fixture(scope="module")
def shell(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a stranger's shell, with the command on its path; the stack is taken down afterwards."""
    scripts = tmp_path_factory.mktemp("bin")
    command = scripts / "tidemill"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m tidemill.cli.main "$@"\n')
    command.chmod(0o755)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    roots = ["layers/core", "layers/serving", "layers/training", "infra", "functions"]
    environment = {
        **{"PATH": f"{scripts}:{os.environ['PATH']}", "HOME": os.environ.get("HOME", "/"), "TERM": "dumb"},
        **{"TIDEMILL_STATE": str(tmp_path_factory.mktemp("readme")), "TIDEMILL_PORT": str(port)},
        "PYTHONPATH": ":".join(str(root / name) for name in roots),
        "JAX_COMPILATION_CACHE_DIR": os.environ["JAX_COMPILATION_CACHE_DIR"],  # as all tests have it
    }
    yield environment
    subprocess.run(["tidemill", "down"], cwd=root, env=environment, check=False, capture_output=True)


def test_every_command_of_the_readme_runs(root: Path, shell: dict[str, str]) -> None:
    lines = commands((root / "README.md").read_text())
    assert len(lines) >= 8 and lines[0] == "make demo"
    assert "make demo" in (root / ".ci/run").read_text().splitlines(), "CI runs it by itself: it trains as long again"
    for line in lines[1:]:
        done = subprocess.run(["bash", "-c", line], cwd=root, env=shell, capture_output=True, text=True, timeout=400)
        assert done.returncode == 0, f"$ {line}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
        if line.startswith("curl"):
            assert "problem" not in done.stdout and json.loads(done.stdout), done.stdout
        if line.startswith("tidemill keys create"):
            shell["TIDEMILL_KEY_MADE"] = json.loads(done.stdout)["key"]
            status = subprocess.run(
                ["tidemill", "status", "--json"], cwd=root, env=shell, capture_output=True, text=True, check=True
            )
            shell.update(TIDEMILL_URL=json.loads(status.stdout)["url"], TIDEMILL_KEY=shell["TIDEMILL_KEY_MADE"])
    for name in ("TIDEMILL_URL", "TIDEMILL_KEY"):
        shell.pop(name, None)


def test_every_file_and_command_the_readme_names_exists(root: Path) -> None:
    readme = (root / "README.md").read_text()
    for path in re.findall(r"`((?:tests|infra|layers|functions)/[\w./-]+)`", readme):
        assert (root / path).exists(), path
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", readme):
        assert (root / link).exists(), link
    targets = set(re.findall(r"^([a-z]+):", (root / "Makefile").read_text(), flags=re.M))
    for target in re.findall(r"`make ([a-z]+)`", readme):
        assert target in targets, target
    from tidemill.cli.main import main

    for name in re.findall(r"`tidemill ([a-z]+)", readme):
        assert name in main.commands or name in ("help",), name  # type: ignore[attr-defined]


def test_the_specification_in_the_readme_is_one(root: Path) -> None:
    from tidemill.core.spec import Spec

    (text,) = re.findall(r"^```toml\n(.*?)^```", (root / "README.md").read_text(), flags=re.M | re.S)
    assert set(Spec.from_toml(text).to_json()) == set(re.findall(r"^\[(\w+)\]", text, flags=re.M)), "all sections"


def test_figures_in_the_readme_come_from_the_results(root: Path) -> None:
    """Each figure row in the README's table names its benchmark; the figure stands in RESULTS.md."""
    readme = (root / "README.md").read_text()
    results = (root / "tests/benchmarks/RESULTS.md").read_text()
    rows = re.findall(r"^\| [^|]+ \| ([^|]+) \| `(bench_\w+)` \|$", readme, flags=re.M)
    assert rows, "the README quotes no figure"
    for figure, benchmark in rows:
        assert benchmark in results, benchmark
        for number in re.findall(r"\d[\d,]*\.?\d*", figure):
            assert number in results, f"{number} of {benchmark} is not in RESULTS.md"
