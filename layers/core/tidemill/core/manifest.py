"""MANIFEST.json: the list of a folder's files with their sizes and hashes, written last.

A folder without a manifest does not exist yet; a folder that disagrees with its manifest is damaged.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from tidemill.core.errors import BadBundle

NAME = "MANIFEST.json"
FORMAT = 1


def sha256_of(path: Path) -> str:
    """The hex SHA-256 of a file, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def describe(folder: Path, kind: str, **fields: Any) -> dict[str, Any]:
    """The manifest of a folder as it is now; `fields` (identity, versions) are kept beside the file list."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != NAME)
    return {
        "format": FORMAT,
        "kind": kind,
        **fields,
        "files": [
            {"name": path.relative_to(folder).as_posix(), "size_bytes": path.stat().st_size, "sha256": sha256_of(path)}
            for path in files
        ],
    }


def write(folder: Path, kind: str, **fields: Any) -> dict[str, Any]:
    """Describe a folder and write its manifest, which makes it complete."""
    manifest = describe(folder, kind, **fields)
    (folder / NAME).write_text(json.dumps(manifest, indent=1, sort_keys=True))
    return manifest


def read(folder: Path) -> dict[str, Any]:
    """The manifest of a folder; raises BadBundle where it is missing or none."""
    try:
        return parsed((folder / NAME).read_bytes(), folder.name)
    except OSError as error:
        raise BadBundle(f"{folder.name} has no readable {NAME}.", remedy="Write the folder again.") from error


def parsed(content: bytes, place: str) -> dict[str, Any]:
    """A manifest from its bytes; raises BadBundle, naming the place, where they are no list of files."""
    try:
        manifest: dict[str, Any] = json.loads(content)
        for entry in manifest["files"]:
            str(entry["name"]), int(entry["size_bytes"]), str(entry["sha256"])
    except (ValueError, TypeError, KeyError) as error:
        raise BadBundle(f"{place} has no readable {NAME}.", remedy="Write the folder again.") from error
    return manifest


def check(folder: Path) -> dict[str, Any]:
    """The manifest of a folder after comparing every file with it; raises BadBundle naming the first that differs."""
    manifest = read(folder)
    for entry in manifest["files"]:
        path = folder / entry["name"]
        if not path.is_file():
            raise BadBundle(f"{entry['name']} is named in the manifest but missing.", remedy="Write the folder again.")
        if path.stat().st_size != entry["size_bytes"] or sha256_of(path) != entry["sha256"]:
            raise BadBundle(f"{entry['name']} differs from its manifest.", remedy="Write the folder again.")
    return manifest
