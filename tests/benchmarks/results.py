"""Writes what a benchmark measured: a table for the eye, and the same table, with its circumstances, to RESULTS.md."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

RESULTS = Path(__file__).parent / "RESULTS.md"
ROOT = Path(__file__).resolve().parents[2]


def record(
    title: str, header: Sequence[str], rows: Sequence[Sequence[object]], *, notes: str = "", keep: bool = True
) -> None:
    """Print a table and, where it is to be kept, append it to RESULTS.md with date, commit, machine and command."""
    lines = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |" for line in lines
    ]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    table = "\n".join(shown)
    print(f"{title}\n{table}\n{notes}")
    if not keep:
        return
    if not RESULTS.exists():
        RESULTS.write_text(
            "# What the benchmarks measured\n\nNewest last; every table is written by the command above it.\n"
        )
    with RESULTS.open("a") as file:
        file.write(f"\n## {title}\n\n{circumstances()}\n\n{table}\n" + (f"\n{notes}\n" if notes else ""))


def circumstances() -> str:
    """When, of which commit, on which machine, by which command."""
    command = " ".join(["python", *map(_shown, sys.argv)])
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, commit {_commit()}, {_processor()}, {os.cpu_count()} CPUs, "
        f"Python {platform.python_version()}, load {load}: `{command}`"
    )


def _shown(argument: str) -> str:
    """An argument as it is; a file or folder by its place in the repository, or without the one it lies in here."""
    path = Path(argument).resolve()
    if not path.exists():
        return argument
    return str(path.relative_to(ROOT)) if path.is_relative_to(ROOT) else f"FOLDER/{path.name}"


def _commit() -> str:
    def git(*arguments: str) -> str:
        return subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()

    changed = (
        " with changes" if git("status", "--porcelain", "--untracked-files=no", "--", "layers", "functions") else ""
    )
    return (git("rev-parse", "--short", "HEAD") or "unknown") + changed


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
