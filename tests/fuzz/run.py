"""Fuzz one parser, or each in turn, guided by coverage: `make fuzz PARSER=csv MINUTES=15`.

A finding does not end the run: it is written to .build/fuzz/PARSER/findings once for each place it came from, and
the run ends with a list of them. What was learned stays in .build/fuzz/PARSER/corpus for the next run.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import atheris

ROOT = Path(__file__).resolve().parents[2]
CASE_S = 30  # a slower case is a finding
MEMORY_MIB = 2_048  # of the whole process, libraries and what the fuzzer remembers included
LARGEST_BYTES = 64 * 1024

with atheris.instrument_imports(include=["tidemill"]):
    from tests.fuzz.parsers import PARSERS, check
    from tests.fuzz.seeds import seeds


class Run:
    """The cases of one run and what they found."""

    def __init__(self, parser: str, folder: Path) -> None:
        self.parser, self.folder = parser, folder
        self.cases, self.slowest_s = 0, 0.0
        self.found: dict[str, Path] = {}
        self.codes: dict[str, int] = {}

    def one(self, data: bytes) -> None:
        """Try one input."""
        began = time.monotonic()
        try:
            code = check(self.parser, data)
            self.codes[code] = self.codes.get(code, 0) + 1
        except Exception as error:
            self._keep(error, data)
        self.cases += 1
        self.slowest_s = max(self.slowest_s, time.monotonic() - began)

    def _keep(self, error: Exception, data: bytes) -> None:
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "tidemill" in frame.filename]
        place = frames[-1] if frames else traceback.extract_tb(error.__traceback__)[-1]
        name = f"{type(error).__name__}-{Path(place.filename).stem}-{place.lineno}"
        if name not in self.found:
            self.found[name] = self.folder / "findings" / name
            self.found[name].write_bytes(data)
            print(f"FOUND {name}: {str(error)[:200]}", flush=True)

    def told(self) -> str:
        """One line about the run."""
        refusals = ", ".join(f"{code or 'read'} {count:,}" for code, count in sorted(self.codes.items()))
        told = f"{self.parser}: {self.cases:,} cases, slowest {self.slowest_s:.2f} s, {len(self.found)} findings"
        return f"{told} ({refusals})"


def folder_of(parser: str) -> Path:
    """Corpus and findings of a parser, the seeds laid into the corpus."""
    folder = ROOT / ".build/fuzz" / parser
    for part in ("corpus", "findings"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    for seed in seeds(parser):
        (folder / "corpus" / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    return folder


def fuzz(parser: str, seconds: int) -> None:
    """Fuzz one parser in this process, which libFuzzer ends; the last line tells what was found."""
    folder = folder_of(parser)
    run = Run(parser, folder)
    limits = [f"-max_total_time={seconds}", f"-timeout={CASE_S}", f"-rss_limit_mb={MEMORY_MIB}"]
    more = [f"-max_len={LARGEST_BYTES}", f"-artifact_prefix={folder}/findings/", "-verbosity=0", "-print_final_stats=0"]
    deadline = time.monotonic() + seconds

    def one(data: bytes) -> None:
        run.one(data)
        if time.monotonic() > deadline:
            print(run.told(), flush=True)
            os._exit(bool(run.found))  # an exception would be taken for a finding

    atheris.Setup([sys.argv[0], *limits, *more, str(folder / "corpus")], one)
    atheris.Fuzz()


def main() -> int:
    """Fuzz what was asked for; parsers each in a process of its own."""
    parser = argparse.ArgumentParser(prog="tests.fuzz.run")
    parser.add_argument("parser", choices=["all", *PARSERS])
    parser.add_argument("--minutes", type=float, default=15)
    asked = parser.parse_args()
    if asked.parser != "all":
        fuzz(asked.parser, int(asked.minutes * 60))
    ended = {
        name: subprocess.run(
            [sys.executable, "-m", "tests.fuzz.run", name, "--minutes", str(asked.minutes)], cwd=ROOT, check=False
        ).returncode
        for name in PARSERS
    }
    bad = [name for name, status in ended.items() if status]
    print(f"findings in: {', '.join(bad)}" if bad else f"{len(ended)} parsers, nothing found")
    return bool(bad)


if __name__ == "__main__":
    sys.exit(main())
