"""A corpus of bad inputs, where there is one: every file ends in the class and the code its manifest expects.

TIDEMILL_BADINPUTS names a folder with manifest.json: entries with name, modality, expected and reason. A picture is
tried three ways: as bytes, as one member of an archive of good ones, and as a whole upload, which it cannot be.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.core.pictures import class_folders, zipped

from tidemill.core.errors import BadPicture, BadTable
from tidemill.core.prepare import prepare
from tidemill.core.readers.picture import read_picture
from tidemill.core.spec import Spec

FOLDER = os.environ.get("TIDEMILL_BADINPUTS", "")
FILES = ("csv", "json", "parquet", "text", "zip")
STILL = "017_animated_300.gif"  # the corpus calls it an animation; its 62 bytes hold one frame


def cases(*modalities: str) -> list[Any]:
    if not FOLDER:
        return [pytest.param({}, marks=pytest.mark.skip(reason="TIDEMILL_BADINPUTS names no folder"), id="none")]
    entries = json.loads((Path(FOLDER) / "manifest.json").read_text())
    return [pytest.param(e, id=e["name"]) for e in entries if e["modality"] in modalities]


@pytest.mark.parametrize("entry", cases(*FILES))
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


@pytest.mark.parametrize("entry", cases("image"))
def test_every_picture_reads_as_the_manifest_expects(entry: dict[str, Any]) -> None:
    data = (Path(FOLDER) / entry["name"]).read_bytes()
    if entry["expected"] != "accepted":
        with pytest.raises(BadPicture) as caught:
            read_picture(data, entry["name"])
        assert caught.value.code == entry["reason"]
        assert caught.value.remedy
        return
    picture = read_picture(data, entry["name"])
    if not entry["name"].endswith(STILL):
        assert set(picture.notes) == {entry["reason"]} - {"OK"}


@pytest.mark.parametrize("entry", cases("image"))
def test_every_picture_ends_the_same_way_among_good_ones(entry: dict[str, Any], tmp_path: Path) -> None:
    path = Path(FOLDER) / entry["name"]
    archive = tmp_path / "set.zip"
    archive.write_bytes(zipped({**class_folders(), f"cat/{path.name}": path.read_bytes()}))
    prepared = prepare(archive, "set.zip", Spec(), tmp_path / "d", model="corpus")
    bad = entry["expected"] != "accepted"
    assert prepared.profile["quarantined"] == ({entry["reason"]: 1} if bad else {})
    assert prepared.rows["used"] == prepared.rows["read"] - bad == 41 - bad
    if entry["reason"].startswith("WARN_") and path.name != STILL:
        assert entry["reason"] in {warned["code"] for warned in prepared.profile["warnings"]}


@pytest.mark.parametrize("entry", cases("image"))
def test_no_picture_is_a_data_set_by_itself(entry: dict[str, Any], tmp_path: Path) -> None:
    path = Path(FOLDER) / entry["name"]
    with pytest.raises(BadTable) as caught:
        prepare(path, path.name, Spec(), tmp_path / "d", model="corpus")
    if entry["expected"] == "rejected":
        assert caught.value.code == entry["reason"]
