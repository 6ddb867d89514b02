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


def heading_and_row(text: str) -> tuple[str, str]:
    lines = text.splitlines()
    at = next(place for place, line in enumerate(lines) if line.startswith("row"))
    return lines[at], lines[at + 1]


def test_an_interval_is_asked_for_and_shown(run: Any) -> None:
    run.plane.answer = {"model": "price", "version": 1, "predictions": [{"value": 7.5, "low": 6.25, "high": 8.75}]}
    result = run("predict", "price", "--row", ROW, "--interval", "0.9")
    assert result.exit_code == 0
    assert sent(run) == [{"rows": [json.loads(ROW)], "interval": 0.9}]
    heading, row = heading_and_row(result.stdout)
    assert heading.split() == ["row", "prediction", "low", "high"]
    assert row.split() == ["1", "7.5", "6.25", "8.75"]


def test_a_set_and_a_decision_are_shown(run: Any) -> None:
    item = {**PREDICTION, "set": ["<=50K", ">50K"], "decision": {"act": False, "threshold": 0.2, "label": ">50K"}}
    run.plane.answer = {"model": "income", "version": 1, "predictions": [item]}
    result = run("predict", "income", "--row", ROW, "--set", "0.95")
    assert sent(run) == [{"rows": [json.loads(ROW)], "set": 0.95}]
    heading, row = heading_and_row(result.stdout)
    assert heading.split() == ["row", "prediction", "set", "decision"]
    assert "<=50K, >50K" in row and row.rstrip().endswith("do not act (>50K from 0.2)")


def test_columns_that_no_answer_has_are_not_shown(run: Any) -> None:
    heading, _ = heading_and_row(run("predict", "income", "--row", ROW).stdout)
    assert heading.split() == ["row", "prediction"]


@pytest.mark.parametrize("words", [["--interval", "wide"], ["--set", ""]])
def test_a_level_that_is_no_number_is_refused_before_it_is_sent(run: Any, words: list[str]) -> None:
    assert run("predict", "income", "--row", ROW, *words).exit_code == 2
    assert not run.plane.events


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
