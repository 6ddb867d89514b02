"""tidemill predict and explain with files of pictures and with texts."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from rich.color import Color
from rich.style import Style
from tests.serving.modality_factory import picture

from tidemill.cli import given, rows
from tidemill.cli.marked import AGAINST, FOR, marked

HEAT = picture("left")
TOLD = {"target": "cat", "baseline": 0.5, "prediction": 0.9}
SEEN = {"label": "cat", "probabilities": {"cat": 0.9, "dog": 0.1}}
TEXT = "The film\x1b[31m 很好看, not bad 😀"


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    made = []
    for name in ("my cat.png", "dog.png"):
        (tmp_path / name).write_bytes(picture("left" if "cat" in name else "right"))
        made.append(tmp_path / name)
    return made


def sent(run: Any) -> list[Any]:
    return [json.loads(base64.b64decode(event["body"])) for event in run.plane.events]


def test_pictures_are_sent_as_they_are_and_told_by_name(run: Any, photos: list[Path]) -> None:
    run.plane.answer = {"model": "income", "version": 1, "predictions": [SEEN, SEEN]}
    result = run("predict", "income", *map(str, photos))
    assert result.exit_code == 0, result.output
    assert sent(run) == [{"rows": [{"picture": base64.b64encode(path.read_bytes()).decode()} for path in photos]}]
    assert "my cat.png" in result.stdout and "dog.png" in result.stdout and "90.0%" in result.stdout


def test_a_large_picture_goes_to_the_inbox_and_is_named_by_its_key(
    run: Any, photos: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(given, "LARGE_BYTES", 10)
    run.plane.answer = {"model": "income", "version": 1, "predictions": [SEEN]}
    result = run("predict", "income", str(photos[0]), "--json")
    assert result.exit_code == 0, result.output
    (body,) = sent(run)
    (row,) = body["rows"]
    assert list(row) == ["key"] and row["key"].startswith("inbox/income/") and row["key"].endswith("/my cat.png")
    assert photos[0].read_bytes() in run.pipeline.sent[0], "the bucket got the picture"


def test_many_pictures_go_in_portions(monkeypatch: pytest.MonkeyPatch) -> None:
    many = [{"picture": "x"}] * 130
    assert [len(portion) for portion in rows.batches(many)] == [64, 64, 2]
    assert [len(portion) for portion in rows.batches(many, "explain")] == [4] * 32 + [2]
    assert [len(portion) for portion in rows.batches([{"key": "x"}] * 6, "explain")] == [4, 2]
    monkeypatch.setattr(rows, "BYTES_AT_ONCE", 10)
    assert [len(portion) for portion in rows.batches([{"text": "好好"}] * 3)] == [1, 1, 1]
    assert rows.batches([]) == []


def test_a_heat_map_is_written_where_it_is_asked_for(run: Any, photos: list[Path], tmp_path: Path) -> None:
    told = {**TOLD, "heatmap": base64.b64encode(HEAT).decode(), "size": [12, 12]}
    run.plane.answer = {"model": "income", "version": 1, "predictions": [SEEN], "explanations": [told]}
    out = tmp_path / "maps" / "heat.png"
    result = run("explain", "income", str(photos[0]), "--target", "cat", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert out.read_bytes() == HEAT and "heat.png" in result.stdout and "blue against" in result.stdout
    assert sent(run)[0]["target"] == "cat"
    run.plane.answer = {**run.plane.answer, "predictions": [SEEN, SEEN], "explanations": [told, told]}
    run("explain", "income", *map(str, photos), "--out", str(out))
    assert sorted(path.name for path in out.parent.iterdir()) == ["heat-1.png", "heat-2.png", "heat.png"]


def test_without_a_place_heat_maps_are_named_after_their_pictures(
    run: Any, photos: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    told = {**TOLD, "heatmap": base64.b64encode(HEAT).decode(), "size": [12, 12]}
    run.plane.answer = {"model": "income", "version": 1, "predictions": [SEEN], "explanations": [told]}
    assert run("explain", "income", str(photos[0])).exit_code == 0
    assert (tmp_path / "my cat-heat.png").read_bytes() == HEAT
    (tmp_path / "my cat-heat.png").unlink()
    assert run.json("explain", "income", str(photos[0])) == run.plane.answer
    assert not (tmp_path / "my cat-heat.png").exists(), "a program asks for files by name"


def text_model(run: Any) -> None:
    described = [{"name": "review", "kind": "text", "role": "feature"}, {"name": "mood", "role": "target"}]
    run.plane.artefact("datasets/income/d-1/schema.json", {"format": 1, "modality": "text", "columns": described})


def test_texts_are_sent_under_the_name_of_their_column(run: Any) -> None:
    text_model(run)
    run.plane.answer = {"model": "income", "version": 1, "predictions": [SEEN, SEEN]}
    result = run("predict", "income", "--text", "good 好", "--text", "bad")
    assert result.exit_code == 0, result.output
    assert sent(run) == [{"rows": [{"review": "good 好"}, {"review": "bad"}]}]


def test_an_explained_text_is_shown_with_its_strongest_words(run: Any) -> None:
    text_model(run)
    parts = []
    for word, added in (("film", 0.01), ("很好看", 0.3), ("bad", -0.2)):
        start = TEXT.index(word)
        parts.append({"text": word, "start": start, "end": start + len(word), "contribution": added})
    told = {**TOLD, "contributions": parts, "rest": 0.0}
    run.plane.answer = {"model": "income", "version": 1, "predictions": [SEEN], "explanations": [told]}
    result = run("explain", "income", "--text", TEXT)
    assert result.exit_code == 0, result.output
    assert "not bad 😀" in result.stdout and "\x1b[31m" not in result.stdout, "a text gives no orders to the terminal"
    lines = [line.split() for line in result.stdout.splitlines()]
    table = [line[:2] for line in lines if line and line[0] in ("很好看", "bad", "film") and len(line) > 1]
    assert table == [["很好看", "+0.3"], ["bad", "-0.2"], ["film", "+0.01"]]


def test_words_have_the_colour_of_what_they_added() -> None:
    parts = [
        {"text": "good", "start": 0, "end": 4, "contribution": 0.9},
        {"text": "so", "start": 5, "end": 7, "contribution": 0.1},
        {"text": "bad", "start": 8, "end": 11, "contribution": -0.9},
    ]
    spans = {(span.start, span.end): span.style for span in marked("good so bad", parts, 0.9).spans}
    assert spans == {(0, 4): FOR[-1], (5, 7): FOR[0], (8, 11): AGAINST[-1]}
    for name in (*FOR, *AGAINST):
        assert isinstance(Style.parse(name).color, Color)


@pytest.mark.parametrize(
    ("words", "code", "shown"),
    [
        (["no-such.png"], 3, "cannot be read"),
        (["no-such.png", "--row", "{}"], 2, "Give either"),
        (["--text", "a", "--row", "{}"], 2, "Give either"),
        (["--text", "a"], 4, "reads no texts"),
    ],
)
def test_what_cannot_be_sent_is_said_so(run: Any, words: list[str], code: int, shown: str) -> None:
    result = run("predict", "income", *words)
    assert result.exit_code == code, result.output
    assert shown in result.stderr
    assert not run.plane.events


def test_a_heat_map_that_cannot_be_written_is_said_so(run: Any, photos: list[Path], tmp_path: Path) -> None:
    told = {**TOLD, "heatmap": base64.b64encode(HEAT).decode(), "size": [12, 12]}
    run.plane.answer = {"model": "income", "version": 1, "predictions": [SEEN], "explanations": [told]}
    (tmp_path / "file").write_text("")
    result = run("explain", "income", str(photos[0]), "--out", str(tmp_path / "file" / "heat.png"))
    assert result.exit_code == 3 and "cannot be written" in result.stderr
