"""Imports a handler and everything it can ever import, lazy imports too, and says what was missing.

Run as a file by a bare interpreter (`python -I -S probe.py HANDLER PATH...`): only the standard library, and whatever
stands in the given folders, can be found, as on Lambda. Only the standard library is used here.
"""

from __future__ import annotations

import ast
import importlib
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path

OURS = "tidemill"
TELLING = ("numpy", "boto3", "onnxruntime", "pyarrow", "PIL", "fastapi", "mangum", "aws_lambda_powertools")


def reach(start: Path, roots: list[Path]) -> tuple[set[str], set[str]]:
    """The modules of our own and the foreign packages that a file may import, at any depth of calls."""
    ours: set[str] = set()
    foreign: set[str] = set()
    waiting = [start]
    while waiting:
        for name in _imports(waiting.pop()):
            file = _file(name, roots)
            if file is not None and name not in ours:
                ours.add(name)
                waiting.append(file)
            elif name.split(".")[0] not in (OURS, *sys.stdlib_module_names):
                foreign.add(name.split(".")[0])
    return ours, foreign


def _imports(file: Path) -> Iterator[str]:
    """Absolute names of what a file imports, `from a import b` as both a and a.b."""
    for node in _nodes(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Every node that can run: not what only a type checker reads, nor what may fail."""
    waiting: list[ast.AST] = [tree]
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            waiting.extend(node.orelse)
            continue
        if isinstance(node, ast.Try) and any(
            "ImportError" in ast.unparse(item.type) for item in node.handlers if item.type
        ):
            continue
        yield node
        waiting.extend(ast.iter_child_nodes(node))


def _file(name: str, roots: list[Path]) -> Path | None:
    """Where a module of ours stands; none for packages without a file and for foreign modules."""
    place = Path(*name.split("."))
    for root in roots:
        for file in (root / place.with_suffix(".py"), root / place / "__init__.py"):
            if name.split(".")[0] == OURS and file.is_file():
                return file
    return None


def main(handler: str, folders: list[str]) -> dict[str, object]:
    """Import the handler first, timed; then all it can reach."""
    module, function = handler.split(".")
    sys.path[:0] = folders
    began = time.perf_counter()
    missing: list[str] = []
    try:
        if not callable(getattr(importlib.import_module(module), function, None)):
            missing.append(f"{handler} is not a function")
    except Exception as error:  # noqa: BLE001 - whatever stops the import is the finding
        missing.append(f"{handler}: {type(error).__name__}: {error}")
    seconds = time.perf_counter() - began
    loaded = [name for name in TELLING if name in sys.modules]
    roots = [Path(folder) for folder in folders]
    start = next((root / f"{module}.py" for root in roots if (root / f"{module}.py").is_file()), None)
    for name in sorted(set.union(*reach(start, roots))) if start else []:
        try:
            importlib.import_module(name)
        except Exception as error:  # noqa: BLE001
            missing.append(f"{name}: {type(error).__name__}: {error}")
    return {"missing": missing, "seconds": seconds, "loaded": loaded, "python": sys.version.split()[0]}


if __name__ == "__main__":
    print(json.dumps(main(sys.argv[1], sys.argv[2:])))
