"""What a file is, by its content, and whether its name agrees."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from typing import Any

import pytest

from tidemill.core.errors import BadTable
from tidemill.core.limits import LIMITS, Limit

Reader = Callable[..., Any]
CSV = b"a,b\n" + b"1,x\n2,y\n" * 10
OTHERS = {
    "html": b"<!DOCTYPE html><html><body>403</body></html>",
    "pdf": b"%PDF-1.7\n1 0 obj",
    "image": b"\x89PNG\r\n\x1a\n" + bytes(64),
    "pickle": b"\x80\x04\x95\x10\x00\x00\x00",
    "zip": b"PK\x03\x04" + bytes(60),
    "sqlite": b"SQLite format 3\x00" + bytes(64),
    "npy": b"\x93NUMPY\x01\x00" + bytes(64),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_named_csv_are_a_mismatch(read: Reader, kind: str) -> None:
    with pytest.raises(BadTable) as caught:
        read(OTHERS[kind], "table.csv")
    assert caught.value.code == "TYPE_MISMATCH"
    assert caught.value.details["found"] == kind
    assert "<" not in caught.value.message


@pytest.mark.parametrize("kind", OTHERS)
def test_other_files_under_their_own_name_are_no_tables(read: Reader, kind: str) -> None:
    with pytest.raises(BadTable) as caught:
        read(OTHERS[kind], f"table.{kind}")
    assert caught.value.code == f"NOT_DATA_{kind.upper()}"


def test_a_git_lfs_pointer_is_called_so(read: Reader) -> None:
    with pytest.raises(BadTable) as caught:
        read("version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n")
    assert caught.value.code == "NOT_DATA_LFS_POINTER"


@pytest.mark.parametrize(
    ("content", "filename"),
    [
        (gzip.compress(CSV, mtime=0), "table.csv"),
        (CSV, "table.csv.gz"),
        (CSV, "table.parquet"),
        (b'[{"a": 1}]', "table.csv"),
        (b"PAR1" + bytes(64) + b"PAR1", "table.csv"),
    ],
)
def test_a_name_that_says_something_else_is_a_mismatch(read: Reader, content: bytes, filename: str) -> None:
    with pytest.raises(BadTable) as caught:
        read(content, filename)
    assert caught.value.code == "TYPE_MISMATCH"


@pytest.mark.parametrize("filename", ["table", "TABLE.CSV", "table.txt", "table.tsv", "a.b.csv"])
def test_plain_text_is_read_under_any_of_its_names(read: Reader, filename: str) -> None:
    assert len(read(CSV, filename).rows) == 20


def test_the_size_limit_holds_at_the_byte(read: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "upload", Limit(len(CSV), "bytes", "test"))
    assert len(read(CSV).rows) == 20
    with pytest.raises(BadTable) as caught:
        read(CSV + b"3,z\n")
    assert caught.value.code == "FILE_TOO_LARGE"
