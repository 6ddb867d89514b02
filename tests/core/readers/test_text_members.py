"""Text files as rows: whatever their encoding, and what is no text set aside by name."""

from __future__ import annotations

from pathlib import PurePosixPath

import pytest

from tidemill.core.limits import LIMITS, Limit, limit
from tidemill.core.readers.chunks import BadRow, Chunk
from tidemill.core.readers.text_members import TextMembers


def folder_of(place: int, name: str) -> str | None:
    return PurePosixPath(name).parent.name or None


def read(*members: tuple[str, bytes]) -> tuple[TextMembers, list[Chunk]]:
    table = TextMembers(lambda: ((place, *member) for place, member in enumerate(members, start=1)), folder_of)
    return table, list(table.chunks())


def test_a_file_becomes_its_text_its_name_and_its_folder() -> None:
    _, (chunk,) = read(("set/good/1.txt", b"fine\nday"), ("set/bad/2.txt", "糟糕".encode()), ("3.txt", b"alone"))
    assert chunk.names == ("text", "file", "label")
    assert [column.to_pylist() for column in chunk.columns] == [
        ["fine\nday", "糟糕", "alone"],
        ["set/good/1.txt", "set/bad/2.txt", "3.txt"],
        ["good", "bad", None],
    ]
    assert chunk.rows.tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("bom".encode("utf-8-sig"), "bom"),
        ("房间很干净，服务也很好".encode("gb18030"), "房间很干净，服务也很好"),
        ("wide".encode("utf-16"), "wide"),
        ("café au lait".encode("cp1252"), "café au lait"),
        (b"", ""),
    ],
)
def test_every_file_has_an_encoding_of_its_own(content: bytes, text: str) -> None:
    table, (chunk,) = read(("a/1.txt", content), ("a/2.txt", b"plain"))
    assert chunk.columns[0].to_pylist() == [text, "plain"]
    guessed = text.startswith(("房", "caf"))
    assert [warned.code for warned in table.warnings] == ["ENCODING_GUESSED"] * guessed


@pytest.mark.parametrize(
    ("content", "code"), [(bytes(range(256)) * 4, "NOT_TEXT"), ("x".encode("utf-32"), "ENCODING_UNSUPPORTED")]
)
def test_what_is_no_text_is_set_aside_by_name(content: bytes, code: str) -> None:
    _, (chunk,) = read(("a/1.txt", b"fine"), ("a/2.txt", content), ("b/3.txt", b"good"))
    assert chunk.rows.tolist() == [1, 3]
    assert [(bad.row, bad.code, bad.text) for bad in chunk.bad] == [(2, code, "a/2.txt")]


def test_a_long_file_is_cut_where_one_can_still_see_that_it_was_too_long() -> None:
    _, (chunk,) = read(("a/1.txt", b"x" * 100_000))
    assert len(chunk.columns[0][0].as_py()) == limit("text") + 1


def test_chunks_are_bounded_and_lose_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "chunk", Limit(100, "bytes", "for the test"))
    members = [(f"a/{k}.txt", b"\x00" * 9 if k % 5 == 0 else b"ten letter") for k in range(57)]
    table, chunks = read(*members)
    assert len(chunks) > 3
    assert sorted([int(row) for c in chunks for row in c.rows] + [b.row for c in chunks for b in c.bad]) == list(
        range(1, 58)
    )
    assert len(list(table.chunks())) == len(chunks)


def test_members_that_cannot_be_read_stand_among_the_bad_rows() -> None:
    aside = [BadRow(7, "MEMBER_NAME", "odd", text="'x'")]
    table = TextMembers(lambda: [(3, "a/1.txt", b"fine")], folder_of, aside, "mood")
    (chunk,) = table.chunks()
    assert (chunk.names, chunk.rows.tolist(), chunk.bad) == (("text", "file", "mood"), [3], aside)
    assert next(iter(table.chunks())).bad == aside
