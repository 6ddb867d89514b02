"""JSON: three layouts, strictly read."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import BadTable
from tidemill.core.limits import LIMITS
from tidemill.core.readers.json_table import _records

Reader = Callable[..., Any]
RECORDS = [{"a": number, "b": f"w{number}", "c": number / 4} for number in range(20)]
ROWS = [(str(record["a"]), record["b"], repr(record["c"])) for record in RECORDS]
LAYOUTS = {
    "array": json.dumps(RECORDS),
    "pretty": json.dumps(RECORDS, indent=2),
    "lines": "".join(json.dumps(record) + "\n" for record in RECORDS),
    "columns": json.dumps({name: [record[name] for record in RECORDS] for name in "abc"}),
    "pandas": json.dumps({name: {str(i): record[name] for i, record in enumerate(RECORDS)} for name in "abc"}),
    "wrapped": json.dumps({"data": RECORDS}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_rows(read: Reader, layout: str) -> None:
    found = read(LAYOUTS[layout], "table.json")
    assert found.names == ("a", "b", "c")
    assert found.rows == ROWS


def test_one_object_over_several_lines_is_one_document(read: Reader) -> None:
    text = json.dumps({"a": [1, 2], "b": ["x", "y"]}, indent=1)
    assert read(text, "table.json").rows == [("1", "x"), ("2", "y")]


def test_keys_that_come_late_are_empty_before(read: Reader) -> None:
    found = read('{"a": 1}\n{"a": 2, "b": "x"}\n{"b": "y"}\n', "table.jsonl")
    assert found.rows == [("1", None), ("2", "x"), (None, "y")]


def test_objects_are_flattened_and_lists_left_out(read: Reader) -> None:
    found = read('[{"a": {"b": {"c": 1}}, "l": [1], "t": true}]', "table.json")
    assert (found.names, found.rows) == (("a.b.c", "l", "t"), [("1", None, "true")])
    assert found.warnings.count("COLUMN_NESTED") == 2


def test_names_that_collide_after_flattening_stay_apart(read: Reader) -> None:
    found = read('[{"a": {"b": 1}, "a.b": 2}]', "table.json")
    assert found.names == ("a.b", "a.b__2")


def test_a_broken_line_costs_that_line(read: Reader) -> None:
    found = read('{"a": 1}\n{"a": \n{"a": NaN}\n{"a": 1, "a": 2}\n{"a": "\\ud800"}\n\n{"a": 6}\n', "table.jsonl")
    assert [(row.row, row.code) for row in found.bad] == [(line, "ROW_JSON") for line in (2, 3, 4, 5)]
    assert found.lines == [1, 7]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('[{"a": NaN}]', "JSON_INVALID"),
        ('[{"a": Infinity}]', "JSON_INVALID"),
        ('[{"a": 1},]', "JSON_INVALID"),
        ('[{"a": 1}', "JSON_INVALID"),
        ('[{"a": 1}] x', "JSON_INVALID"),
        ('{"a": 1}{"a": 2}', "JSON_INVALID"),
        ('[{"a": "\\ud800"}]', "JSON_INVALID"),
        ('[{"a": 1, "a": 2}]', "JSON_DUPLICATE_KEY"),
        ('[{"a": 1e999}]', "JSON_NUMBER_RANGE"),
        ('[{"a": ' + "9" * 5_000 + "}]", "JSON_NUMBER_RANGE"),
        ("42", "JSON_SHAPE"),
        ('"text"', "JSON_SHAPE"),
        ('[1, 2, "x", null]', "JSON_SHAPE"),
        ('{"a": [1, 2], "b": [1]}', "JSON_SHAPE"),
        ("[" * 100_000, "JSON_DEPTH"),
        ('[{"a": ' + "[" * 40 + "]" * 40 + "}]", "JSON_DEPTH"),
        ("   ", "EMPTY_FILE"),
    ],
)
def test_json_that_is_wrong_is_refused_by_name(read: Reader, text: str, code: str) -> None:
    with pytest.raises(BadTable) as caught:
        read(text, "table.json")
    assert caught.value.code == code


def test_invalid_utf_8_is_no_json(read: Reader) -> None:
    with pytest.raises(BadTable) as caught:
        read(b'[{"a": "\xff"}]', "table.json")
    assert caught.value.code == "JSON_INVALID"


def test_an_error_is_placed_in_the_whole_text(read: Reader) -> None:
    good = json.dumps(RECORDS)[:-1]
    with pytest.raises(BadTable, match=f"character {len(good) + 1:,}"):
        read(good + ",]", "table.json")


def test_depth_is_allowed_up_to_the_limit(read: Reader) -> None:
    def nested(levels: int) -> str:
        return "[" + '{"k": ' * levels + "1" + "}" * levels + "]"

    most = LIMITS["json_depth"].value
    assert read(nested(most - 2), "table.json").rows == [("1",)]
    with pytest.raises(BadTable) as caught:
        read(nested(most + 1), "table.json")
    assert caught.value.code == "JSON_DEPTH"


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=5), max_size=3), max_size=8),
    st.integers(1, 9),
)
def test_an_array_read_in_pieces_is_the_array(values: list[dict[str, Any]], size: int) -> None:
    text = json.dumps(values, indent=1)
    pieces = iter([text[start : start + size] for start in range(0, len(text), size)])
    assert [value for _, value in _records(pieces)] == values
