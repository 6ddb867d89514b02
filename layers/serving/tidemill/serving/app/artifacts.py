"""Reads the small files of bundles and datasets that the API shows."""

from __future__ import annotations

import json
from typing import Any

from tidemill.core.errors import BadBundle, NotFound
from tidemill.serving.app.world import World


def read_text(world: World, key: str) -> str:
    """The text of one artefact; raises NotFound where there is none."""
    try:
        return world.artifacts.read_bytes(key).decode()
    except NotFound as error:
        name = key.rpartition("/")[2]
        raise NotFound(f"This version has no {name}.", code="NO_SUCH_FILE", remedy="Train the model again.") from error


def read_json(world: World, key: str) -> dict[str, Any]:
    """One JSON artefact; raises like read_text, and BadBundle where it is no JSON object."""
    try:
        value = json.loads(read_text(world, key))
    except ValueError as error:
        raise BadBundle(f"{key} is not JSON.", remedy="Train the model again.") from error
    if not isinstance(value, dict):
        raise BadBundle(f"{key} holds no object.", remedy="Train the model again.")
    return value


def search_of(world: World, key: str) -> dict[str, Any] | None:
    """What was tried before a version was chosen; None for a bundle from before that was written down."""
    try:
        return read_json(world, key)
    except NotFound:
        return None


def input_schema(world: World, model: str, dataset: str) -> dict[str, Any]:
    """The columns a row for predict has, and a row that can be sent as it stands, from the dataset's schema."""
    schema = read_json(world, f"datasets/{model}/{dataset}/schema.json")
    features = [column for column in schema.get("columns", []) if column.get("role") == "feature"]
    columns = [{"name": column["name"], "kind": column["kind"]} for column in features]
    for column, source in zip(columns, features, strict=True):
        if column["kind"] == "category":
            column["levels"] = list(source.get("levels") or [])[:50]
    example = {column["name"]: _example(column) for column in features}
    return {"modality": schema.get("modality", "table"), "columns": columns, "example": example}


_SAMPLES = {
    "picture": (  # a dark disc on white, 16 x 16
        "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAALUlEQVR42mP4jwYYcAhoAAGSgAYUwAQ0NJBEsAloaCCLkCdA2BZM"
        "h2E6Ha9vAYWLoPE6hI3UAAAAAElFTkSuQmCC"
    ),
    "text": "A short text to try this with.",
}


def _example(column: dict[str, Any]) -> Any:
    """A usual value of a column: the mean, the most frequent level, a date; a small picture, a short text."""
    if column["kind"] in _SAMPLES:
        return _SAMPLES[column["kind"]]
    if column["kind"] == "category":
        return next(iter(column.get("levels") or []), None)
    if column["kind"] == "datetime":
        return "2024-01-31T12:00:00"
    low, mean = column.get("min"), column.get("mean")
    if mean is None:
        return None
    whole = isinstance(low, (int, float)) and float(low).is_integer() and abs(float(mean)) >= 10
    return round(mean) if whole else float(f"{mean:.4g}")
