"""tidemill backbone: weights and a vocabulary are sent under the names they are read by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.doubles.plane import DATA

from tidemill.cli import failures


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    path = tmp_path / "efficientnet-lite0.safetensors"
    path.write_bytes(b"weights")
    return path


def test_add_sends_the_files_under_the_names_they_are_read_by(run: Any, weights: Path, tmp_path: Path) -> None:
    words = tmp_path / "vocab-uncased.txt"
    words.write_text("[PAD]\n")
    told = run.json("backbone", "add", "mini", str(weights), str(words))
    assert [file["key"] for file in told["files"]] == ["backbones/mini/model.safetensors", "backbones/mini/vocab.txt"]
    assert [b"weights" in run.pipeline.sent[0], b"[PAD]" in run.pipeline.sent[1]] == [True, True]
    said = run("backbone", "add", "lite0", str(weights)).output
    assert 'backbone = "lite0"' in said


@pytest.mark.parametrize(
    ("files", "code"),
    [
        (["vocab.txt"], failures.REFUSED),
        (["a.safetensors", "b.safetensors"], failures.REFUSED),
        (["a.safetensors", "a.txt", "b.txt"], failures.REFUSED),
        (["a.pth"], failures.REFUSED),
        (["nowhere.safetensors"], failures.NOT_FOUND),
    ],
)
def test_what_is_no_backbone_is_not_sent(run: Any, tmp_path: Path, files: list[str], code: int) -> None:
    for name in files:
        if name != "nowhere.safetensors":
            (tmp_path / name).write_bytes(b"x")
    ended = run("backbone", "add", "lite0", *(str(tmp_path / name) for name in files))
    assert ended.exit_code == code, ended.output
    assert not run.pipeline.sent


def test_the_list_shows_names_sizes_and_files(run: Any) -> None:
    assert "No backbones yet" in run("backbone", "list").output
    run.plane.s3.objects[DATA, "backbones/lite0/model.safetensors"] = b"0" * 2_500_000
    said = run("backbone", "list").output
    assert "lite0" in said and "2.5 MB" in said and "model.safetensors" in said
    assert run.json("backbone", "list")["backbones"][0]["name"] == "lite0"
