"""Calls of S3 that fail for a moment: a body that breaks off, another write under way; and which faults pass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError, IncompleteReadError, ReadTimeoutError, ResponseStreamingError
from urllib3.exceptions import ProtocolError

from tidemill.core import clients, storage
from tidemill.core.storage import Storage


class Body:
    """An answer's body that breaks off."""

    def __init__(self, whole: bytes, cut: bool) -> None:
        self.whole, self.cut = whole, cut

    def read(self) -> bytes:
        if self.cut:
            raise ResponseStreamingError(error="broken")
        return self.whole

    def iter_chunks(self, size: int) -> Any:
        yield self.whole[:1]
        if self.cut:
            raise IncompleteReadError(actual_bytes=1, expected_bytes=len(self.whole))
        yield self.whole[1:]


class S3:
    """Breaks off or refuses so many times."""

    def __init__(self, faults: int, code: str = "") -> None:
        self.left, self.code, self.calls = faults, code, 0

    def get_object(self, **_: Any) -> dict[str, Any]:
        self.calls += 1
        return {"Body": Body(b"whole", self.calls <= self.left), "ETag": '"e"'}

    def put_object(self, **_: Any) -> None:
        self.calls += 1
        if self.calls <= self.left:
            raise refused(self.code, 409)


def refused(code: str, status: int) -> ClientError:
    return ClientError({"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Op")


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storage, "PAUSE_S", 0.0)


def test_a_body_that_breaks_off_is_read_again_from_its_beginning(tmp_path: Path) -> None:
    assert Storage("b", S3(storage.READS - 1)).read_bytes("k") == b"whole"
    read = Storage("b", S3(storage.READS - 1)).read_file("k", tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"whole" and read["size_bytes"] == 5


def test_a_body_that_always_breaks_off_is_told_of() -> None:
    with pytest.raises(ResponseStreamingError):
        Storage("b", S3(storage.READS)).read_bytes("k")


def test_a_write_beside_another_is_tried_until_it_is_known_who_won() -> None:
    busy = S3(storage.WRITES - 1, "ConditionalRequestConflict")
    assert Storage("b", busy).write_new("k", b"") and busy.calls == storage.WRITES
    with pytest.raises(ClientError):
        Storage("b", S3(storage.WRITES, "ConditionalRequestConflict")).write_new("k", b"")
    assert not Storage("b", S3(1, "PreconditionFailed")).write_new("k", b"")


@pytest.mark.parametrize(
    ("error", "passing"),
    [
        (refused("SlowDown", 503), True),
        (refused("ThrottlingException", 400), True),
        (refused("AccessDenied", 403), False),
        (refused("ConditionalCheckFailedException", 400), False),
        (ReadTimeoutError(endpoint_url="e"), True),
        (ResponseStreamingError(error="e"), True),
        (IncompleteReadError(actual_bytes=1, expected_bytes=2), True),
        (ProtocolError("a refusal that broke off"), True),
        (ValueError("a bug"), False),
    ],
)
def test_what_passes_by_itself_is_told_from_what_does_not(error: Exception, passing: bool) -> None:
    assert clients.passes(error) is passing
