"""Started with the local stack's server: write down every verdict on a signed call (who, what, on what, with what)."""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

JUDGE = "ministack.core.iam_evaluator"


class Listener(importlib.abc.MetaPathFinder):
    """Wraps the judge once it is imported; before that nothing is imported, for it reads the environment."""

    def __init__(self, log: Path) -> None:
        self.log = log

    def find_spec(self, name: str, path: Any, target: ModuleType | None = None) -> Any:
        """The judge's own spec, whose module is wrapped after it has run."""
        if name != JUDGE:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        assert spec and spec.loader
        run = spec.loader.exec_module

        def then_wrap(module: ModuleType) -> None:
            run(module)
            wrap(module, self.log)

        spec.loader.exec_module = then_wrap  # type: ignore[method-assign]
        return spec


def wrap(module: ModuleType, log: Path) -> None:
    """Write each evaluation of a policy to the log."""
    evaluate, seen = module.evaluate, set()

    def evaluated(context: Any, *policies: Any) -> Any:
        result = evaluate(context, *policies)
        line = json.dumps(
            {
                "role": context.principal_arn,
                "action": context.action,
                "resource": context.resource_arn,
                "context": context.service_context,
                "allowed": result.decision == "Allow",
            },
            default=str,
        )
        if line not in seen:
            seen.add(line)
            with log.open("a") as file:
                file.write(line + "\n")
        return result

    module.evaluate = evaluated


def listen(log: str) -> None:
    """Listen if this process is the server."""
    if "tidemill.local.server" in sys.orig_argv:
        sys.meta_path.insert(0, Listener(Path(log)))
