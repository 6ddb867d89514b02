"""What a column is taken for: as a person would, from cells as they stand in real files."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Column = Callable[..., dict[str, Any]]
N = 120


def cells(shape: Callable[[int], str]) -> list[str]:
    return [shape(number) for number in range(N)]


@pytest.mark.parametrize(
    ("shape", "least", "greatest"),
    [
        (lambda n: str(n), 0, 119),
        (lambda n: f"{n / 8}", 0, 119 / 8),
        (lambda n: f"{n}e3", 0, 119_000),
        (lambda n: f"+{n}", 0, 119),
        (lambda n: f" {n} ", 0, 119),
        (lambda n: f"{n * 1_000:,}", 0, 119_000),
        (lambda n: f"{n * 100_000 + 1:,}.5", 1.5, 11_900_001.5),
        (lambda n: f"${n + 1},500.25", 1_500.25, 120_500.25),
        (lambda n: f"{n} €", 0, 119),
        (lambda n: f"¥{n}", 0, 119),
        (lambda n: f"{n}%", 0, 119),
        (lambda n: f"({n + 1})", -120, -1),
        (lambda n: f"-${n + 1}", -120, -1),
        (lambda n: f"{n},25", 0.25, 119.25),
        (lambda n: f"{n + 1}.000,5", 1_000.5, 120_000.5),
        (lambda n: f"{n + 1} 000", 1_000, 120_000),
        (lambda n: f"\u2212{n + 1}", -120, -1),
    ],
)
def test_numbers_in_every_dress_are_numbers(
    column: Column, shape: Callable[[int], str], least: float, greatest: float
) -> None:
    entry = column(cells(shape))
    assert (entry["kind"], entry["role"]) == ("number", "feature")
    assert (entry["min"], entry["max"]) == (pytest.approx(least), pytest.approx(greatest))
    assert not entry["quarantined"]


def test_a_comma_before_three_digits_groups_thousands(column: Column) -> None:
    assert column(cells(lambda n: f"{n + 1},250"))["max"] == 120_250


def test_the_same_comma_is_decimal_where_another_cell_proves_it(column: Column) -> None:
    entry = column(cells(lambda n: f"{n + 1},250" if n % 2 else f"{n + 1},5"))
    assert entry["max"] == pytest.approx(120.25)
    assert "COLUMN_DECIMAL_COMMA" in entry["warnings"]


@pytest.mark.parametrize(
    "spelling",
    ["", "NA", "N/A", "n/a", "null", "NULL", "None", "nan", "NaN", "?", "-", "#N/A", "<NA>", "无", "缺失", "."],
)
def test_no_value_is_no_value_in_numbers(column: Column, spelling: str) -> None:
    entry = column(cells(lambda n: spelling if n % 4 == 0 else str(n)))
    assert (entry["kind"], entry["missing"]) == ("number", 30)


@pytest.mark.parametrize(
    ("spelling", "missing"), [("", 30), ("null", 30), ("?", 30), ("NA", 30), ("None", 0), ("无", 0)]
)
def test_a_word_that_may_be_a_value_is_kept_in_categories(column: Column, spelling: str, missing: int) -> None:
    entry = column(cells(lambda n: spelling if n % 4 == 0 else ("red", "green", "blue")[n % 3]))
    assert (entry["kind"], entry["missing"]) == ("category", missing)


def test_na_among_codes_is_namibia(column: Column) -> None:
    entry = column(cells(lambda n: ("NA", "FR", "DE")[n % 3]))
    assert (entry["missing"], "NA" in entry["levels"]) == (0, True)
    assert "VALUE_NULL_WORD" in entry["warnings"]


@pytest.mark.parametrize("shape", [lambda n: f"{n % 40:05d}", lambda n: f"{n % 12 + 1:02d}"])
def test_leading_zeros_make_codes(column: Column, shape: Callable[[int], str]) -> None:
    entry = column(cells(shape))
    assert (entry["kind"], shape(0) in entry["levels"]) == ("category", True)


def test_numbers_beyond_2_to_the_53_keep_their_digits(column: Column) -> None:
    entry = column(cells(lambda n: str(2**53 + 1 + n % 5)))
    assert entry["kind"] == "category"
    assert "9007199254740993" in entry["levels"]


@pytest.mark.parametrize("pair", [("yes", "no"), ("true", "false"), ("Y", "N"), ("是", "否")])
def test_yes_and_no_are_categories(column: Column, pair: tuple[str, str]) -> None:
    assert column(cells(lambda n: pair[n % 7 < 3]))["kind"] == "category"


@pytest.mark.parametrize(
    ("shape", "first"),
    [
        (lambda n: f"2024-01-{n % 28 + 1:02d}", 1_704_067_200.0),
        (lambda n: f"2024/1/{n % 28 + 1}", 1_704_067_200.0),
        (lambda n: f"2024-01-{n % 28 + 1:02d}T12:30:00Z", 1_704_112_200.0),
        (lambda n: f"2024-01-{n % 28 + 1:02d} 12:30:00.250", 1_704_112_200.25),
        (lambda n: f"2024-01-{n % 28 + 1:02d}T12:30:00+02:00", 1_704_105_000.0),
        (lambda n: f"{n % 28 + 1}.01.2024", 1_704_067_200.0),
        (lambda n: f"01/{n % 28 + 1:02d}/2024", 1_704_067_200.0),
        (lambda n: f"{n % 28 + 1}/1/24", 1_704_067_200.0),
        (lambda n: f"{n % 28 + 1} Jan 2024", 1_704_067_200.0),
        (lambda n: f"January {n % 28 + 1}, 2024", 1_704_067_200.0),
        (lambda n: f"{n % 28 + 1:02d}-Jan-24", 1_704_067_200.0),
        (lambda n: f"2024年1月{n % 28 + 1}日", 1_704_067_200.0),
        (lambda n: f"01/{n % 28 + 1:02d}/2024 1:05 PM", 1_704_114_300.0),
    ],
)
def test_dates_in_every_order_are_seconds_in_utc(column: Column, shape: Callable[[int], str], first: float) -> None:
    entry = column(cells(shape))
    assert (entry["kind"], entry["min"]) == ("datetime", first)


def test_eight_digits_are_a_date_only_under_a_name_that_says_so(make: Callable[..., Any]) -> None:
    rows = [f"202401{n % 28 + 1:02d},202401{n % 28 + 1:02d},{'yes' if n % 3 else 'no'}" for n in range(N)]
    schema = make("order_date,batch,label\n" + "\n".join(rows) + "\n").schema
    assert [entry["kind"] for entry in schema["columns"]] == ["datetime", "number", "category"]


def test_dates_that_could_be_either_are_day_first_and_said_so(column: Column) -> None:
    entry = column(cells(lambda n: f"{n % 12 + 1:02d}/{n % 11 + 1:02d}/2024"))
    assert (entry["order"], entry["warnings"]) == ("day-month-year", {"DATE_ORDER_AMBIGUOUS"})


def test_a_few_words_among_numbers_cost_their_rows(column: Column) -> None:
    entry = column(cells(lambda n: {5: "twelve", 50: "many"}.get(n, str(n))))
    assert (entry["kind"], entry["quarantined"]) == ("number", {"VALUE_TYPE": 2})


def test_one_word_that_repeats_among_numbers_means_missing(column: Column) -> None:
    entry = column(cells(lambda n: "unknown" if n % 30 == 0 else str(n)))
    assert (entry["kind"], entry["missing"], entry["quarantined"]) == ("number", 4, {})
    assert "VALUE_READ_AS_MISSING" in entry["warnings"]


def test_many_words_among_numbers_make_a_category(column: Column) -> None:
    entry = column(cells(lambda n: "some" if n % 2 else str(n % 8)))
    assert (entry["kind"], entry["warnings"]) == ("category", {"COLUMN_MIXED"})


@pytest.mark.parametrize(
    ("word", "code"),
    [
        ("inf", "VALUE_NOT_FINITE"),
        ("-Infinity", "VALUE_NOT_FINITE"),
        ("1e999", "VALUE_NOT_FINITE"),
        ("3.5e38", "VALUE_OUT_OF_RANGE"),
    ],
)
def test_numbers_no_model_can_hold_cost_their_rows(column: Column, word: str, code: str) -> None:
    assert column(cells(lambda n: word if n == 7 else str(n)))["quarantined"] == {code: 1}


def test_a_column_full_of_infinities_loses_them_not_its_rows(column: Column) -> None:
    entry = column(cells(lambda n: "inf" if n % 4 == 0 else str(n)))
    assert (entry["missing"], entry["quarantined"]) == (30, {})
    assert "VALUE_NOT_FINITE" in entry["warnings"]


@pytest.mark.parametrize(
    ("shape", "reason", "code"),
    [
        (lambda n: "", "empty", "COLUMN_ALL_NULL"),
        (lambda n: "7", "constant", "COLUMN_CONSTANT"),
        (lambda n: "same", "constant", "COLUMN_CONSTANT"),
        (lambda n: f"user-{n}", "identifier", "COLUMN_IDENTIFIER"),
        (lambda n: f"Dear reader, this is comment number {n} of many that were written.", "text", "COLUMN_TEXT"),
    ],
)
def test_columns_that_teach_nothing_are_left_out_with_a_reason(
    column: Column, shape: Callable[[int], str], reason: str, code: str
) -> None:
    entry = column(cells(shape))
    assert (entry["role"], entry["reason"]) == ("dropped", reason)
    assert code in entry["warnings"]


@pytest.mark.parametrize("name", ["id", "customer_id", "userId", "Unnamed: 0", "编号"])
def test_numbers_named_like_keys_are_identifiers(make: Callable[..., Any], name: str) -> None:
    rows = [f"{n * 13 + 5},{(n * 7919) % 97},{'yes' if n % 3 else 'no'}" for n in range(N)]
    entry = make(f"{name},x,label\n" + "\n".join(rows) + "\n").schema["columns"][0]
    assert entry["reason"] == "identifier"


def test_a_number_that_merely_differs_in_every_row_is_kept(column: Column) -> None:
    assert column(cells(lambda n: str(n * 13 + 5)))["role"] == "feature"


def test_rows_counted_from_one_are_an_identifier(make: Callable[..., Any]) -> None:
    rows = [f"{n + 1},{(n * 7919) % 97},{'yes' if n % 3 else 'no'}" for n in range(1_200)]
    assert make("position,x,label\n" + "\n".join(rows) + "\n").schema["columns"][0]["reason"] == "identifier"


def test_skewed_positive_numbers_are_marked_and_yes_or_no_is_not(column: Column) -> None:
    assert column(cells(lambda n: str(2 ** (n % 20))))["log1p"] is True
    assert column(cells(lambda n: str(2 ** (n % 20))), preprocess={"skew": "none"})["log1p"] is False
    assert column(cells(lambda n: str(-(2 ** (n % 20)))))["log1p"] is False
    assert column(cells(lambda n: str(int(n % 20 == 0))))["log1p"] is False


def test_personal_data_is_named_and_never_shown(make: Callable[..., Any]) -> None:
    rows = [f"user{n}@example.test,4111111111111111,{n % 9},{'yes' if n % 3 else 'no'}" for n in range(N)]
    prepared = make("mail,card,x,label\n" + "\n".join(rows) + "\n")
    assert [w["column"] for w in prepared.profile["warnings"] if w["code"] == "WARN_PII"] == ["mail", "card"]
    assert "example.test" not in str(prepared.profile) + str(prepared.schema)
    assert "4111111111111111" not in str(prepared.profile) + str(prepared.schema)
