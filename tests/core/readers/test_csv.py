"""Delimited text: what is found out about a file, and which rows it costs."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core.errors import BadTable
from tidemill.core.limits import LIMITS, Limit
from tidemill.core.readers import records

BODY = "".join(f"{number},{number * 2},word\n" for number in range(20))
Reader = Callable[..., Any]


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_the_delimiter_is_found(read: Reader, delimiter: str) -> None:
    found = read(("a,b,c\n" + BODY).replace(",", delimiter))
    assert found.names == ("a", "b", "c")
    assert len(found.rows) == 20
    assert found.facts["delimiter"] == delimiter


def test_a_semicolon_beats_the_comma_of_decimals(read: Reader) -> None:
    found = read("a;b;c\n" + "1,5;2,5;x\n" * 10)
    assert found.rows[0] == ("1,5", "2,5", "x")


def test_the_sep_line_of_excel_is_no_header(read: Reader) -> None:
    found = read("sep=;\na;b\n1;x\n2;y\n")
    assert found.names == ("a", "b")
    assert found.lines == [3, 4]


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_line_ending_is_read(read: Reader, ending: str) -> None:
    found = read(("a,b,c\n" + BODY).replace("\n", ending))
    assert len(found.rows) == 20
    assert found.rows[-1] == ("19", "38", "word")
    assert found.lines == list(range(2, 22))


def test_mixed_line_endings_leave_nothing_on_a_value(read: Reader) -> None:
    found = read("a,b\n1,x\r\n2,y\n3,x\r\n")
    assert {row[1] for row in found.rows} == {"x", "y"}


def test_line_breaks_and_delimiters_in_quotes_belong_to_the_value(read: Reader) -> None:
    found = read('a,b\n1,"x\ny"\n2,"p,q"\n3,"say ""hi"""\n')
    assert [row[1] for row in found.rows] == ["x\ny", "p,q", 'say "hi"']
    assert found.lines == [2, 4, 5]


def test_a_quote_inside_an_unquoted_value_is_kept(read: Reader) -> None:
    assert read('a,b\n1,Pa"ris\n2,Lyon\n').rows[0] == ("1", 'Pa"ris')


def test_a_quote_nobody_closed_costs_one_row(read: Reader) -> None:
    lines = [f'{number},"v{number}"\n' for number in range(2_000)]
    lines[7] = '7,"open\n'
    found = read("a,b\n" + "".join(lines))
    assert [(row.row, row.code) for row in found.bad] == [(9, "ROW_QUOTE")]
    assert len(found.rows) == 1_999


def test_ragged_rows_are_set_aside_with_their_line(read: Reader) -> None:
    found = read("a,b,c\n" + BODY + "1,2\n3,4,5,6\n" + BODY)
    assert [(row.row, row.code) for row in found.bad] == [(22, "ROW_RAGGED"), (23, "ROW_RAGGED")]
    assert found.bad[1].text == "3,4,5,6"
    assert len(found.rows) == 40


def test_blank_lines_are_no_rows_but_count_as_lines(read: Reader) -> None:
    found = read("a,b\n1,x\n\n2,y\n\n\n")
    assert found.lines == [2, 4]
    assert not found.bad


def test_empty_fields_at_the_end_of_longer_rows_are_dropped(read: Reader) -> None:
    found = read("a,b\n1,x,\n2,y,\n")
    assert found.rows == [("1", "x"), ("2", "y")]


def test_an_empty_name_at_the_end_of_the_header_is_dropped_when_no_row_has_it(read: Reader) -> None:
    assert read("a,b,\n1,x\n2,y\n").names == ("a", "b")


def test_rows_with_nul_bytes_are_set_aside(read: Reader) -> None:
    found = read(b"a,b,c\n" + BODY.encode() * 4 + b"1,x\x00y,z\n")
    assert [row.code for row in found.bad] == ["ROW_NUL_BYTE"]
    assert found.bad[0].column == "b"


def test_a_missing_final_line_break_is_reported(read: Reader) -> None:
    found = read("a,b\n1,x\n2,y")
    assert len(found.rows) == 2
    assert "NO_FINAL_LINE_BREAK" in found.warnings


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "EMPTY_FILE"),
        ("\ufeff", "EMPTY_FILE"),
        ("\n\n \n", "EMPTY_FILE"),
        ("20,1000,Paris,no\n" + "21,1037,Lyon,yes\n20,1000,Paris,no\n" * 5, "HEADER_MISSING"),
        ("red,small\n" + "red,large\nblue,small\n" * 5, "HEADER_MISSING"),
        ("Sales of 2024\nshop,sales\na,1\nb,2\nc,3\n", "HEADER_MISSING"),
        ("a,b,c\n" + "1,2,3,4\n" * 10, "HEADER_MISMATCH"),
        (",".join(f"c{number}" for number in range(2_001)) + "\n", "TOO_MANY_COLUMNS"),
        ("a," + "n" * 257 + "\n1,2\n", "COLUMN_NAME_TOO_LONG"),
        ("x" * (1 << 20) + "y\n", "LINE_TOO_LONG"),
    ],
)
def test_files_that_are_no_table_are_refused_by_name(read: Reader, text: str, code: str) -> None:
    with pytest.raises(BadTable) as caught:
        read(text)
    assert caught.value.code == code
    assert caught.value.remedy


