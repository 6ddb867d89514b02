"""Parquet: the footer is judged before the pages are read; types become text a person would write."""

from __future__ import annotations

import datetime
import decimal
import io
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tidemill.core.errors import BadTable
from tidemill.core.limits import LIMITS, Limit

Reader = Callable[..., Any]
UTC = datetime.UTC


def parquet(table: pa.Table, **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, **options)
    return sink.getvalue()


GOOD = pa.table({"a": range(60), "b": [f"w{number}" for number in range(60)]})


def test_rows_are_read_in_order(read: Reader) -> None:
    found = read(parquet(GOOD, row_group_size=7), "table.parquet")
    assert found.rows[59] == ("59", "w59")
    assert found.lines == list(range(1, 61))


def test_types_become_the_text_a_person_would_write(read: Reader) -> None:
    table = pa.table(
        {
            "int": pa.array([1, None]),
            "float": pa.array([0.1, float("nan")]),
            "bool": pa.array([True, False]),
            "decimal": pa.array([decimal.Decimal("1.10"), None]),
            "date": pa.array([datetime.date(2024, 1, 31), None]),
            "time": pa.array(
                [datetime.datetime(2024, 1, 31, 12, tzinfo=UTC), None], pa.timestamp("ns", "Asia/Shanghai")
            ),
            "word": pa.array(["x", "y"]).dictionary_encode(),
            "big": pa.array([2**53 + 1, None]),
        }
    )
    first = dict(zip(table.column_names, read(parquet(table), "table.parquet").rows[0], strict=True))
    assert first["time"].startswith("2024-01-31 12:00:00")
    del first["time"]
    assert first == {
        "int": "1",
        "float": "0.1",
        "bool": "true",
        "decimal": "1.1",
        "date": "2024-01-31",
        "word": "x",
        "big": "9007199254740993",
    }


def test_structs_are_flattened_and_other_types_named_and_left_out(read: Reader) -> None:
    table = pa.table(
        {
            "s": [{"x": 1, "y": {"z": "q"}}],
            "l": [[1, 2]],
            "bin": [b"\x00"],
            "dur": pa.array([5], pa.duration("s")),
            "ok": [1],
        }
    )
    found = read(parquet(table), "table.parquet")
    assert (found.names, found.rows) == (("s.x", "s.y.z", "ok"), [("1", "q", "1")])
    assert found.warnings.count("COLUMN_UNSUPPORTED_TYPE") == 2


def test_columns_of_one_name_stay_apart(read: Reader) -> None:
    table = pa.table([pa.array([1, 2]), pa.array([3, 4])], names=["a", "a"])
    found = read(parquet(table), "table.parquet")
    assert (found.names, found.rows) == (("a", "a__2"), [("1", "3"), ("2", "4")])


def _flipped(content: bytes) -> bytes:
    middle = len(content) // 4
    return content[:middle] + bytes(byte ^ 0xFF for byte in content[middle : middle + 40]) + content[middle + 40 :]


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (lambda content: content[: len(content) // 2], "PARQUET_CORRUPT"),
        (lambda content: content[:-8] + (2**31 - 1).to_bytes(4, "little") + b"PAR1", "PARQUET_CORRUPT"),
        (lambda content: b"PAR1" + bytes(range(200)) + (190).to_bytes(4, "little") + b"PAR1", "PARQUET_CORRUPT"),
        (lambda content: content[:-4] + b"PARE", "PARQUET_ENCRYPTED"),
        (_flipped, "PARQUET_CORRUPT"),
    ],
)
def test_damaged_files_are_refused(read: Reader, damage: Callable[[bytes], bytes], code: str) -> None:
    content = parquet(pa.table({"a": [f"value {number * 7919}" for number in range(500)]}), write_page_checksum=True)
    with pytest.raises(BadTable) as caught:
        read(damage(content), "table.parquet")
    assert caught.value.code == code


def test_extension_types_are_refused(read: Reader) -> None:
    field = pa.field("a", pa.int64(), metadata={b"ARROW:extension:name": b"arrow.py_extension_type"})
    with pytest.raises(BadTable) as caught:
        read(parquet(pa.table([pa.array([1])], schema=pa.schema([field]))), "table.parquet")
    assert caught.value.code == "PARQUET_EXTENSION_TYPE"


@pytest.mark.parametrize(("name", "code"), [("rows", "TOO_MANY_ROWS"), ("columns", "TOO_MANY_COLUMNS")])
def test_limits_hold_at_the_number(read: Reader, monkeypatch: pytest.MonkeyPatch, name: str, code: str) -> None:
    content = parquet(GOOD)
    most = {"rows": 60, "columns": 2}[name]
    monkeypatch.setitem(LIMITS, name, Limit(most, name, "test"))
    assert len(read(content, "table.parquet").rows) == 60
    monkeypatch.setitem(LIMITS, name, Limit(most - 1, name, "test"))
    with pytest.raises(BadTable) as caught:
        read(content, "table.parquet")
    assert caught.value.code == code


def test_a_bomb_is_seen_in_the_footer(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "expansion_floor", Limit(1_000_000, "bytes", "test"))
    with pytest.raises(BadTable) as caught:
        read(parquet(pa.table({"a": ["x" * 5_000_000]}), compression="zstd", use_dictionary=False), "table.parquet")
    assert caught.value.code == "EXPANSION_RATIO"


def test_long_cells_are_set_aside(read: Reader) -> None:
    most = LIMITS["field"].value
    found = read(parquet(pa.table({"a": ["x" * most, "x" * (most + 1)], "b": [1, 2]})), "table.parquet")
    assert [(row.row, row.code) for row in found.bad] == [(2, "ROW_FIELD_TOO_LONG")]
    assert len(found.rows) == 1
