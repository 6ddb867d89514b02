"""Encodings: marks, valid UTF-8, and guesses that are reported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tidemill.core.errors import BadTable
from tidemill.core.readers.encoding import guess

Reader = Callable[..., Any]
CHINESE = "姓名,城市,年龄\n" + "张三,北京,30\n李四,上海,25\n王五,广州,41\n" * 20
TAIWANESE = "姓名,城市,年齡\n" + "陳大文,臺北,30\n林小美,高雄,25\n黃先生,臺中,41\n" * 20
FRENCH = "nom,ville,âge\n" + "André,Orléans,30\nZoé,“Nîmes”,25\nFrançois,Alès,41\n" * 20
GERMAN = "Name,Straße,Größe\n" + "Jürgen,Königstraße,1\nMüller,Überweg,2\n" * 20


@pytest.mark.parametrize(
    ("text", "codec", "named"),
    [
        (CHINESE, "utf-8", "utf-8"),
        (CHINESE, "utf-8-sig", "utf-8-sig"),
        (CHINESE, "utf-16", "utf-16"),
        (CHINESE, "gbk", "gb18030"),
        (CHINESE, "gb18030", "gb18030"),
        (TAIWANESE, "big5", "big5"),
        (FRENCH, "cp1252", "windows-1252"),
        (GERMAN, "cp1252", "windows-1252"),
    ],
)
def test_text_is_read_as_it_was_written(read: Callable[..., Any], text: str, codec: str, named: str) -> None:
    found = read(text.encode(codec))
    assert list(found.names) == text.split("\n")[0].split(",")
    assert list(found.rows[0]) == text.split("\n")[1].split(",")
    assert found.facts["encoding"] == named
    assert ("ENCODING_GUESSED" in found.warnings) == (codec in ("gbk", "gb18030", "big5", "cp1252"))


def test_both_byte_orders_of_utf_16_are_read(read: Reader) -> None:
    for codec, mark in (("utf-16-le", b"\xff\xfe"), ("utf-16-be", b"\xfe\xff")):
        assert read(mark + CHINESE.encode(codec)).names == ("姓名", "城市", "年龄")


def test_a_few_broken_bytes_in_utf_8_cost_their_rows_only(read: Reader) -> None:
    found = read(CHINESE.encode() + b"\xff\xfe,x,1\n" + CHINESE.split("\n", 1)[1].encode())
    assert [(row.row, row.code) for row in found.bad] == [(62, "ROW_ENCODING")]
    assert len(found.rows) == 120


def test_bytes_that_do_not_decode_in_a_name_are_replaced(read: Reader) -> None:
    found = read(b"caf\xc3\xa9,x\xff,c\n" + b"1,2,\xc3\xa9\n" * 5)
    assert found.names == ("café", "x\ufffd", "c")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        ("a,b\n1,2\n".encode("utf-16-le") * 20, "ENCODING_UNKNOWN"),
        ("a,b\n1,2\n".encode("utf-32"), "ENCODING_UNSUPPORTED"),
        (bytes(4096), "NOT_TEXT"),
        (bytes(range(32)) * 100, "NOT_TEXT"),
    ],
)
def test_what_is_no_readable_text_is_refused(read: Reader, content: bytes, code: str) -> None:
    with pytest.raises(BadTable) as caught:
        read(content)
    assert caught.value.code == code


def test_single_accents_are_not_taken_for_chinese() -> None:
    assert guess("30,2000,Orléans,no\n".encode("cp1252")) == "cp1252"
    assert guess("naïve, déjà vu, façade".encode("cp1252")) == "cp1252"
