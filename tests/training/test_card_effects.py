"""What columns do and how groups fare, on the card: pictures in frames, dates as dates, cautions with remedies."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.training.test_card import BIDI, HOSTILE, Page, inputs
from tests.training.test_card_search import is_inside

from tidemill.core.groups import group_report
from tidemill.training.card import effects, write_card
from tidemill.training.card.moments import date_ticks

DAY = 86400.0


def numbers(values: list[float], kind: str = "number", name: str = "age") -> dict[str, Any]:
    """The dependence on a column whose answer rises from 0.2 to 0.8."""
    answer = np.linspace(0.2, 0.8, len(values))
    ends = {"low": (answer - 0.1).tolist(), "high": (answer + 0.1).tolist()}
    told = {"column": name, "kind": kind, "values": values, "answer": answer.tolist(), "target": "yes"}
    return {**told, **ends, "rows": list(range(len(values)))}


def levels(count: int, name: str = "work") -> dict[str, Any]:
    """The dependence on a column of so many levels, the first the most frequent; the last is missing."""
    answer = [0.9 - 0.03 * at for at in range(count)]
    told = {"column": name, "kind": "category", "values": [f"level {at}" for at in range(count - 1)] + [None]}
    return {**told, "answer": answer, "low": None, "high": None, "rows": list(range(count, 0, -1)), "target": "yes"}


def drawn(*items: dict[str, Any], task: str = "binary") -> list[str]:
    """The pictures of some columns."""
    return [str(plot) for _, plot in effects.pictures(effects.dependence(items, task))]


def card_of(folder: Path, given: dict[str, Any], **more: Any) -> tuple[str, dict[str, Any]]:
    """The page and the facts of a card."""
    write_card(folder, **given, **more)
    return (folder / "card.html").read_text("utf-8"), json.loads((folder / "card.json").read_text("utf-8"))


@pytest.mark.parametrize(
    "item",
    [numbers([17.0, 30.0, 45.0, 90.0]), numbers([-1e9, 0.0, 1e9]), numbers([0.0, 1.0, 10.0, 1e6]), numbers([5.0, 5.0]),
     numbers([1.2e9, 1.4e9, 1.6e9], "datetime"), numbers([-1e30, 1e30], "datetime"), levels(2), levels(40)],
)  # fmt: skip
def test_every_picture_lies_inside_its_frame(item: dict[str, Any]) -> None:
    (picture,) = drawn(item)
    assert is_inside(picture) and "nan" not in picture


def test_all_pictures_have_one_scale() -> None:
    """Half the effect is half as high, whichever column it belongs to."""
    small = numbers([0.0, 1.0], name="small")
    small |= {"answer": [0.5, 0.6], "low": None, "high": None}
    large = numbers([0.0, 1.0], name="large") | {"answer": [0.2, 0.8], "low": None, "high": None}
    heights = []
    for picture in drawn(small, large):
        line = next(m for m in ElementTree.fromstring(picture).iter("path") if m.get("class") == "line main")  # noqa: S314
        ys = [float(y) for y in re.findall(r"[ML]-?[\d.]+ (-?[\d.]+)", line.get("d", ""))]
        heights.append(ys[0] - ys[-1])
    assert heights[1] == pytest.approx(6 * heights[0], abs=0.1)


def test_the_band_encloses_the_line() -> None:
    (picture,) = drawn(numbers([1.0, 2.0, 3.0]))
    paths = {m.get("class"): m.get("d", "") for m in ElementTree.fromstring(picture).iter("path")}  # noqa: S314
    ys = {kind: [float(y) for y in re.findall(r"[ML]-?[\d.]+ (-?[\d.]+)", d)] for kind, d in paths.items()}
    above, below = ys["area"][:3], ys["area"][:2:-1]
    assert all(high < y < low for high, y, low in zip(above, ys["line main"], below, strict=True))


def test_a_category_shows_its_most_frequent_levels_by_falling_answer() -> None:
    facts = effects.dependence([levels(40)], "binary")
    root = ElementTree.fromstring(str(effects.pictures(facts)[0][1]))  # noqa: S314 - our own page
    names = ["".join(m.itertext()) for m in root.iter("text") if "".join(m.itertext()).startswith("level")]
    assert names == [f"level {at}" for at in range(12)]
    assert effects.more(facts[0]) == 28
    assert "(missing)" in drawn(levels(3))[0]


def test_a_long_tail_is_drawn_on_a_logarithmic_axis_and_an_even_one_is_not() -> None:
    assert "log(1 + x)" in drawn(numbers([0.0, 1.0, 10.0, 1e6]))[0]
    assert "log(1 + x)" not in drawn(numbers([0.0, 25.0, 50.0, 100.0]))[0]
    assert "log(1 + x)" not in drawn(numbers([-100.0, 0.0, 1.0, 1e6]))[0], "a logarithm needs positive values"


def test_points_without_an_answer_are_left_out_and_columns_without_points_too() -> None:
    item = numbers([1.0, 2.0, 3.0])
    item["answer"][1] = None
    assert [point["value"] for point in effects.dependence([item], "binary")[0]["points"]] == [1.0, 3.0]
    assert effects.dependence([item | {"answer": [None, None, 0.5]}], "binary") == []
    assert effects.dependence(None, "binary") == []


def test_moments_are_named_as_dates() -> None:
    start = datetime(2019, 3, 7, tzinfo=UTC).timestamp()
    assert [said for _, said in date_ticks(start, start + 4 * 365 * DAY)] == ["2020", "2021", "2022", "2023"]
    assert [said for _, said in date_ticks(start, start + 90 * DAY)] == ["2019-04", "2019-05", "2019-06"]
    assert next(said for _, said in date_ticks(start, start + 10 * DAY)) == "2019-03-07"
    assert [said for _, said in date_ticks(start, start + DAY / 2)][:2] == ["03-07 00:00", "03-07 03:00"]
    assert "2020" in drawn(numbers([start, start + 2000 * DAY], "datetime"))[0]


@given(st.floats(-5e10, 2e11), st.floats(61, 1e11))
def test_dates_on_an_axis_are_few_inside_and_in_order(low: float, length: float) -> None:
    found = [at for at, _ in date_ticks(low, low + length)]
    assert 1 <= len(found) <= 12 and found == sorted(set(found))
    assert all(low - 1e-3 <= at <= low + length + 1e-3 for at in found)


def test_the_page_tells_what_columns_do_and_keeps_hostile_names_harmless(tmp_path: Path) -> None:
    told = [numbers([1.0, 2.0], name=HOSTILE), levels(20, name=BIDI)]
    told[1]["values"][0] = HOSTILE
    html, card = card_of(tmp_path, inputs("binary"), dependence=told)
    words = Page(html).text
    assert "What a column does" in words and "8 more are in card.json" in words
    assert HOSTILE not in html and [item["column"] for item in card["dependence"]] == [HOSTILE, BIDI]
    assert len(card["dependence"][1]["points"]) == 20


def test_private_columns_have_no_picture_of_their_levels(tmp_path: Path) -> None:
    given = inputs("binary", names=("age", "phone", "city"))
    next(column for column in given["schema"]["columns"] if column["name"] == "city")["levels"] = []
    groups = [{"column": "city", "groups": []}, {"column": "phone", "groups": []}]
    _, card = card_of(tmp_path, given, dependence=[levels(3, "city"), numbers([1.0, 2.0], name="age")], groups=groups)
    assert [item["column"] for item in card["dependence"]] == ["age"]
    assert [item["column"] for item in card["groups"]] == ["phone"]


@pytest.mark.parametrize("task", ["binary", "multiclass", "regression"])
def test_groups_stand_in_a_table_with_intervals(tmp_path: Path, task: str) -> None:
    given = inputs(task)
    labels, rng = given["schema"]["labels"], np.random.default_rng(0)
    side = np.array(["a", "b"], dtype=object)[rng.integers(0, 2, 300)]
    side[:5] = "rare"
    y_n = rng.integers(0, len(labels), 300) if labels else rng.normal(size=300)
    answer = rng.dirichlet(np.ones(len(labels)), 300) if labels else y_n + rng.normal(size=300)
    report = group_report(task, labels, y_n, answer, {HOSTILE: side})
    html, card = card_of(tmp_path, given, groups=report)
    words = Page(html).text
    assert "Scores by group" in words and "other (1 group) (too few rows)" in words
    assert json.loads(json.dumps(report)) == card["groups"]
    shown = report[0]["groups"][0]["metrics"]["roc_auc" if labels else "rmse"]
    assert f"{shown['value']:.4f}"[:5] in words
    assert ("Answered yes" in words) is (task == "binary")


def test_a_selection_ratio_below_four_fifths_is_called_by_its_name(tmp_path: Path) -> None:
    p_n = np.r_[np.full(50, 0.9), np.full(30, 0.9), np.full(20, 0.1)]
    side, y_n = np.array(["a"] * 50 + ["b"] * 50, dtype=object), np.tile([0, 1], 50)
    for level, said in ((p_n, True), (np.full(100, 0.9), False)):
        report = group_report("binary", ["no", "yes"], y_n, np.stack([1 - level, level], 1), {"side": side})
        assert ("29 CFR 1607.4 D" in card_of(tmp_path, inputs("binary"), groups=report)[0]) is said


def warned(folder: Path, given: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The card's cautions by code."""
    return {item["code"]: item for item in card_of(folder, given)[1]["warnings"]}


