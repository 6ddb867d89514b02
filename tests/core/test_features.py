"""The laws of the feature program: fit once, replay exactly, never let NaN or an unexplained row through."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tidemill.core.errors import BadBundle, BadTable, SchemaMismatch
from tidemill.core.features import Program, fit
from tidemill.core.features.cells import NO_NUMBER, NO_VALUE
from tidemill.core.features.fitting import MAX_WIDTH, enough
from tidemill.core.features.kinds import CLIP
from tidemill.core.prepare import cells, dates
from tidemill.core.spec import Spec

SPEC = Spec()
LAWS = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])

values = {
    "number": st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**6), 10**6).map(float),
    "category": st.none() | st.sampled_from(["a", "b", " b", "B", "other", "é"]) | st.text(max_size=3),
    "datetime": st.none() | st.floats(-1e12, 1e12) | st.integers(0, 2 * 10**9).map(float),
}


def schema_of(kinds: dict[str, str], logged: tuple[str, ...] = ()) -> dict[str, Any]:
    columns: list[dict[str, Any]] = [
        {"name": name, "kind": kind, "role": "feature", "log1p": name in logged} for name, kind in kinds.items()
    ]
    return {"columns": [*columns, {"name": "y", "kind": "category", "role": "target"}]}


def column_of(kind: str, cells: list[Any]) -> np.ndarray[Any, Any]:
    if kind == "category":
        return np.array([*cells, None], dtype=object)[:-1]
    return np.array([math.nan if cell is None else cell for cell in cells], dtype=np.float64)


Table = tuple[dict[str, Any], dict[str, Any]]


@st.composite
def tables(draw: st.DrawFn, count: int = 1) -> Any:
    """Tables of the same columns, each with their schema; the table itself where one is asked for."""
    kinds = {f"c{i}": draw(st.sampled_from(sorted(values))) for i in range(draw(st.integers(1, 4)))}
    logged = tuple(name for name in kinds if kinds[name] == "number" and draw(st.booleans()))
    made: list[Table] = []
    for _ in range(count):
        rows = draw(st.integers(1, 12))
        cells = {name: draw(st.lists(values[kind], min_size=rows, max_size=rows)) for name, kind in kinds.items()}
        columns = {name: column_of(kind, cells[name]) for name, kind in kinds.items()}
        made.append((columns, schema_of(kinds, logged)))
    return made[0] if count == 1 else made


def fitted(columns: dict[str, Any], schema: dict[str, Any]) -> Program | None:
    """The program, or None where no column varies."""
    try:
        return fit(columns, schema, SPEC)
    except BadTable as error:
        assert error.code == "NO_FEATURES"
        return None


def rows_of(columns: dict[str, np.ndarray[Any, Any]]) -> list[dict[str, Any]]:
    plain = {
        name: [None if isinstance(v, float) and math.isnan(v) else v for v in column.tolist()]
        for name, column in columns.items()
    }
    return [dict(zip(plain, cells, strict=True)) for cells in zip(*plain.values(), strict=True)]


@LAWS
@given(tables())
def test_replay_from_json_is_bit_equal_finite_and_in_bounds(table: Table) -> None:
    columns, schema = table
    if program := fitted(columns, schema):
        x_nf = program.apply(columns)
        again = Program.from_json(json.loads(json.dumps(program.to_json(), allow_nan=False)))
        assert again == program
        assert again.apply(columns).tobytes() == x_nf.tobytes()
        assert x_nf.dtype == np.float32 and x_nf.flags.c_contiguous
        assert x_nf.shape == (len(x_nf), len(program.names)) == (len(x_nf), len(program.owner_f))
        assert np.isfinite(x_nf).all() and np.abs(x_nf).max(initial=0) <= CLIP


@LAWS
@given(tables(), st.randoms(use_true_random=False))
def test_the_order_of_rows_makes_no_difference(table: Table, random: Any) -> None:
    columns, schema = table
    order = list(range(len(next(iter(columns.values())))))
    random.shuffle(order)
    shuffled = {name: column[order] for name, column in columns.items()}
    program = fitted(columns, schema)
    assert fitted(shuffled, schema) == program
    if program:
        assert program.apply(shuffled).tobytes() == program.apply(columns)[order].tobytes()


@LAWS
@given(tables())
def test_a_batch_equals_its_rows_one_by_one(table: Table) -> None:
    columns, schema = table
    if program := fitted(columns, schema):
        x_nf = program.apply(columns)
        for i in range(len(x_nf)):
            assert program.apply({n: c[i : i + 1] for n, c in columns.items()}).tobytes() == x_nf[i].tobytes()


@LAWS
@given(tables(count=2))
def test_rows_take_the_same_way_as_columns(pair: list[Table]) -> None:
    """Fitted on one table, replayed on another with the same columns: unseen levels and values included."""
    (columns, schema), (fresh, _) = pair
    if program := fitted(columns, schema):
        numbers = {name: np.clip(c, -3e38, 3e38) for name, c in fresh.items() if c.dtype != object}
        rows = rows_of({**fresh, **numbers})
        x_nf = program.x_of_rows(rows)
        assert x_nf.tobytes() == program.apply(program.read_rows(rows)).tobytes()
        assert np.isfinite(x_nf).all()
        assert all(program.x_of_rows([row]).tobytes() == x_nf[i].tobytes() for i, row in enumerate(rows))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(width=64), min_size=1, max_size=40), st.booleans())
def test_logarithms_and_scaling_do_not_depend_on_the_place_in_a_batch(cells: list[float], logged: bool) -> None:
    """NaN and infinities straight in a column (not in a request) still give finite features."""
    program = fit({"c": np.array([0.0, 3.5, 1e4, np.nan])}, schema_of({"c": "number"}, ("c",) * logged), SPEC)
    x_nf = program.apply({"c": np.array(cells)})
    assert np.isfinite(x_nf).all()
    for i, cell in enumerate(cells):
        assert program.apply({"c": np.array([cell])}).tobytes() == x_nf[i].tobytes()


def adult() -> tuple[dict[str, Any], dict[str, Any]]:
    with (Path(__file__).parents[1] / "data" / "adult-3000.csv").open(newline="") as file:
        records = list(csv.DictReader(file))
    numbers = ("age", "fnlwgt", "education_num", "capital_gain", "capital_loss", "hours_per_week")
    kinds = {name: "number" if name in numbers else "category" for name in records[0]}
    columns = {
        name: column_of(kind, [float(r[name]) if kind == "number" else r[name].strip() for r in records])
        for name, kind in kinds.items()
    }
    target = list(kinds)[-1]
    features = {name: kind for name, kind in kinds.items() if name != target}
    schema = schema_of(features, ("capital_gain",))
    schema["columns"][-1]["name"] = target
    return columns, schema


def test_real_rows_as_rows_equal_real_rows_as_columns() -> None:
    columns, schema = adult()
    program = fit(columns, schema, SPEC)
    x_nf = program.apply(columns)
    rows = rows_of(columns)  # with the target in every row
    assert program.x_of_rows(rows).tobytes() == x_nf.tobytes()
    assert program.width < 120
    numeric = x_nf[:, [f for f, name in enumerate(program.names) if name in ("age", "hours_per_week")]]
    assert np.allclose(numeric.mean(axis=0), 0, atol=1e-3) and np.allclose(numeric.std(axis=0), 1, atol=1e-2)


def test_every_feature_has_a_name_and_an_owner() -> None:
    columns = {
        "age": column_of("number", [1, 2, None, None, 5, 6]),
        "colour": column_of("category", ["red", "red", "blue", "blue", None, None]),
        "seen": column_of("datetime", [0, 86_400 * 40, 3600, 7200, None, None]),
    }
    program = fit(columns, schema_of({"age": "number", "colour": "category", "seen": "datetime"}), SPEC)
    waves = tuple(f"seen {c} {w}" for c in ("month", "weekday", "hour") for w in ("sine", "cosine"))
    assert program.columns == ("age", "colour", "seen")
    assert program.names == (
        *("age", "age is missing", "colour=blue", "colour=red", "colour=(missing)", "seen", "seen is missing"),
        *waves,
    )
    assert program.owner_f.tolist() == [0, 0, 1, 1, 1, 2, 2] + [2] * 6
    x_nf = program.apply(columns)
    assert x_nf[4, 5:].tolist() == [x_nf[5, 5], 1.0] + [0.0] * 6  # missing: median, flag, middle of the circles


def test_cycles_read_the_calendar() -> None:
    seconds = column_of("datetime", [0, 1_717_163_100])  # Thursday 1970-01-01 00h, Friday 2024-05-31 13h
    program = fit({"t": seconds}, schema_of({"t": "datetime"}), SPEC)
    x_nf = program.apply({"t": seconds})
    angles = np.array([4 / 12, 4 / 7, 13 / 24]) * 2 * np.pi
    assert np.allclose(x_nf[1, 1:], np.stack([np.sin(angles), np.cos(angles)], axis=1).ravel(), atol=1e-6)
    for same in ("2024-05-31T13:45:00", "2024-05-31T13:45:00Z", "2024-05-31T15:45:00+02:00", 1717163100, "1717163100"):
        assert program.x_of_rows([{"t": same}]).tobytes() == x_nf[1].tobytes()


def test_rare_levels_unseen_levels_and_missing_share_the_slot_of_others() -> None:
    columns = {"c": column_of("category", ["a"] * 5 + ["b"] * 4 + ["r1", "r2", None])}
    program = fit(columns, schema_of({"c": "category"}), SPEC)
    assert program.names == ("c=a", "c=b", "c=(other)")
    x_nf = program.x_of_rows([{"c": c} for c in ("a", "r1", "never seen", None, "", " b ")])
    assert x_nf.argmax(axis=1).tolist() == [0, 2, 2, 2, 2, 1]


def test_an_unseen_level_is_all_zeros_where_training_saw_no_others() -> None:
    program = fit({"c": column_of("category", ["a", "b"] * 3)}, schema_of({"c": "category"}), SPEC)
    assert program.names == ("c=a", "c=b")
    assert program.x_of_rows([{"c": "z"}, {"c": None}]).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("levels", "given", "slot"),
    [
        (["1", "2"], 1, 0),
        (["1.0", "2.0"], 1, 0),
        (["1", "2"], 2.0, 1),
        (["False", "True"], True, 1),
        (["false", "true"], False, 0),
        (["0", "1"], True, 1),
        (["NA", "x"], "NA", 0),
    ],
)
def test_levels_that_json_writes_as_numbers_or_booleans_are_found(levels: list[str], given: Any, slot: int) -> None:
    program = fit({"c": column_of("category", levels * 2)}, schema_of({"c": "category"}), SPEC)
    assert program.x_of_rows([{"c": given}])[0].argmax() == slot
    assert program.x_of_rows([{"c": given}])[0].max() == 1


def test_constant_columns_are_asked_for_but_give_no_feature() -> None:
    columns = {"k": column_of("number", [7, 7, 7, 7]), "n": column_of("number", [1, 2, 3, 4])}
    program = fit(columns, schema_of({"k": "number", "n": "number"}), SPEC)
    assert program.names == ("n",) and program.columns == ("k", "n")
    assert program.x_of_rows([{"k": 1e30, "n": 1}]).shape == (1, 1)
    with pytest.raises(BadTable, match="0 features"):
        fit({"k": columns["k"]}, schema_of({"k": "number"}), SPEC)


def test_the_width_stays_bounded_by_halving_the_slots_per_column() -> None:
    levels = column_of("category", [f"l{i % 70}" for i in range(700)])
    columns = {f"c{i}": levels for i in range(100)}
    program = fit(columns, schema_of(dict.fromkeys(columns, "category")), SPEC)
    assert program.width == 100 * 33 <= MAX_WIDTH
    wide = {f"n{i}": np.arange(3.0) for i in range(MAX_WIDTH + 1)}
    with pytest.raises(BadTable, match=f"{MAX_WIDTH + 1} columns") as caught:
        fit(wide, schema_of(dict.fromkeys(wide, "number")), SPEC)
    assert caught.value.code == "TOO_WIDE"


def test_skew_none_in_the_specification_beats_the_schema() -> None:
    columns = {"n": np.array([0.0, 1.0, 10.0, 1000.0])}
    schema = schema_of({"n": "number"}, ("n",))
    plain = Spec.from_json({"preprocess": {"skew": "none"}})
    logged = [fit(columns, schema, spec).to_json()["inputs"][0]["log1p"] for spec in (SPEC, plain)]
    assert logged == [True, False]


def test_enough_grows_with_the_rows_between_its_bounds() -> None:
    assert [enough(rows) for rows in (1, 3000, 10_000, 10**6)] == [2, 2, 5, 50]


@pytest.fixture(scope="module")
def program() -> Program:
    columns = {"age": np.array([1.0, 2.0, 3.0]), "colour": column_of("category", ["red", "blue", "red"])}
    columns["when"] = np.array([0.0, 86_400.0, 1e9])
    return fit(columns, schema_of({"age": "number", "colour": "category", "when": "datetime"}), SPEC)


GOOD = {"age": 1, "colour": "red", "when": 0}


@pytest.mark.parametrize("good", [42, 4.2, "42", " 4.2e1 ", None, "", "NA", "None", "-", -0.0, 10**38])
def test_numbers_come_as_numbers_as_texts_or_as_null(program: Program, good: Any) -> None:
    assert np.isfinite(program.x_of_rows([{**GOOD, "age": good}])).all()


@pytest.mark.parametrize(
    ("column", "bad", "words"),
    [
        ("age", "old", "age is 'old' where a finite number is due"),
        ("age", True, "age is True"),
        ("age", math.nan, "age is nan"),
        ("age", math.inf, "age is inf"),
        ("age", "inf", "age is 'inf'"),
        ("age", "1_000", "age is '1_000'"),
        ("age", 1e39, "a finite number is due"),
        ("age", 10**400, "a finite number is due"),
        ("age", [1], r"age is \[1\]"),
        ("age", "x" * 500, r"\.\.\."),
        ("colour", ["red"], "where a text is due"),
        ("colour", {"a": 1}, "where a text is due"),
        ("colour", math.nan, "where a text is due"),
        ("when", "yesterday", "when is 'yesterday' where a date or time is due"),
        ("when", "2024-13-01", "a date or time is due"),
        ("when", True, "a date or time is due"),
        ("when", math.inf, "a date or time is due"),
    ],
)
def test_a_bad_value_is_refused_by_row_and_column(program: Program, column: str, bad: Any, words: str) -> None:
    with pytest.raises(SchemaMismatch, match=words) as caught:
        program.x_of_rows([GOOD, {**GOOD, column: bad}])
    assert caught.value.details["row"] == 1 and caught.value.details["column"] == column
    assert len(caught.value.message) < 200 and caught.value.remedy
    with pytest.raises(SchemaMismatch):
        program.read_rows([GOOD, {**GOOD, column: bad}])


def test_words_for_no_value_are_those_of_preparation() -> None:
    assert set(cells.ALWAYS_MISSING) == NO_VALUE
    assert NO_VALUE | set(cells.PERHAPS_MISSING) == NO_NUMBER


def test_texts_are_compared_in_the_form_training_texts_have() -> None:
    levels = [cells.canonical(text) for text in ("cafe\u0301", "plain")]
    program = fit({"c": column_of("category", levels * 2)}, schema_of({"c": "category"}), SPEC)
    for text in ("cafe\u0301", "caf\u00e9", " caf\u00e9\u200b"):
        assert program.x_of_rows([{"c": text}])[0, program.names.index("c=caf\u00e9")] == 1


def test_numbers_that_looked_like_dates_in_training_still_do() -> None:
    schema = schema_of({"t": "datetime"})
    columns = {"t": np.array([0.0, 1e9, 1.7e9])}
    seconds = fit(columns, schema, SPEC)
    schema["columns"][0]["order"] = dates.COMPACT
    compact = fit(columns, schema, SPEC)
    assert compact.x_of_rows([{"t": 20240531}]).tobytes() == compact.x_of_rows([{"t": "2024-05-31"}]).tobytes()
    assert compact.x_of_rows([{"t": 1717113600}]).tobytes() == compact.x_of_rows([{"t": "2024-05-31"}]).tobytes()
    assert seconds.x_of_rows([{"t": 20240531}]).tobytes() == seconds.x_of_rows([{"t": "1970-08-23T06:22:11"}]).tobytes()


@pytest.mark.parametrize(
    "text", ["2024-05-31", "2024-05", "2024-05-31T13:45:00", "2024-05-31 13:45:00+02:00", "20240531"]
)
def test_dates_mean_what_they_meant_in_training(text: str) -> None:
    order = dates.COMPACT if text.isdecimal() else dates.YMD
    read = fit({"t": np.array([0.0, 1e9])}, schema_of({"t": "datetime"}), SPEC).read_rows([{"t": text}])
    assert read["t"].tolist() == [dates.seconds(text, order)]


def test_all_missing_columns_are_named_at_once(program: Program) -> None:
    with pytest.raises(SchemaMismatch, match=r"rows\[1\]: 'age', 'when' are missing") as caught:
        program.x_of_rows([GOOD, {"colour": "red"}])
    assert caught.value.details == {"columns": ["age", "when"], "row": 1}
    with pytest.raises(SchemaMismatch, match="'when' is missing"):
        program.apply({"age": np.ones(1), "colour": column_of("category", ["red"])})


def test_an_unknown_column_is_named_with_the_closest_known(program: Program) -> None:
    with pytest.raises(SchemaMismatch, match=r"'Colour' is not .*\. The closest is 'colour'") as caught:
        program.x_of_rows([{"age": 1, "Colour": "red", "when": 0}])
    assert caught.value.details["missing"] == ["colour"]
    with pytest.raises(SchemaMismatch, match="'zzzz' is not a column") as caught:
        program.x_of_rows([{**GOOD, "zzzz": 1}])
    assert "closest" not in caught.value.details and "'age', 'colour', 'when'" in caught.value.remedy


def test_the_target_and_dropped_columns_are_welcome_and_not_read(program: Program) -> None:
    assert program.ignored == ("y",)
    assert program.x_of_rows([{**GOOD, "y": object()}]).tobytes() == program.x_of_rows([GOOD]).tobytes()


def test_text_in_a_numeric_column_of_a_table_is_a_mismatch(program: Program) -> None:
    columns = {"age": column_of("category", ["x"]), "colour": column_of("category", ["red"]), "when": np.zeros(1)}
    with pytest.raises(SchemaMismatch, match="'age' holds something that is not a number"):
        program.apply(columns)


def test_no_rows_give_no_features_rows(program: Program) -> None:
    assert program.x_of_rows([]).shape == (0, program.width)


@pytest.mark.parametrize("damaged", [{}, {"format": 2}, {"format": 1, "inputs": [{"kind": "x"}], "ignored": []}])
def test_a_program_of_another_format_is_refused(damaged: dict[str, Any]) -> None:
    with pytest.raises(BadBundle):
        Program.from_json(damaged)
