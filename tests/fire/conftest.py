"""What the tests under fire share: a record of each case, and the one table at the end of `make test-fire`.

A test says `with fire("bad inputs", "csv/001_empty.csv") as case: ...` for every case it runs. What it took is kept in
`.build/fire/`, one file a process, so that workers beside each other can write; the table is printed once, at the end.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(os.environ.get("FIRE_RECORDS") or Path(__file__).resolve().parents[2] / ".build/fire")
Fire = Callable[..., AbstractContextManager["Case"]]


@dataclass
class Case:
    """One case: its area (a line of the table), its name, how many cases it stands for, what it took."""

    area: str
    name: str
    count: int = 1
    passed: bool = False
    seconds: float = 0.0
    memory_bytes: int = 0  # the peak of the process that did the work, where that is not this one
    notes: dict[str, Any] = field(default_factory=dict)


@pytest.fixture
def fire() -> Fire:
    """Record a case of an area: `with fire(area, name, count=1) as case`; it passed if the block ends."""

    @contextmanager
    def record(area: str, name: str, count: int = 1) -> Iterator[Case]:
        case, begun = Case(area, name, count), time.monotonic()
        try:
            yield case
            case.passed = True
        finally:
            case.seconds = case.seconds or time.monotonic() - begun
            case.memory_bytes = case.memory_bytes or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
            FOLDER.mkdir(parents=True, exist_ok=True)
            with (FOLDER / f"{os.getpid()}.jsonl").open("a") as file:
                file.write(json.dumps(case.__dict__) + "\n")

    return record


def pytest_sessionstart(session: pytest.Session) -> None:
    """Forget the run before."""
    if not hasattr(session.config, "workerinput"):
        shutil.rmtree(FOLDER, ignore_errors=True)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The one table: area, cases, passed, worst time, worst memory."""
    cases = [
        Case(**json.loads(line)) for path in sorted(FOLDER.glob("*.jsonl")) for line in path.read_text().splitlines()
    ]
    if not cases or hasattr(config, "workerinput"):
        return
    terminalreporter.section("under fire")
    rows = [("area", "cases", "passed", "worst time", "worst memory", "worst case")]
    for area in sorted({case.area for case in cases}):
        of_area = [case for case in cases if case.area == area]
        slowest = max(of_area, key=lambda case: case.seconds / case.count)
        rows.append(
            (
                area,
                f"{sum(case.count for case in of_area):,}",
                f"{sum(case.count for case in of_area if case.passed):,}",
                f"{slowest.seconds / slowest.count:.1f} s",
                f"{max(case.memory_bytes for case in of_area) / 2**20:.0f} MiB",
                slowest.name,
            )
        )
    widths = [max(len(row[at]) for row in rows) for at in range(6)]
    for row in rows:
        terminalreporter.write_line("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)))