def test_few_training_rows_are_told_with_a_remedy(tmp_path: Path) -> None:
    given = inputs("binary")
    assert "FEW_TRAIN_ROWS" not in warned(tmp_path, given)
    given["schema"]["rows"]["train"] = 499
    assert "499" in (told := warned(tmp_path, given)["FEW_TRAIN_ROWS"])["message"] and told["remedy"]


@pytest.mark.parametrize("method", ["content", "occurrence", "rank"])
def test_equal_rows_in_two_splits_are_told_as_what_they_are(tmp_path: Path, method: str) -> None:
    given = inputs("binary")
    given["profile"]["split"]["method"] = method
    given["profile"]["warnings"].append(
        {"code": "DUPLICATE_ROWS", "message": "4 rows equal an earlier row; they are kept; equal rows share a split."}
    )
    told = warned(tmp_path, given)["DUPLICATE_ROWS"]
    assert ("may stand in different splits" in told["message"]) is (method != "content") and told["remedy"]
    assert ("always fall into the same split" in card_of(tmp_path, given)[0]) is (method == "content")


def test_what_makes_scores_too_good_stands_before_what_was_read_how(tmp_path: Path) -> None:
    given = inputs("binary")
    given["profile"]["warnings"] = [
        {"code": "COLUMN_UNIT", "column": "price", "message": "read without its unit", "remedy": ""},
        {"code": "COLUMN_LEAK", "column": "price", "message": "gives the target away", "remedy": "Leave it out."},
    ]
    found = list(warned(tmp_path, given))
    assert found.index("COLUMN_LEAK") < found.index("COLUMN_UNIT")
    assert all(item["remedy"] for item in warned(tmp_path, given).values())


def test_what_honest_outputs_were_worth_stands_on_the_page_where_it_was_measured(tmp_path: Path) -> None:
    given = inputs("binary")
    html, card = card_of(tmp_path, given)
    assert card["outputs"] is None and 'id="honest"' not in html
    warning = {"code": "UNCALIBRATED", "message": "Probabilities are off.", "remedy": "Upload more rows."}
    told = {"method": "platt", "before": 0.08, "after": 0.02, "floor": 0.015}
    given["metrics"]["outputs"] = {"rows": 600, "calibration": told, "coverage": None, "decision": None}
    given["metrics"]["outputs"]["warnings"] = [warning]
    html, card = card_of(tmp_path, given, outputs={"levels": {}})
    assert 'id="honest"' in html and 'href="#honest"' in html and "Platt scaling" in Page(html).text
    assert card["outputs"]["measured"]["calibration"] == told
    assert "UNCALIBRATED" in {item["code"] for item in card["warnings"]}
