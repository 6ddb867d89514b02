"""Builds every layer as for AWS, measures each function with its layers, and imports each handler under exactly those.

`python -m tidemill.cloud.sizes` (make sizes) fails where a function is over Lambda's limit or an import is missing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidemill.cloud import layers, probe
from tidemill.cloud.expand import ROOT, read
from tidemill.core.errors import TidemillError

LIMIT_BYTES = 250 * 1024 * 1024  # a function and its layers, unzipped: Lambda's hard quota
MOST_LAYERS = 5
MB = 1024 * 1024
# A cold start pays for every import, so the hot path does without these.
UNWANTED = {"predict.handler": {"boto3", "fastapi", "mangum", "pyarrow", "PIL", "aws_lambda_powertools"}}


@dataclass(frozen=True)
class Function:
    """What the template says about a function."""

    name: str
    handler: str
    code: Path
    layers: tuple[str, ...]
    python: str
    environment: tuple[str, ...]


@dataclass
class Finding:
    """What was measured of a function, and everything that is wrong with it."""

    function: Function
    size_bytes: int
    loaded: list[str] = field(default_factory=list)
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)


def functions(path: Path = ROOT / "template.yaml") -> list[Function]:
    """The template's functions, in its order."""
    template = read(path)
    common = template.get("Globals", {}).get("Function", {})
    found = []
    for name, resource in template["Resources"].items():
        if resource["Type"] == "AWS::Serverless::Function":
            properties = {**common, **resource["Properties"]}
            folders = [template["Resources"][item["Ref"]]["Properties"]["ContentUri"] for item in properties["Layers"]]
            found.append(
                Function(
                    name=name,
                    handler=properties["Handler"],
                    code=path.parent / properties["CodeUri"],
                    layers=tuple(Path(folder).name for folder in folders),
                    python=str(properties["Runtime"]).removeprefix("python"),
                    environment=(*_variables(common), *_variables(resource["Properties"])),
                )
            )
    return found


def _variables(properties: Mapping[str, Any]) -> list[str]:
    return list(properties.get("Environment", {}).get("Variables", {}))


def size_of(folder: Path) -> int:
    """The bytes of all files below a folder; byte code of the source tree, which is not shipped, left out."""
    shipped = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    if folder.name == "functions":
        shipped = (path for path in shipped if "__pycache__" not in path.parts)
    return sum(path.stat().st_size for path in shipped)


def byte_code_of(folder: Path) -> int:
    """What byte code will add to a folder that has none yet: about as much as its source."""
    return sum(path.stat().st_size for path in folder.rglob("*.py"))


def build_all(names: Iterable[str], out: Path, python: str) -> bool:
    """Build layers into OUT/NAME and the runtime's boto3 into OUT/runtime; whether they hold byte code."""
    compiled = [layers.build(name, out / name, python=python) for name in names]
    lock = layers.LAYERS["core"].folder / "requirements.txt"
    shutil.rmtree(out / "runtime", ignore_errors=True)
    layers.install(lock, out / "runtime" / "python", layers.packages(lock) - layers.RUNTIME, python=python)
    return all(compiled)


def collisions(names: Iterable[str], out: Path) -> list[str]:
    """Files that two layers of one function both bring with different contents: the later would hide the earlier."""
    seen: dict[Path, Path] = {}
    found = []
    for name in names:
        for path in sorted((out / name).rglob("*")):
            place = path.relative_to(out / name)
            if path.is_file() and place in seen and path.read_bytes() != seen[place].read_bytes():
                found.append(f"{place} is in {seen[place].relative_to(out).parts[0]} and in {name}")
            seen.setdefault(place, path)
    return found


def examine(function: Function, measured: Path, imported: Path, interpreter: Path, compiled: bool) -> Finding:
    """Measure a function in one build and import its handler in another (or the same)."""
    folders = [measured / name for name in function.layers]
    size = size_of(function.code) + sum(map(size_of, folders)) + (0 if compiled else sum(map(byte_code_of, folders)))
    finding = Finding(function, size, wrong=collisions(function.layers, measured))
    if size > LIMIT_BYTES:
        finding.wrong.append(f"{size / MB:.0f} MB is over the limit of {LIMIT_BYTES // MB} MB")
    if len(function.layers) > MOST_LAYERS:
        finding.wrong.append(f"{len(function.layers)} layers are more than {MOST_LAYERS}")
    said = import_under(function, imported, interpreter)
    finding.loaded, finding.seconds = said["loaded"], said["seconds"]
    finding.wrong += said["missing"]
    unwanted = UNWANTED.get(function.handler, set()) & set(said["loaded"])
    finding.wrong += [f"{name} is imported before the first answer" for name in sorted(unwanted)]
    return finding


def import_under(function: Function, build: Path, interpreter: Path) -> dict[str, Any]:
    """Import a handler with nothing in reach but the standard library, its layers and the runtime's boto3."""
    folders = [function.code, *(build / name / "python" for name in function.layers), build / "runtime" / "python"]
    environment = dict.fromkeys(function.environment, "probe") | {
        "OPENBLAS_NUM_THREADS": "1",
        "AWS_DEFAULT_REGION": "eu-central-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": os.defpath,
    }
    command = [str(interpreter), "-I", "-S", "-B", probe.__file__, function.handler, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        return {
            "missing": [f"{function.handler}: the interpreter ended with {done.returncode}: {last[0]}"],
            "loaded": [],
            "seconds": 0.0,
        }
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def prove(out: Path, python: str | None = None) -> tuple[list[Finding], str]:
    """Build, measure and import everything; the findings, and under which Python the imports ran."""
    declared = functions()
    target = python or declared[0].python
    names = list(dict.fromkeys(name for function in declared for name in function.layers))
    measured = out / f"layers-{target}"
    compiled = build_all(names, measured, target)
    interpreter, imported, ran = layers.interpreter_of(target), measured, target
    if interpreter is None:  # then the handlers are imported under the Python that is here, from a build of its own
        ran = f"{sys.version_info.major}.{sys.version_info.minor}"
        interpreter, imported = Path(sys.executable), out / f"layers-{ran}"
        build_all(names, imported, ran)
    return [examine(function, measured, imported, interpreter, compiled) for function in declared], ran


def table(findings: Iterable[Finding]) -> str:
    """The findings as text."""
    lines = [f"{'function':<12}{'layers':<34}{'unzipped':>10}{'of limit':>10}{'import':>9}  loads"]
    for item in findings:
        share = f"{100 * item.size_bytes / LIMIT_BYTES:.0f} %"
        size, took = f"{item.size_bytes / MB:.1f} MB", f"{1000 * item.seconds:.0f} ms"
        held = " + ".join(item.function.layers)
        lines.append(f"{item.function.name:<12}{held:<34}{size:>10}{share:>10}{took:>9}  {', '.join(item.loaded)}")
        lines += [f"  WRONG: {said}" for said in item.wrong]
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    """Prove sizes and imports, print them, fail where something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tidemill.cloud.sizes", description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / ".build")
    parser.add_argument("--python", help="another Python than the template's")
    options = parser.parse_args(arguments)
    try:
        findings, ran = prove(options.out, options.python)
    except TidemillError as error:
        print(f"{error.message} {error.remedy}", file=sys.stderr)
        return 1
    print(table(findings))
    print(f"Limit {LIMIT_BYTES // MB} MB unzipped. Handlers and all they can reach imported under Python {ran}, bare.")
    return 1 if any(item.wrong for item in findings) else 0


if __name__ == "__main__":
    sys.exit(main())
