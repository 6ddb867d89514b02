"""Backbones in the data bucket: the weights of frozen networks that people bring, one folder of files for each name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tidemill.core.errors import NotFound
from tidemill.core.storage import Storage

PREFIX = "backbones/"
WEIGHTS, VOCABULARY = "model.safetensors", "vocab.txt"  # what a folder holds; the second only for texts
FILES = (WEIGHTS, VOCABULARY)


def key_of(name: str, file: str = WEIGHTS) -> str:
    """Where a file of a backbone stands."""
    return f"{PREFIX}{name}/{file}"


def check(data: Storage, name: str) -> None:
    """Raise NotFound (UNKNOWN_BACKBONE) unless the weights of this name are in the bucket."""
    if not data.exists(key_of(name)):
        raise _unknown(data, name)


def fetch(data: Storage, name: str, folder: Path) -> Path:
    """Copy the files of a backbone to a folder, which is returned; raises NotFound (UNKNOWN_BACKBONE)."""
    try:
        data.read_file(key_of(name), folder / WEIGHTS)
    except NotFound as error:
        raise _unknown(data, name) from error
    try:
        data.read_file(key_of(name, VOCABULARY), folder / VOCABULARY)
    except NotFound:
        (folder / VOCABULARY).unlink(missing_ok=True)  # networks for pictures have none
    return folder


def listed(data: Storage) -> list[dict[str, Any]]:
    """The backbones in the bucket by name, with their files, sizes and the time the newest file came."""
    found: dict[str, dict[str, Any]] = {}
    for item in data.keys(PREFIX):
        name, _, file = item["Key"].removeprefix(PREFIX).partition("/")
        if file not in FILES:
            continue
        backbone = found.setdefault(name, {"name": name, "files": [], "size_bytes": 0, "added": ""})
        backbone["files"].append({"name": file, "size_bytes": item["Size"]})
        backbone["size_bytes"] += item["Size"]
        backbone["added"] = max(backbone["added"], item["LastModified"].isoformat(timespec="seconds"))
    return [backbone for backbone in found.values() if any(file["name"] == WEIGHTS for file in backbone["files"])]


def _unknown(data: Storage, name: str) -> NotFound:
    return NotFound(
        f"There is no backbone {name!r}: s3://{data.bucket}/{key_of(name)} does not exist.",
        code="UNKNOWN_BACKBONE",
        remedy=f"Add it with `tidemill backbone add {name} {WEIGHTS}`, or change [train] backbone.",
        backbone=name,
    )
