"""Datasets prepared from text written for one test."""

from __future__ import annotations

import csv
import io
import itertools
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest

from tidemill.core.prepare import Prepared, prepare
from tidemill.core.spec import Spec

Rows = Iterable[Iterable[Any]]


def as_csv(names: Iterable[str], rows: Rows) -> str:
    """Rows as CSV text."""
    sink = io.StringIO()
    writer = csv.writer(sink, lineterminator="\n")
    writer.writerow(names)
    writer.writerows(rows)
    return sink.getvalue()


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., Prepared]:
    """Prepare CSV text (or bytes) under a specification given as sections of plain values."""
    numbers = itertools.count()

    def making(content: str | bytes, filename: str = "table.csv", **sections: dict[str, Any]) -> Prepared:
        data = content.encode() if isinstance(content, str) else content
        out = tmp_path / f"dataset-{next(numbers)}"
        return prepare(io.BytesIO(data), filename, Spec.from_json(sections), out, model="test")

    return making


@pytest.fixture
def column(make: Callable[..., Prepared]) -> Callable[..., dict[str, Any]]:
    """Prepare a table with one column under test beside a number and a label; give that column's schema entry."""

    def described(cells: list[str], **sections: dict[str, Any]) -> dict[str, Any]:
        rows = [(cell, (index * 7919) % 1_000 / 8, "yes" if index % 3 else "no") for index, cell in enumerate(cells)]
        prepared = make(as_csv(("under_test", "noise", "label"), rows), **sections)
        entry = dict(prepared.schema["columns"][0])
        entry["warnings"] = {w["code"] for w in prepared.profile["warnings"] if w["column"] == "under_test"}
        entry["quarantined"] = prepared.profile["quarantined"]
        return entry

    return described
