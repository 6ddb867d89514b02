"""Backbones in the data bucket: found by name, copied whole, missed with the command that adds them."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.doubles.plane import DATA, MemoryS3

from tidemill.core import backbones
from tidemill.core.errors import NotFound
from tidemill.core.storage import Storage


@pytest.fixture
def bucket() -> Storage:
    """A bucket with a backbone for texts, one for pictures, one that is only half there, and an upload."""
    s3 = MemoryS3()
    for key in ("words/model.safetensors", "words/vocab.txt", "lite0/model.safetensors", "half/vocab.txt"):
        s3.objects[DATA, backbones.PREFIX + key] = key.encode()
    s3.objects[DATA, "uploads/income/1/adult.csv"] = b"a,b"
    return Storage(DATA, s3)


def test_all_files_of_a_backbone_are_fetched_and_no_others(bucket: Storage, tmp_path: Path) -> None:
    assert backbones.fetch(bucket, "words", tmp_path / "a") == tmp_path / "a"
    assert {path.name: path.read_bytes() for path in (tmp_path / "a").iterdir()} == {
        "model.safetensors": b"words/model.safetensors",
        "vocab.txt": b"words/vocab.txt",
    }
    backbones.fetch(bucket, "lite0", tmp_path / "a")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["model.safetensors"]


@pytest.mark.parametrize("name", ["lite1", "half", "lite"])
def test_a_backbone_that_is_not_there_is_missed_by_name(bucket: Storage, tmp_path: Path, name: str) -> None:
    for ask in (lambda: backbones.check(bucket, name), lambda: backbones.fetch(bucket, name, tmp_path)):
        with pytest.raises(NotFound, match=f"no backbone '{name}'") as caught:
            ask()
        assert caught.value.code == "UNKNOWN_BACKBONE"
        assert f"tidemill backbone add {name} model.safetensors" in caught.value.remedy
    backbones.check(bucket, "lite0")


def test_the_list_tells_of_whole_backbones_with_their_sizes(bucket: Storage) -> None:
    found = {item["name"]: item for item in backbones.listed(bucket)}
    assert set(found) == {"words", "lite0"}
    assert [file["name"] for file in found["words"]["files"]] == ["model.safetensors", "vocab.txt"]
    assert found["words"]["size_bytes"] == len("words/model.safetensors" + "words/vocab.txt")
