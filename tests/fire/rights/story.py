"""Run the story's tests on a stack that is listened to, and read what each role did."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fire.rights.policy import Mutant, allows, mutants
from tests.fire.rights.twin import PREFIX

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
TESTS = (
    "pipeline/test_pipeline.py",
    "pipeline/test_scoring.py",
    "pipeline/test_retrain.py",
    "serving/test_monitoring.py::test_predictions_feedback_and_reports_through_the_deployed_doors",
    "serving/test_canary_stack.py",
    "serving/test_app_stack.py",
    "serving/test_modalities_stack.py",
    "fire/test_uploads.py",
    "pipeline/test_roles.py",  # the last: its sweep looks after everything that the others left
)


@dataclass(frozen=True)
class Call:
    """One call that one role made, with the local stack's verdict."""

    role: str
    action: str
    resource: str
    context: str
    allowed: bool

    def passes(self, statements: Any) -> bool:
        """What the judge says of it under these statements."""
        return allows(statements, self.action, self.resource, json.loads(self.context))


@dataclass(frozen=True)
class Story:
    """What was done and with which rights; ended is the exit code of the tests that made the calls."""

    calls: list[Call]
    implied: list[Call]  # which the local stack does not ask about
    policies: dict[str, list[dict[str, Any]]]
    ended: int
    output: str

    def mutants(self) -> list[Mutant]:
        """One right less, for every right of every role."""
        return [mutant for role, statements in self.policies.items() for mutant in mutants(role, statements)]

    def killed(self, mutant: Mutant) -> bool:
        """Whether a call that was allowed is refused."""
        return any(
            call.role == mutant.role and call.allowed and not call.passes(mutant.left)
            for call in (*self.calls, *self.implied)
        )


def tell(folder: Path) -> Story:
    """Run the tests in a process of their own; the calls are told apart by role, action, resource and context."""
    paths = [str(HERE), *os.environ.get("PYTHONPATH", "").split(":")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "recording", "-p", "no:cacheprovider", "-q", "-n", "0"]
        + [f"tests/{name}" for name in TESTS],
        cwd=ROOT,
        env={
            **os.environ,
            **{"RIGHTS": str(folder), "PYTHONPATH": ":".join(filter(None, paths))},
            "FIRE_RECORDS": str(folder / "fire"),  # its cases are counted where they stand for themselves
        },
        capture_output=True, text=True, timeout=900, check=False,
    )  # fmt: skip
    return read(folder, done.returncode, done.stdout[-4000:])


def read(folder: Path, ended: int = 0, output: str = "") -> Story:
    """The story as it was written down; only verdicts on the roles' own policies count."""
    policies = json.loads((folder / "policies.json").read_text())
    calls: dict[tuple[str, ...], Call] = {}
    for line in (folder / "calls.jsonl").read_text().splitlines():
        said = json.loads(line)
        role = re.search(rf"(?:assumed-role/|user/{PREFIX})([^/]+)", said["role"])
        own = "aws:tagkeys" in said["context"]  # without it the judge was asked about a queue's or topic's own policy
        if own and role and role[1] in policies:
            context = json.dumps(said["context"], sort_keys=True)
            call = Call(role[1], said["action"], said["resource"], context, said["allowed"])
            calls.setdefault((call.role, call.action, call.resource, context), call)
    implied = [
        Call(said["role"], said["action"], said["resource"], json.dumps(said["context"]), True)
        for said in json.loads((folder / "implied.json").read_text())
    ]
    return Story(list(calls.values()), implied, policies, ended, output)


def plain(mutant: Mutant) -> str:
    """The mutant's name without what differs between stacks: 'ApiRole ShowResults: bundles/*'."""
    role = mutant.role.split("-")[1]
    statement, _, value = mutant.taken.partition(": ")
    if value.startswith("arn:"):
        value = value.split(":", 5)[5]
        value = re.sub(r"-[0-9A-F]{13}$", "", re.sub(r"^tidemill-(data|artifacts)-[^/]*/", "", value))
    return f"{role} {statement}" + (f": {value}" if value else "")
