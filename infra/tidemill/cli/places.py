"""Where the command finds things: the repository, the state folder, the stack's address and the keys."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.cli.failures import Missing, NoStack


@dataclass(frozen=True)
class Places:
    """The folders and the environment of one call."""

    root: Path  # the repository
    environment: Mapping[str, str]

    @property
    def state(self) -> Path:
        """The folder of the local stack: TIDEMILL_STATE, or .tidemill in the repository."""
        return Path(self.environment.get("TIDEMILL_STATE") or self.root / ".tidemill")

    @property
    def keys_file(self) -> Path:
        """The keys that `tidemill up` made, for the owner alone."""
        return self.state / "keys.json"

    @property
    def cards(self) -> Path:
        """Downloaded model cards."""
        return self.state / "cards"

    def url(self) -> str:
        """The address of the API: TIDEMILL_URL, or what the local stack wrote down; raises NoStack."""
        if given := self.environment.get("TIDEMILL_URL", "").rstrip("/"):
            return given
        record = read_json(self.state / "stack.json") or {}
        host = str(record.get("outputs", {}).get("ApiUrl", "")).partition("://")[2]
        if not host or not record.get("endpoint"):
            raise NoStack(
                f"No stack is known: TIDEMILL_URL is not set and {self.state / 'stack.json'} names none.",
                remedy="Start one with `tidemill up`, or set TIDEMILL_URL and TIDEMILL_KEY.",
            )
        return f"{record['endpoint']}/_aws/execute-api/{host.partition('.')[0]}"

    def key(self, role: str) -> str:
        """A key for a role: TIDEMILL_KEY, or what `tidemill up` made; raises Missing."""
        if given := self.environment.get("TIDEMILL_KEY", "").strip():
            return given
        keys = self.keys()
        found = keys.get(role) or keys.get("operate")
        if not found or self.environment.get("TIDEMILL_URL"):
            raise Missing(
                "There is no key to call the API with.",
                code="UNAUTHORIZED",
                remedy=f"Set TIDEMILL_KEY, or let `tidemill up` make {self.keys_file}.",
            )
        return found

    def keys(self) -> dict[str, str]:
        """The keys of the local stack by role."""
        found = read_json(self.keys_file) or {}
        return {role: str(secret) for role, secret in found.items()}

    def keep_keys(self, keys: Mapping[str, str]) -> None:
        """Write the keys down for the owner alone, whole or not at all."""
        self.state.mkdir(parents=True, exist_ok=True, mode=0o700)
        draft = self.keys_file.with_suffix(".draft")
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(dict(keys), file, indent=1)
        draft.replace(self.keys_file)


def find_root(start: Path) -> Path:
    """The repository: the folder above `start` that holds template.yaml, else the one this code lies in, else start."""
    here = Path(__file__).resolve()
    for folder in (start, *start.parents, *here.parents):
        if (folder / "template.yaml").is_file() and (folder / "layers").is_dir():
            return folder
    return start


def read_json(path: Path) -> Any:
    """The value of a JSON file; None where it is missing or torn."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None
