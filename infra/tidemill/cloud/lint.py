"""Checks every template as CloudFormation sees it: cfn-lint, checkov and our own rules, against a list of waivers.

`python -m tidemill.cloud.lint` (make lint) fails on a finding nobody explained and on an explanation of nothing.
Checkov lives in an environment of its own, .venv-checkov, which is made on first use.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import tomllib
import venv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.cloud import rules
from tidemill.cloud.expand import ROOT, expand, settle
from tidemill.core.errors import TidemillError

TEMPLATES = ("template.yaml", "infra/batch.yaml", "infra/network.yaml", "infra/alarms.yaml")
WAIVERS = ROOT / "infra" / "waivers.toml"
CHECKOV = ROOT / ".venv-checkov"
CHECKOV_LOCK = ROOT / "infra" / "checkov" / "requirements.txt"
TOOLS = ("cfn-lint", "checkov", "tidemill")


@dataclass(frozen=True, order=True)
class Finding:
    """One complaint: which tool and rule, where (file:resource), and what."""

    tool: str
    rule: str
    place: str
    message: str


@dataclass(frozen=True)
class Waiver:
    """A finding that stays, and why."""

    rule: str
    at: tuple[str, ...]
    reason: str

    @property
    def tool(self) -> str:
        """Whose rule it is."""
        if self.rule.startswith("CKV"):
            return "checkov"
        return "cfn-lint" if re.fullmatch(r"[EWI]\d{4}", self.rule) else "tidemill"


class LintFailed(TidemillError):
    """A check that could not run."""

    code, title = "LINT_FAILED", "The templates cannot be checked"


def findings(paths: Sequence[Path], tools: Iterable[str] = TOOLS) -> list[Finding]:
    """Every finding of the tools in the expanded templates."""
    with tempfile.TemporaryDirectory() as scratch:
        expanded = []
        for path in paths:
            place = Path(scratch) / f"{path.stem}.json"
            place.write_text(json.dumps(expand(path), indent=1))
            expanded.append(place)
        run = {"cfn-lint": cfn_lint, "checkov": checkov, "tidemill": own_rules}
        return sorted({found for tool in tools for found in run[tool](expanded)})


def own_rules(paths: Sequence[Path]) -> list[Finding]:
    """What our own rules say of the templates as deployed to AWS."""
    found = []
    for path in paths:
        for rule, resource, wrong in rules.check(settle(json.loads(path.read_text()))):
            found.append(Finding("tidemill", rule, f"{path.stem}:{resource}", wrong))
    return found


def cfn_lint(paths: Sequence[Path]) -> list[Finding]:
    """What cfn-lint says: property types, allowed values, references, and combinations that fail to deploy."""
    command = [sys.executable, "-c", "from cfnlint.runner import main; main()", "--format", "json", *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.stdout.strip() and done.returncode:
        raise LintFailed(f"cfn-lint gave no answer: {done.stderr.strip()[-300:]}", remedy="Run make install.")
    return [
        Finding("cfn-lint", item["Rule"]["Id"], _place(item), item["Message"])
        for item in json.loads(done.stdout or "[]")
    ]


def _place(item: dict[str, Any]) -> str:
    path = item["Location"].get("Path") or []
    return f"{Path(item['Filename']).stem}:{path[1] if len(path) > 1 and path[0] == 'Resources' else '-'}"


def checkov(paths: Sequence[Path]) -> list[Finding]:
    """What checkov says: known weaknesses of AWS resources. It asks nobody: no platform, no downloads."""
    command = [
        str(_checkov()),
        "--framework",
        "cloudformation",
        "--skip-download",
        "--quiet",
        "--compact",
        "-o",
        "json",
    ]
    command += [part for path in paths for part in ("-f", str(path))]
    calm = {**os.environ, "LOG_LEVEL": "ERROR", "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, capture_output=True, text=True, env=calm, check=False)
    try:
        said = json.loads(done.stdout)
    except ValueError as error:
        raise LintFailed(
            f"checkov gave no answer: {done.stderr.strip()[-300:]}", remedy="Remove .venv-checkov."
        ) from error
    reports = [item for item in (said if isinstance(said, list) else [said]) if "results" in item]
    if sum(item["summary"]["parsing_errors"] for item in reports) or not reports:
        raise LintFailed("checkov could not read every template.", remedy="Look at the expansion for what is odd.")
    return [
        Finding(
            "checkov",
            item["check_id"],
            f"{Path(item['file_path']).stem}:{item['resource'].split('.')[-1]}",
            item["check_name"],
        )
        for report in reports
        for item in report["results"]["failed_checks"]
    ]


def _checkov() -> Path:
    """Checkov's command, in its own environment, made from pinned wheels where it is not there yet."""
    command = CHECKOV / "bin" / "checkov"
    if not command.is_file():
        print("Making .venv-checkov, once; this takes some minutes.", file=sys.stderr)
        venv.create(CHECKOV, with_pip=True, clear=True)
        pip = [
            str(CHECKOV / "bin" / "python"),
            "-m",
            "pip",
            "install",
            "-q",
            "--require-hashes",
            "-r",
            str(CHECKOV_LOCK),
        ]
        done = subprocess.run(pip, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LintFailed(f"checkov cannot be installed: {done.stderr.strip()[-300:]}", remedy="Check the network.")
    return command


def read_waivers(path: Path = WAIVERS) -> list[Waiver]:
    """The waivers of a file; raises LintFailed for one without a rule, a place or a reason of some length."""
    found = []
    for item in tomllib.loads(path.read_text(encoding="utf-8")).get("waiver", []):
        waiver = Waiver(item.get("rule", ""), tuple(item.get("at", ())), " ".join(item.get("reason", "").split()))
        if not waiver.rule or not waiver.at or len(waiver.reason) < 40:
            raise LintFailed(f"The waiver {item} is not complete.", remedy="Give it a rule, places and a reason.")
        found.append(waiver)
    return found


def judge(
    found: Sequence[Finding], waivers: Sequence[Waiver], tools: Iterable[str] = TOOLS
) -> tuple[list[Finding], list[str]]:
    """The findings that nobody explained, and the explanations (of the tools that ran) that explain nothing."""
    allowed = {(waiver.rule, place) for waiver in waivers for place in waiver.at}
    seen = {(item.rule, item.place) for item in found}
    unused = [
        f"{waiver.rule} at {place}"
        for waiver in waivers
        if waiver.tool in set(tools)
        for place in waiver.at
        if (waiver.rule, place) not in seen
    ]
    return [item for item in found if (item.rule, item.place) not in allowed], unused


def table(found: Sequence[Finding], waivers: Sequence[Waiver]) -> str:
    """Findings by rule, with the reason of those that stay."""
    lines = []
    for rule in sorted({(item.tool, item.rule) for item in found}):
        of_rule = [item for item in found if (item.tool, item.rule) == rule]
        waived = {place: waiver.reason for waiver in waivers if waiver.rule == rule[1] for place in waiver.at}
        kept = [item for item in of_rule if item.place in waived]
        if kept:
            places = ", ".join(item.place.removeprefix("template:") for item in kept)
            lines.append(f"waived  {rule[0]:<9}{rule[1]:<12} {places}")
            lines += textwrap.wrap(waived[kept[0].place], 108, initial_indent=" " * 8, subsequent_indent=" " * 8)
        lines += [
            f"WRONG   {rule[0]:<9}{rule[1]:<12} {item.place}: {item.message}" for item in of_rule if item not in kept
        ]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Check, print, judge."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.cloud.lint", description=__doc__)
    parser.add_argument("templates", nargs="*", type=Path, default=[ROOT / name for name in TEMPLATES])
    parser.add_argument("--skip-checkov", action="store_true", help="where it cannot be installed; said in the answer")
    parser.add_argument("--waivers", type=Path, default=WAIVERS)
    options = parser.parse_args(arguments)
    tools = [tool for tool in TOOLS if tool != "checkov" or not options.skip_checkov]
    try:
        waivers = read_waivers(options.waivers)
        found = findings(options.templates, tools)
    except TidemillError as error:
        print(f"{error.message} {error.remedy}", file=sys.stderr)
        return 1
    wrong, unused = judge(found, waivers, tools)
    print(table(found, waivers))
    for line in unused:
        print(f"WRONG   the waiver of {line} explains nothing any more")
    print(f"{', '.join(tools)} over {len(options.templates)} expanded templates: {len(found)} findings,", end=" ")
    print(f"{len(found) - len(wrong)} explained, {len(wrong)} not; {len(unused)} waivers explain nothing.")
    if options.skip_checkov:
        print("checkov was NOT run.")
    return 1 if wrong or unused else 0


if __name__ == "__main__":
    sys.exit(main())
