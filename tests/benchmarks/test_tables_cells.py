"""A comparison that was stopped goes on where it stood, and of large sets all models learn from the same few rows."""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path
from types import ModuleType

import pytest
from tests.benchmarks.tables import cells
from tests.benchmarks.tables.cells import CODE, TOLD_ONLY, Cell, Results, code_of
from tests.benchmarks.tables.sets import TARGETS, source_of, target_of

from tidemill.core.prepare import load_split

FACTS = {"set": "titanic", "seed": 0, "model": "linear", "rows": "r1"}


@pytest.fixture
def dividing(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """How sets are divided, as the benchmark's processes see it: with its own folder on the path."""
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    return importlib.import_module("tables.dividing")


@pytest.fixture
def results(tmp_path: Path) -> Results:
    return Results(tmp_path / "deep" / "results.jsonl")


def test_a_result_is_done_for_its_rows_code_and_settings_only(results: Results) -> None:
    results.add({**FACTS, "code": "c1", "error": 0.5})
    assert results.done(FACTS)
    assert results.done({**FACTS, "code": "c1"})
    assert not results.done({**FACTS, "code": "c2"})
    assert not results.done({**FACTS, "rows": "r2"})


def test_a_failed_cell_is_run_again(results: Results) -> None:
    results.add({**FACTS, "failed": "exit 1"})
    assert not results.done(FACTS)


def test_the_torn_line_of_a_killed_run_costs_that_line_only(results: Results) -> None:
    results.add({**FACTS, "error": 0.5})
    with results.path.open("a") as file:
        file.write('{"set": "tit')
    assert len(results.read()) == 1
    results.add({**FACTS, "error": 0.4})
    assert [row["error"] for row in results.read()] == [0.5, 0.4]


def test_the_code_of_a_model_is_its_training_not_its_card(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, without = code_of(CODE), code_of(CODE, TOLD_ONLY)
    assert whole != without
    for pattern in (*CODE, TOLD_ONLY):
        assert pattern.endswith("*") or (root / pattern).exists(), pattern


def python_that(tmp_path: Path, line: str) -> str:
    """An executable that is given the place of a Python."""
    path = tmp_path / "python"
    path.write_text(f"#!{sys.executable}\nimport os, sys, json\nout = sys.argv[5]\n{line}\n")
    path.chmod(0o755)
    return str(path)


def test_a_cell_gives_what_its_process_wrote_and_used(tmp_path: Path) -> None:
    python = python_that(tmp_path, 'open(out, "w").write(json.dumps({"error": 0.5, "seen": sys.argv[3:]}))')
    found = cells.run(Cell(3, "titanic", "linear"), python, tmp_path, ["--limit", "9"], 60)
    assert found["error"] == 0.5
    assert found["seen"][0] == "linear"
    assert found["seen"][3:] == ["--seed", "3", "--limit", "9"]
    assert found["cpu_s"] > 0
    assert 1 < found["memory_mib"] < 4_000


@pytest.mark.parametrize(
    ("line", "timeout_s", "told"),
    [
        ('sys.exit("no such column")', 60, "no such column"),
        ("pass", 60, "exit 0"),
        (f"os.kill(os.getpid(), {int(signal.SIGKILL)})", 60, "exit -9"),
        ("import time; time.sleep(60)", 0.2, "exit -9"),
    ],
)
def test_a_cell_that_ends_without_a_result_is_told_as_failed(
    tmp_path: Path, line: str, timeout_s: float, told: str
) -> None:
    found = cells.run(Cell(0, "titanic", "linear"), python_that(tmp_path, line), tmp_path, [], timeout_s)
    assert told in found["failed"]
    assert "error" not in found


def test_every_cell_starts_with_a_cold_compiler_and_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "/somewhere")
    given = cells.environment()
    assert "JAX_COMPILATION_CACHE_DIR" not in given
    assert given["OMP_NUM_THREADS"] == "1"
    assert str(cells.HERE) in given["PYTHONPATH"].split(os.pathsep)


def test_a_large_set_is_learned_from_in_part_and_tested_on_half_of_its_rows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dividing: ModuleType
) -> None:
    folder = tmp_path / "numbers"
    folder.mkdir()
    (folder / "meta.json").write_text('{"target": "y"}')
    (folder / "data.csv").write_text("x,y\n" + "".join(f"{n},{'ab'[n % 2]}\n" for n in range(900)))
    monkeypatch.setattr(importlib.import_module("tables.sets"), "LARGEST", 899)
    monkeypatch.setattr(dividing, "LEARNED", {"train": 100, "validation": 20})

    def rows(seed: int, turn: int) -> dict[str, set[float]]:
        out = tmp_path / f"{seed}-{turn}"
        dividing.divide(folder, seed, out)
        return {part: set(load_split(out, part)[0]["x"].tolist()) for part in ("train", "validation", "test")}

    first, again, other = rows(0, 0), rows(0, 1), rows(1, 0)
    assert first == again
    assert [len(first["train"]), len(first["validation"])] == [100, 20]
    assert 400 < len(first["test"]) < 500
    assert not first["train"] & first["test"]
    assert len(first["train"] & other["train"]) < 50
    monkeypatch.setattr(importlib.import_module("tables.sets"), "LARGEST", 900)
    whole = rows(0, 2)
    assert sum(map(len, whole.values())) == 900
    assert len(whole["test"]) < 200


def test_the_target_is_what_the_set_says_else_what_the_table_says(tmp_path: Path) -> None:
    folder = tmp_path / "titanic"
    folder.mkdir()
    assert target_of(folder) == TARGETS["titanic"]
    (folder / "meta.json").write_text('{"target": "age"}')
    assert target_of(folder) == "age"
    with pytest.raises(SystemExit, match=r"neither data\.csv nor train\.csv"):
        source_of(folder)
    (folder / "train.csv").write_text("")
    assert source_of(folder).name == "train.csv"
