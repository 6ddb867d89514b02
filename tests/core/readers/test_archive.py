"""Archives: the same members from every format, nothing outside them, no bomb goes off, and broken ones say so."""

from __future__ import annotations

import gzip
import io
import struct
import tarfile
import tracemalloc
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.pictures import tarred, zipped

from tidemill.core.errors import BadTable
from tidemill.core.limits import LIMITS, Limit
from tidemill.core.readers.archive import Archive, open_archive
from tidemill.core.readers.members import Entry, Listing, check_path, list_members, shown

MEMBERS = {"cat/1.png": b"one", "dog/2.png": b"two" * 700, "dog/" + "long" * 40 + ".png": b"3", "猫/图.png": b""}
PACKERS: dict[str, Callable[..., bytes]] = {
    "zip": zipped,
    "stored.zip": lambda members: zipped(members, zipfile.ZIP_STORED),
    "tar": tarred,
    "gnu.tar": lambda members: tarred(members, form=tarfile.GNU_FORMAT),
    "tar.gz": lambda members: tarred(members, "w:gz"),
}


def opened(folder: Path, data: bytes, filename: str = "upload") -> Archive:
    path = folder / "archive"
    path.write_bytes(data)
    archive = open_archive(path, filename)
    assert archive is not None
    return archive


def everything(archive: Archive) -> dict[str, bytes]:
    return {entry.name: data for entry, data in archive.contents(lambda entry: True)}


def refused(folder: Path, data: bytes) -> BadTable:
    with pytest.raises(BadTable) as caught:
        archive = opened(folder, data)
        list_members(archive.entries())
        everything(archive)
    assert caught.value.remedy
    assert len(caught.value.message) < 500
    return caught.value


@pytest.mark.parametrize("kind", PACKERS)
def test_every_format_gives_the_same_members(tmp_path: Path, kind: str) -> None:
    archive = opened(tmp_path, PACKERS[kind](MEMBERS), "upload." + kind)
    assert everything(archive) == MEMBERS
    assert {entry.name: entry.size_bytes for entry in archive.entries()} == {k: len(v) for k, v in MEMBERS.items()}
    assert [entry.place for entry in archive.entries()] == [1, 2, 3, 4]


@pytest.mark.parametrize("kind", PACKERS)
def test_only_wanted_members_are_read(tmp_path: Path, kind: str) -> None:
    archive = opened(tmp_path, PACKERS[kind](MEMBERS))
    assert [entry.place for entry, _ in archive.contents(lambda entry: entry.place % 2 == 0)] == [2, 4]


@pytest.mark.parametrize("name", ["table.csv", "table.parquet", "book.xlsx", "table.csv.gz"])
def test_what_is_called_a_table_is_not_opened(tmp_path: Path, name: str) -> None:
    (tmp_path / "archive").write_bytes(zipped(MEMBERS))
    assert open_archive(tmp_path / "archive", name) is None


@pytest.mark.parametrize(
    "data", [b"", b"a,b\n1,2\n" * 200, gzip.compress(b"a,b\n1,2\n" * 200, mtime=0), b"\x89PNG" + bytes(600)]
)
def test_other_files_are_no_archives(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "archive").write_bytes(data)
    assert open_archive(tmp_path / "archive", "upload") is None


BAD_PATHS = ["../x.png", "cat/../../x.png", "/etc/passwd", "C:/x.png", "a/" * 40 + "x.png", "a" * 2_000, "..\\x.png"]


@pytest.mark.parametrize("kind", ["zip", "tar"])
@pytest.mark.parametrize("name", BAD_PATHS)
def test_paths_that_lead_elsewhere_refuse_the_archive(tmp_path: Path, kind: str, name: str) -> None:
    assert refused(tmp_path, PACKERS[kind]({**MEMBERS, name: b"x"})).code == "ARCHIVE_PATH"


@given(st.text(max_size=60))
def test_a_path_that_passes_stays_in_its_folder(name: str) -> None:
    try:
        check_path(name)
    except BadTable:
        return
    assert (Path("/base") / name).resolve().is_relative_to("/base")


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE])
def test_a_tar_with_something_that_is_no_file_is_refused(tmp_path: Path, kind: bytes) -> None:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as archive:
        info = tarfile.TarInfo("cat/1.png")
        info.type, info.linkname = kind, "/etc/passwd"
        archive.addfile(info)
    assert refused(tmp_path, sink.getvalue()).code == "ARCHIVE_LINK"


