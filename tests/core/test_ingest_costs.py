"""Costs that cannot be followed end an upload with a reason, before anything is trained."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tidemill.core.errors import NotFound
from tidemill.core.ingest import ingest
from tidemill.core.uploads import Upload

TABLE = "size,churn\n" + "".join(f"{row % 17},{'yes' if row % 17 > 8 else 'no'}\n" for row in range(200))


class Shelf:
    """The methods of core.storage.Storage that ingest uses, over a dictionary."""

    bucket = "bucket"

    def __init__(self, held: dict[str, Any]) -> None:
        self.held = held

    def read_bytes(self, key: str) -> bytes:
        if key not in self.held:
            raise NotFound(key)
        return bytes(self.held[key], "utf-8")

    def read_file(self, key: str, path: Path) -> dict[str, str]:
        path.write_bytes(self.read_bytes(key))
        return {"etag": "etag"}

    def read_json_or_none(self, key: str) -> Any:
        return self.held.get(key)

    def write_folder(self, folder: Path, prefix: str) -> None:
        self.held[prefix] = sorted(path.name for path in folder.iterdir())

    def write_json(self, key: str, value: Any) -> None:
        self.held[key] = value


def sent(costs: str) -> tuple[dict[str, Any], Shelf]:
    """The run after an upload with these costs, and what was written."""
    upload = Upload("bucket", "uploads/churn/u-1/churn.csv", len(TABLE), "etag", "01", "2026-01-01T00:00:00Z")
    uploads = Shelf({upload.key: TABLE, "uploads/churn/tidemill.toml": f"[decision]\n{costs}\n"})
    run: dict[str, Any] = {"model": "churn", "run": "r-1", "state": "RECEIVED"}

    def advance(_model: str, _run: str, state: str, **fields: Any) -> dict[str, Any]:
        return {**run, "state": state, **fields}

    registry = SimpleNamespace(receive=lambda *_: run, advance=advance)
    artifacts = Shelf({})
    told = ingest(upload, registry, uploads, artifacts, SimpleNamespace(tell=lambda *_: None))  # type: ignore[arg-type]
    assert told is not None
    return told, artifacts


@pytest.mark.parametrize(
    ("costs", "words"),
    [
        ("false_positive = 1", "false_negative is not given"),
        ("false_positive = 0\nfalse_negative = 0", "both costs are 0"),
        ('false_positive = 1\nfalse_negative = 2\npositive = "maybe"', "'maybe', which is no label of 'churn'"),
    ],
)
def test_costs_that_cannot_be_followed_reject_the_upload(costs: str, words: str) -> None:
    run, artifacts = sent(costs)
    assert run["state"] == "REJECTED" and run["reason"]["code"] == "BAD_SPEC"
    assert words in run["reason"]["message"] and run["reason"]["remedy"]
    assert not [key for key in artifacts.held if key.startswith("datasets/")]


def test_costs_that_can_be_followed_do_not() -> None:
    run, artifacts = sent('false_positive = 1\nfalse_negative = 2\npositive = "yes"')
    assert run["state"] == "PREPARED" and run["task"] == "binary"
    assert [key for key in artifacts.held if key.startswith("datasets/")]
