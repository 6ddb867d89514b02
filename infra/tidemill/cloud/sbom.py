"""The bill of materials (CycloneDX 1.6): every locked dependency, its licence and what it goes into.

`make sbom` writes `layers/sbom.json` from the locks and `infra/licences.toml`; a test holds all three together.
CycloneDX's own tool describes an environment; this one describes the locks, for systems that are not this one too. The
hashes stand in the locks: a package has one for every kind of system.
"""

from __future__ import annotations

import json
import re
import sys
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tidemill.core.version import VERSION

ROOT = Path(__file__).resolve().parents[3]
DOCUMENT, LICENCES = "layers/sbom.json", "infra/licences.toml"
LOCKS = ("layers/*/requirements*.txt", "infra/requirements.txt", "tests/requirements.txt")
_PINNED = re.compile(r"^([A-Za-z0-9][A-Za-z0-9._-]*)(?:\[[^\]]*\])?==([^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass
class Component:
    """One version of one package, with the hashes of its files and the locks that name it."""

    name: str
    version: str
    hashes: set[str] = field(default_factory=set)
    locks: set[str] = field(default_factory=set)

    @property
    def purl(self) -> str:
        """The package URL, which scanners look things up by."""
        return f"pkg:pypi/{self.name}@{self.version}"


def components(root: Path = ROOT) -> list[Component]:
    """What the locks name, by name and version; raises ValueError for a line that is not pinned with a hash."""
    found: dict[tuple[str, str], Component] = {}
    for path in sorted(path for pattern in LOCKS for path in root.glob(pattern)):
        lock, current = path.relative_to(root).as_posix(), None
        for line in path.read_text().splitlines():
            if match := _PINNED.match(line):
                name = re.sub(r"[-_.]+", "-", match[1]).lower()
                current = found.setdefault((name, match[2]), Component(name, match[2]))
                current.locks.add(lock)
            elif line.strip() and not line.lstrip().startswith(("#", "--hash")):
                raise ValueError(f"{lock} has a line that pins nothing: {line!r}")
            if current is not None:
                current.hashes |= set(_HASH.findall(line))
    for component in found.values():
        if not component.hashes:
            raise ValueError(f"{component.purl} is pinned without a hash in {sorted(component.locks)}.")
    return [found[key] for key in sorted(found)]


def licences(root: Path = ROOT) -> dict[str, str]:
    """The licence of each package, as infra/licences.toml has it."""
    table = tomllib.loads((root / LICENCES).read_text())
    return {**table["read"], **table["told"]}


def document(root: Path = ROOT) -> dict[str, Any]:
    """The bill of materials; raises KeyError where a package has no licence in the table."""
    known = licences(root)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": "tidemill", "version": VERSION}},
        "components": [_told(component, known[component.name]) for component in components(root)],
    }


def _told(component: Component, licence: str) -> dict[str, Any]:
    return {
        "type": "library",
        "bom-ref": component.purl,
        "name": component.name,
        "version": component.version,
        "purl": component.purl,
        "licenses": [{"expression": licence}],
        "properties": [{"name": "tidemill:lock", "value": lock} for lock in sorted(component.locks)],
    }


def written(root: Path = ROOT) -> str:
    """The document as it lies in the repository."""
    return json.dumps(document(root), indent=1) + "\n"


def main() -> None:
    """Write the document; say which licences are missing."""
    missing = sorted({component.name for component in components()} - set(licences()))
    if missing:
        sys.exit(f"{LICENCES} does not know {', '.join(missing)}: add a line for each.")
    (ROOT / DOCUMENT).write_text(written())


if __name__ == "__main__":
    main()
