"""Zip functions and layers for the local stack, and name each zip after its content."""

from __future__ import annotations

import copy
import hashlib
import io
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.local.errors import BadTemplate

_SKIPPED = {"__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"}
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FIELDS = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}


@dataclass(frozen=True)
class Package:
    """One zip: its bytes and the key it has in the deployment bucket."""

    key: str
    body: bytes


def zip_function(folder: Path) -> Package:
    """The files of a function's folder."""
    return _zip(folder, {path.relative_to(folder).as_posix(): path for path in _files(folder)})


def zip_layer(folder: Path) -> Package:
    """A layer's own source under python/; what it installs comes from the interpreter that runs the local stack."""
    if (folder / "python").is_dir():
        return zip_function(folder)
    own = folder / "tidemill"
    files = {f"python/{path.relative_to(folder).as_posix()}": path for path in _files(own)} if own.is_dir() else {}
    return _zip(folder, files)


def _files(folder: Path) -> list[Path]:
    return [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix != ".pyc" and not _SKIPPED.intersection(path.relative_to(folder).parts)
    ]


def _zip(folder: Path, files: dict[str, Path]) -> Package:
    """The same bytes for the same content, whenever and wherever it is made."""
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        if not files:
            archive.writestr(zipfile.ZipInfo("python/EMPTY", _EPOCH), "Nothing of our own in this layer.\n")
        for name, path in files.items():
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr = 0o644 << 16
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, path.read_bytes())
    body = memory.getvalue()
    return Package(f"{folder.name}-{hashlib.sha256(body).hexdigest()[:24]}.zip", body)


def package(template: dict[str, Any], root: Path, bucket: str) -> tuple[dict[str, Any], list[Package]]:
    """The template with its folders replaced by objects of `bucket`, and those objects."""
    done: dict[tuple[str, str], Package] = {}
    packaged = copy.deepcopy(template)

    def replace(properties: dict[str, Any], field: str) -> None:
        value = properties.get(field)
        if isinstance(value, str) and not value.startswith("s3://"):
            made = done.setdefault((field, value), _package(root / value, field))
            properties[field] = f"s3://{bucket}/{made.key}"

    replace(packaged.get("Globals", {}).get("Function", {}), "CodeUri")
    for resource in packaged["Resources"].values():
        if field := _FIELDS.get(resource["Type"]):
            replace(resource.setdefault("Properties", {}), field)
    return packaged, list(done.values())


def _package(folder: Path, field: str) -> Package:
    if not folder.is_dir():
        raise BadTemplate(f"{field} names {folder}, which is not a folder.", remedy="Correct the path in the template.")
    return zip_function(folder) if field == "CodeUri" else zip_layer(folder)
