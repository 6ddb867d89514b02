"""A corpus of bad inputs, where there is one: every file ends in the class and the code its manifest expects.

TIDEMILL_BADINPUTS names a folder with manifest.json: entries with name, modality, expected and reason.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tidemill.core.errors import BadTable
from tidemill.core.prepare import prepare
from tidemill.core.spec import Spec

FOLDER = os.environ.get("TIDEMILL_BADINPUTS", "")


def cases() -> list[Any]:
    if not FOLDER:
        return [pytest.param({}, marks=pytest.mark.skip(reason="TIDEMILL_BADINPUTS names no folder"), id="none")]
    entries = json.loads((Path(FOLDER) / "manifest.json").read_text())
    return [pytest.param(e, id=e["name"]) for e in entries if e["modality"] in ("csv", "json", "parquet", "text")]


@pytest.mark.parametrize("entry", cases())
def test_every_file_ends_as_the_manifest_expects(entry: dict[str, Any], tmp_path: Path) -> None:
    path = Path(FOLDER) / entry["name"]
    if entry["expected"] == "rejected":
        with pytest.raises(BadTable) as caught:
            prepare(path, path.name, Spec(), tmp_path / "d", model="corpus")
        assert caught.value.code == entry["reason"]
        assert caught.value.remedy
        assert len(caught.value.message) < 600
        return
    prepared = prepare(path, path.name, Spec(), tmp_path / "d", model="corpus")
    rows = prepared.rows
    assert rows["read"] == rows["used"] + rows["quarantined"]
    codes = {*prepared.profile["quarantined"], *(warned["code"] for warned in prepared.profile["warnings"])}
    if entry["reason"] != "OK":
        assert entry["reason"] in codes
    if entry["expected"] == "accepted":
        assert rows["quarantined"] == 0
