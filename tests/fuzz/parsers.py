"""Every parser that reads a stranger's bytes, as a function that must end in a value or in one of our errors."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from tests.serving.bundle_factory import program

from tidemill.core.errors import TidemillError
from tidemill.core.readers.archive import open_archive
from tidemill.core.readers.members import list_members
from tidemill.core.readers.opening import open_table
from tidemill.core.readers.picture import glance, read_picture
from tidemill.core.readers.text_members import TextMembers
from tidemill.core.spec import Spec
from tidemill.serving import bodies, payloads

MESSAGE_CHARACTERS = 2_000  # a longer message quotes the file
_TYPE = "multipart/form-data; boundary=mark"


def check(parser: str, data: bytes) -> str:
    """Run one parser on some bytes: "" where it read them, else the code of its refusal; raises what is a finding."""
    try:
        PARSERS[parser](data)
    except TidemillError as error:
        assert 400 <= error.status < 500, f"{error.code} has status {error.status}"
        assert error.code and error.remedy and error.message, f"{error.code} does not say what to do"
        assert len(error.message) <= MESSAGE_CHARACTERS, f"{error.code} says {len(error.message)} characters"
        json.dumps(error.problem(), allow_nan=False).encode()
        return error.code
    return ""


@cache
def _file() -> Path:
    """One file that each case is written to, in memory where the machine has such a folder."""
    shared = Path("/dev/shm")  # noqa: S108
    return Path(tempfile.mkdtemp(prefix="fuzz-", dir=shared if shared.is_dir() else None)) / "upload"


def _table(data: bytes, name: str) -> None:
    """Every cell of a table; as many cells as there are rows."""
    _file().write_bytes(data)
    table = open_table(_file(), name)
    for chunk in table.chunks():
        assert all(len(column) == len(chunk.rows) for column in chunk.columns)
        assert len(chunk.columns) == len(chunk.names)
        for bad in chunk.bad:
            assert bad.code and bad.reason


def _archive(data: bytes) -> None:
    """Every member of an archive, listed and then read."""
    _file().write_bytes(data)
    archive = open_archive(_file(), "upload")
    if archive is None:
        return
    list_members(archive.entries())
    for entry, content in archive.contents(lambda entry: True):
        assert ".." not in entry.name.split("/") or isinstance(content, bytes)


def _picture(data: bytes) -> None:
    """The pixels of a picture, and its size at a glance, which must agree about what is one."""
    picture = read_picture(data)
    height, width, _ = glance(data)
    assert {height, width} == {picture.height, picture.width} and picture.pixels_hwc.size


def _text(data: bytes) -> None:
    """A text file of an archive; whatever it holds is UTF-8 afterwards."""
    for chunk in TextMembers(lambda: [(0, "a.txt", data)], lambda *_: "label").chunks():
        for cell in chunk.columns[0].to_pylist():
            cell.encode()


def _spec(data: bytes) -> None:
    """A specification; what was read is read again from its own values."""
    spec = Spec.from_toml(data.decode("utf-8", "surrogateescape"))
    assert Spec.from_json(spec.to_json()) == spec


_program = cache(program)


def _body(data: bytes) -> None:
    """A request for predictions, or for explanations, through the features of a model."""
    verb = "explain" if data[:1] == b"e" else "predict"
    payload = payloads.read(data[1:], verb)
    x_nf = _program().x_of_rows(payload.rows)
    assert x_nf.shape == (len(payload.rows), _program().width)


def _multipart(data: bytes) -> None:
    """A form of pictures or texts."""
    payload = bodies.read(data, {"content-type": _TYPE}, "", "predict")
    assert payload.rows and payload.sent in ("picture", "text")


PARSERS: dict[str, Callable[[bytes], None]] = {
    "csv": lambda data: _table(data, "table.csv"),
    "json": lambda data: _table(data, "table.json"),
    "parquet": lambda data: _table(data, "table.parquet"),
    "zip": _archive,
    "tar": _archive,
    "picture": _picture,
    "text": _text,
    "spec": _spec,
    "body": _body,
    "multipart": _multipart,
}
