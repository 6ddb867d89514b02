"""tidemill predict and explain: rows from everywhere, answers for people and programs."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.doubles.plane import PREDICTION

ROW = '{"age": 39, "workclass": null}'
EXPLAINED = {
    **PREDICTION,
    "target": ">50K",
    "baseline": 0.24,
    "prediction": 0.1,
    "contributions": [
        {"column": "age", "value": 39, "contribution": -0.2},
        {"column": "workclass", "value": None, "contribution": 0.06},
    ],
}


def sent(run: Any) -> list[Any]:
    return [json.loads(base64.b64decode(event["body"])) for event in run.plane.events]


def test_a_row_on_the_command_line(run: Any) -> None:
    result = run("predict", "income", "--row", ROW)
    assert result.exit_code == 0
    assert "<=50K" in result.stdout
    assert "90.0%" in result.stdout
    assert sent(run) == [{"rows": [{"age": 39, "workclass": None}]}]
    assert run.json("predict", "income", "--row", ROW) == run.plane.answer


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("rows.csv", "age,workclass\n39,Private\n40,\n"),
        ("rows.csv", "\ufeffage;workclass\r\n39;Private\r\n40;\r\n"),
        ("rows.jsonl", '{"age": "39", "workclass": "Private"}\n\n{"age": "40", "workclass": null}\n'),
        ("rows.json", '[{"age": "39", "workclass": "Private"}, {"age": "40", "workclass": null}]'),
    ],
)
def test_rows_from_a_file_and_from_standard_input(run: Any, tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text, newline="")
    assert run("predict", "income", "--file", str(path)).exit_code == 0
    assert run("predict", "income", "--file", "-", stdin=text).exit_code == 0
    rows = [{"age": "39", "workclass": "Private"}, {"age": "40", "workclass": None}]
    assert sent(run) == [{"rows": rows}, {"rows": rows}]


def test_many_rows_go_in_portions_and_come_back_as_one(run: Any) -> None:
    text = "".join(f'{{"age": {age}}}\n' for age in range(1201))
    found = run.json("predict", "income", "--file", "-", stdin=text)
    assert [len(body["rows"]) for body in sent(run)] == [500, 500, 201]
    assert len(found["predictions"]) == 3
    assert found["version"] == 2


@pytest.mark.parametrize("beside", [True, False])
def test_an_explanation_is_a_table_with_bars(run: Any, beside: bool) -> None:
    run.plane.answer = {"model": "income", "version": 2, "predictions": [PREDICTION if beside else EXPLAINED]}
    if beside:
        run.plane.answer["explanations"] = [EXPLAINED]
    result = run("explain", "income", "--row", ROW, "--target", ">50K")
    assert result.exit_code == 0
    assert "the probability of >50K goes from 0.24 (average) to 0.1" in result.stdout
    age = next(line for line in result.stdout.splitlines() if line.startswith("age"))
    work = next(line for line in result.stdout.splitlines() if line.startswith("workclass"))
    assert "-0.2" in age
    assert age.count("█") == 24
    assert "+0.06" in work
    assert work.count("█") == 7
    assert sent(run)[0]["target"] == ">50K"


@pytest.mark.parametrize(
    ("words", "stdin", "code", "shown"),
    [
        (["--row", "{"], None, 4, "--row is not JSON"),
        (["--row", "[1]"], None, 4, "not an object"),
        (["--file", "-"], "", 4, "has no rows"),
        (["--file", "-"], "a,b\n1\n", 4, "Row 1 has another number of cells"),
        (["--file", "-"], '{"a": 1}\n{"a"\n', 4, "line 2 is not JSON"),
        (["--file", "/no/such.csv"], None, 3, "cannot be read"),
        ([], None, 2, "Give either"),
        (["--row", ROW, "--file", "-"], None, 2, "Give either"),
    ],
)
def test_rows_that_cannot_be_read(run: Any, words: list[str], stdin: str | None, code: int, shown: str) -> None:
    result = run("predict", "income", *words, stdin=stdin)
    assert result.exit_code == code
    assert shown in result.stderr
    assert not run.plane.events