def test_a_zip_with_a_link_is_refused(tmp_path: Path) -> None:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        info = zipfile.ZipInfo("cat/1.png")
        info.external_attr = 0o120777 << 16
        archive.writestr(info, "/etc/passwd")
    assert refused(tmp_path, sink.getvalue()).code == "ARCHIVE_LINK"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_name_that_stands_twice_is_refused(tmp_path: Path, kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        data = PACKERS[kind]([("é/1.png", b"1"), ("e\u0301/1.png", b"2")])
    assert refused(tmp_path, data).code == "ARCHIVE_DUPLICATE_MEMBER"


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_other_methods_than_deflate_are_refused(tmp_path: Path, method: int) -> None:
    assert refused(tmp_path, zipped(MEMBERS, method)).code == "ARCHIVE_METHOD"


def patched(data: bytes, offset: int, form: str, value: int) -> bytes:
    """A zip with one field of its first directory entry changed."""
    place = data.index(b"PK\x01\x02") + offset
    return data[:place] + struct.pack(form, value) + data[place + struct.calcsize(form) :]


ONE = zipped({"cat/1.png": bytes(range(256)) * 4})
DAMAGED = {
    "a size of ten bytes": patched(ONE, 24, "<L", 10),
    "another checksum": patched(ONE, 16, "<L", 1),
    "a place behind the end": patched(ONE, 42, "<L", 9_999),
    "cut in the directory": ONE[:-30],
    "cut in the data": ONE[:100],
    "two members, one place": patched(zipped({"a/1.png": b"1" * 99, "b/1.png": b"1" * 99}), 42, "<L", 40),
}


@pytest.mark.parametrize("how", DAMAGED)
def test_damaged_zips_are_refused(tmp_path: Path, how: str) -> None:
    assert refused(tmp_path, DAMAGED[how]).code == "ARCHIVE_CORRUPT"


def test_an_encrypted_member_is_refused(tmp_path: Path) -> None:
    assert refused(tmp_path, patched(ONE, 8, "<H", 1)).code == "ARCHIVE_ENCRYPTED"


@pytest.mark.parametrize("kind", ["tar", "gnu.tar", "tar.gz"])
@pytest.mark.parametrize("keep", [0.2, 0.5, 0.7])
def test_a_tar_that_was_cut_off_is_refused(tmp_path: Path, kind: str, keep: float) -> None:
    data = PACKERS[kind]({f"cat/{k}.png": bytes(range(256)) * (k % 7 + 5) for k in range(30)})
    assert refused(tmp_path, data[: int(len(data) * keep) // 512 * 512 + 300]).code == "ARCHIVE_CORRUPT"


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME])
def test_an_endless_header_of_a_tar_is_not_read(tmp_path: Path, kind: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = kind, 40 << 20
    data = gzip.compress(info.tobuf() + bytes(40 << 20), compresslevel=1)
    tracemalloc.start()
    error = refused(tmp_path, data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert error.code == "ARCHIVE_CORRUPT"
    assert peak < 4 << 20


@pytest.mark.parametrize("kind", ["zip", "tar.gz"])
def test_bombs_are_refused_before_they_are_unpacked(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    data = PACKERS[kind]({f"cat/{k}.png": bytes(1 << 20) for k in range(4)})
    monkeypatch.setitem(LIMITS, "expansion_floor", Limit(1 << 20, "bytes", "test"))
    assert refused(tmp_path, data).code == "EXPANSION_RATIO"
    monkeypatch.setitem(LIMITS, "expansion_ratio", Limit(10_000, "times", "test"))
    monkeypatch.setitem(LIMITS, "expanded", Limit(3 << 20, "bytes", "test"))
    assert refused(tmp_path, data).code == "EXPANSION_SIZE"


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_most_members_pass_and_one_more_does_not(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = PACKERS[kind]({f"cat/{k}.png": b"x" for k in range(9)})
    monkeypatch.setitem(LIMITS, "members", Limit(9, "members", "test"))
    assert len(list_members(opened(tmp_path, data).entries()).members) == 9
    monkeypatch.setitem(LIMITS, "members", Limit(8, "members", "test"))
    assert refused(tmp_path, data).code == "TOO_MANY_MEMBERS"


def test_a_directory_that_is_too_long_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "archive_directory", Limit(100, "bytes", "test"))
    assert refused(tmp_path, zipped(MEMBERS)).code == "TOO_MANY_MEMBERS"


@pytest.mark.parametrize("codec", ["gb18030", "big5", "utf-8"])
def test_names_from_a_chinese_windows_are_read(tmp_path: Path, codec: str) -> None:
    names = [f"動物照片/貓/{k}的照片.png" if codec == "big5" else f"动物照片/猫/{k}的照片.png" for k in range(5)]
    members = [(name.encode(codec).decode("cp437"), b"x") for name in names]
    data = zipped(members)
    for flag in (b"PK\x01\x02", b"PK\x03\x04"):  # such tools leave out the mark for UTF-8
        at = 8 if flag == b"PK\x01\x02" else 6
        place = data.find(flag)
        while place >= 0:
            data = data[: place + at] + b"\x00\x00" + data[place + at + 2 :]
            place = data.find(flag, place + 1)
    for name, (told, _) in zip(names, members, strict=True):
        data = data.replace(told.encode(), name.encode(codec).ljust(len(told.encode()), b"_"))
    read = [entry.name.rstrip("_") for entry in opened(tmp_path, data).entries()]
    assert read == names


@pytest.mark.parametrize(("name", "codec"), [("动物照片/猫/1.png", "gb18030"), ("animaux/élan/1.png", "cp1252")])
@pytest.mark.parametrize("form", [tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT])
def test_names_of_a_tar_that_are_not_utf_8_are_read(tmp_path: Path, name: str, codec: str, form: int) -> None:
    raw = name.encode(codec).decode("utf-8", "surrogateescape")
    (entry,) = opened(tmp_path, tarred({raw: b"x"}, form=form)).entries()
    assert entry.name == name


def listed(*names: str) -> Listing:
    return list_members(Entry(place, name, 1, name.endswith("/")) for place, name in enumerate(names, start=1))


def test_junk_is_counted_and_nothing_else_is_lost() -> None:
    junk = [
        "__MACOSX/cat/._1.png",
        "cat/.DS_Store",
        "cat/Thumbs.db",
        "desktop.ini",
        ".git/x",
        "a/.ipynb_checkpoints/1.png",
    ]
    listing = listed(*junk, "cat/1.png", "cat/", "readme.txt")
    assert listing.junk == len(junk)
    assert [entry.name for entry in listing.members] == ["cat/1.png", "readme.txt"]
    assert [entry.name for entry in listing.folders] == ["cat/"]


@pytest.mark.parametrize("name", ["cat/\u202egnp.exe", "cat/a\nb.png", "cat/\x1b[2J.png", "cat/\udcff.png"])
def test_names_that_play_tricks_are_set_aside_and_shown_without_them(name: str) -> None:
    listing = listed("cat/1.png", name)
    assert [row.code for row in listing.bad] == ["MEMBER_NAME"]
    assert shown(name).isprintable()
    assert "\u202e" not in listing.bad[0].text


def test_archives_in_an_archive_are_set_aside_and_refused_where_there_is_nothing_else() -> None:
    assert [row.code for row in listed("cat/1.png", "more.zip", "x/y.tar.gz").bad] == ["MEMBER_NESTED_ARCHIVE"] * 2
    with pytest.raises(BadTable) as caught:
        listed("a.zip", "b.zip")
    assert caught.value.code == "EXPANSION_RATIO"


@pytest.mark.parametrize("kind", PACKERS)
def test_flipped_bytes_are_refused_or_read_but_never_a_traceback(tmp_path: Path, kind: str) -> None:
    data = bytearray(PACKERS[kind](MEMBERS))
    for place in range(0, len(data), 7):
        damaged = bytearray(data)
        damaged[place] ^= 0xFF
        (tmp_path / "archive").write_bytes(bytes(damaged))
        try:
            archive = open_archive(tmp_path / "archive", "upload")
            if archive is not None:
                list_members(archive.entries())
                everything(archive)
        except BadTable as error:
            assert error.code.isupper()
