"""A pytest plugin: the stack of a run is listened to, and its roles' policies are kept beside what they did."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from tests.fire.rights.implied import implied

from tidemill.local import process
from tidemill.local import stack as local

HOOK = (
    "import os, sys\nos.environ.pop('PYTHONPATH', None)\nsys.path.append({here!r})\nimport hook\nhook.listen({log!r})\n"
)


def pytest_configure() -> None:
    """Put the hook where the server process finds it."""
    folder = Path(os.environ["RIGHTS"])
    (folder / "hook").mkdir(parents=True, exist_ok=True)
    text = HOOK.format(here=str(Path(__file__).parent), log=str(folder / "calls.jsonl"))
    (folder / "hook/sitecustomize.py").write_text(text)
    os.environ["PYTHONPATH"] = str(folder / "hook")  # the server takes it away again: functions and jobs see none
    process.INHERITED = (*process.INHERITED, "PYTHONPATH")
    up = local.up

    def listened(*arguments: Any, **options: Any) -> Any:
        stack = up(*arguments, **options)
        (folder / "policies.json").write_text(json.dumps(policies(stack), indent=1))
        (folder / "implied.json").write_text(json.dumps(implied(stack), indent=1))
        return stack

    local.up = listened


def policies(stack: Any) -> dict[str, list[dict[str, Any]]]:
    """The statements of every role of the system, by the role's name on the stack."""
    iam, found = stack.client("iam"), {}
    for name, physical in stack.resources.items():
        if name.endswith("Role"):
            names = iam.list_role_policies(RoleName=physical)["PolicyNames"]
            documents = [iam.get_role_policy(RoleName=physical, PolicyName=each)["PolicyDocument"] for each in names]
            found[physical] = [statement for document in documents for statement in document["Statement"]]
    return found