def test_years_and_counts_may_be_column_names(read: Reader) -> None:
    assert read("2019,2020,2021\n" + "5,6,7\n" * 5).names == ("2019", "2020", "2021")
    assert read("0,1,2\n" + "5,6,7\n" * 5).names == ("0", "1", "2")


def test_names_are_trimmed_filled_and_made_unique(read: Reader) -> None:
    found = read(" age ,,age,cafe\u0301,caf\u00e9,__row\n" + "1,2,3,4,5,6\n" * 3)
    assert found.names == ("age", "column_2", "age__2", "café", "café__2", "__row__2")
    assert {"COLUMN_EMPTY_NAME", "COLUMN_DUPLICATE_NAME", "COLUMN_NAME_TRIMMED"} <= set(found.warnings)


def test_a_field_at_the_limit_is_read_and_one_past_it_is_set_aside(read: Reader) -> None:
    most = LIMITS["field"].value
    found = read("a,b,c\n" + BODY + f"1,{'x' * most},y\n1,{'x' * (most + 1)},y\n")
    assert len(found.rows) == 21
    assert [(row.row, row.code) for row in found.bad] == [(23, "ROW_FIELD_TOO_LONG")]
    assert len(found.bad[0].text) <= LIMITS["quarantine_text"].value


def test_a_line_without_end_is_given_up_and_the_next_is_read(read: Reader) -> None:
    found = read("a,b,c\n" + BODY + "1," + "x" * 6_000_000 + ",y\n" + BODY)
    assert [row.code for row in found.bad] == ["ROW_FIELD_TOO_LONG"]
    assert len(found.rows) == 40
    assert found.lines[-1] == 42


def test_marks_stacked_on_one_letter_are_set_aside(read: Reader) -> None:
    found = read("a,b,c\n" + BODY + "1,e" + "\u0301" * 64 + ",y\n1,e" + "\u0301" * 65 + ",y\n")
    assert [(row.row, row.code) for row in found.bad] == [(23, "ROW_FIELD_TOO_LONG")]


def test_gzip_is_read_whole_members_and_all(read: Reader) -> None:
    packed = gzip.compress(("a,b,c\n" + BODY).encode()) + gzip.compress(BODY.encode())
    assert len(read(packed, "table.csv.gz").rows) == 40


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda packed: packed[:-9], "ARCHIVE_CORRUPT"),
        (lambda packed: packed + b"GARBAGE", "ARCHIVE_CORRUPT"),
        (lambda packed: gzip.compress(packed), "NESTED_COMPRESSION"),
    ],
)
def test_damaged_gzip_is_refused(read: Reader, damage: Callable[[bytes], bytes], code: str) -> None:
    with pytest.raises(BadTable) as caught:
        read(damage(gzip.compress(("a,b,c\n" + BODY).encode())), "table.csv.gz")
    assert caught.value.code == code


def test_unpacking_stops_at_the_ratio(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "expansion_floor", Limit(1_000_000, "bytes", "test"))
    with pytest.raises(BadTable) as caught:
        read(gzip.compress(b"a,b\n" + b"1,2\n" * 1_000_000), "table.csv.gz")
    assert caught.value.code == "EXPANSION_RATIO"


def _all(blocks: list[str], width: int) -> tuple[list[list[str]], list[int], list[tuple[int, str]]]:
    rows: list[list[str]] = []
    lines: list[int] = []
    bad: list[tuple[int, str]] = []
    for batch in records.batches(blocks, ",", 0, width):
        if batch.columns is not None:
            rows += [list(cells) for cells in zip(*(column.to_pylist() for column in batch.columns), strict=True)]
        rows += batch.records
        lines += batch.lines.tolist()
        bad += [(row.row, row.code) for row in batch.bad]
    kept = [(row, line) for row, line in zip(rows, lines, strict=True) if row]
    return [row for row, _ in kept], [line for _, line in kept], bad


CELL = st.text(alphabet="ab1 é.;'-\"\n", max_size=6)
PLAIN = st.text(alphabet="ab1 é.;'-\u2028\x0b\x1c", max_size=6)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.lists(CELL, min_size=3, max_size=3), min_size=1, max_size=12), st.lists(st.integers(1, 40), max_size=5)
)
def test_where_blocks_end_makes_no_difference(rows: list[list[str]], cuts: list[int]) -> None:
    import csv

    sink = io.StringIO()
    csv.writer(sink, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    text, blocks = sink.getvalue(), []
    rest = text
    for cut in cuts:
        blocks.append(rest[:cut])
        rest = rest[cut:]
    blocks = [block for block in [*blocks, rest] if block]
    assert _all(blocks, 3) == _all([text], 3)
    assert _all([text], 3)[0] == rows


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(PLAIN, min_size=2, max_size=3), min_size=1, max_size=12), st.sampled_from(["\n", "\r\n"]))
def test_both_ways_of_splitting_a_block_agree(rows: list[list[str]], ending: str) -> None:
    text = "".join(",".join(row) + ending for row in rows)
    fast = _all([text], 2)
    assert fast == _all([text], 1)  # a width of one is never split at once
    assert fast[0] == [row for row in rows if row]
