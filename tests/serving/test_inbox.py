"""Files named by key: only the model's own, within bounds, and what is not there is said to be not there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.serving.fake_aws import DATA, FakeAws, running

from tidemill.core import limits
from tidemill.core.errors import BadBody, Forbidden, NotFound, TidemillError, TooLarge
from tidemill.serving.inbox import Inbox, check_key
from tidemill.serving.signer import Client

KEY = "inbox/sides/01ab/photo.jpg"


@pytest.fixture
def aws() -> Iterator[FakeAws]:
    with running() as fake:
        yield fake


@pytest.fixture
def inbox(aws: FakeAws) -> Iterator[Inbox]:
    client = Client("us-east-1", aws.url, sleep=lambda _: None)
    yield Inbox(client, DATA)
    client.close()


def test_files_arrive_by_row(inbox: Inbox, aws: FakeAws) -> None:
    aws.files = {KEY: b"one", "inbox/sides/x/我的 photo+1.png": b"two"}
    assert inbox.read("sides", {3: KEY, 7: "inbox/sides/x/我的 photo+1.png"}) == {3: b"one", 7: b"two"}
    assert inbox.read("sides", {}) == {}


@pytest.mark.parametrize(
    "key",
    [
        "inbox/other/01ab/photo.jpg",
        "uploads/sides/01ab/photo.jpg",
        "inbox/sides",
        "inbox/sides/",
        "inbox/sides//a",
        "inbox/sides/../other/a",
        "inbox/sides/./a",
        "/inbox/sides/a",
        "inbox/sides2/a",
        "",
        "datasets/sides/x",
    ],
)
def test_a_key_outside_the_model_s_inbox_is_forbidden(key: str) -> None:
    with pytest.raises(Forbidden, match="row 4") as caught:
        check_key("sides", key, 4)
    assert caught.value.code == "FOREIGN_KEY" and caught.value.details["row"] == 4


@pytest.mark.parametrize("key", [None, 7, ["inbox/sides/a"], "inbox/sides/\ud800", "inbox/sides/a\n", "i" * 513])
def test_what_can_be_no_key_is_said_to_be_none(key: Any) -> None:
    with pytest.raises(BadBody) as caught:
        check_key("sides", key, 0)
    assert caught.value.code == "BAD_KEY" and "POST /uploads" in caught.value.remedy


@pytest.mark.parametrize("fault", [None, "denied"])
def test_a_file_that_is_not_there_is_404_also_without_the_right_to_list(
    inbox: Inbox, aws: FakeAws, fault: str | None
) -> None:
    aws.faults = [fault] if fault else []
    with pytest.raises(NotFound, match="Row 0: there is no file") as caught:
        inbox.read("sides", {0: KEY})
    assert caught.value.code == "NO_SUCH_FILE" and "a day" in caught.value.remedy


def test_other_refusals_stay_our_own_fault(inbox: Inbox, aws: FakeAws) -> None:
    aws.faults = [404 + 1]
    with pytest.raises(TidemillError) as caught:
        inbox.read("sides", {0: KEY})
    assert caught.value.status == 500


def test_a_large_file_is_refused_before_it_is_read(inbox: Inbox, aws: FakeAws, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(limits.LIMITS, "picture_bytes", limits.Limit(1_000, "bytes", "for this test"))
    aws.files = {KEY: bytes(1_001), KEY + "2": bytes(1_000)}
    with pytest.raises(TooLarge, match="Row 1: the file has 1001 bytes; 1000 are read") as caught:
        inbox.read("sides", {1: KEY})
    assert caught.value.details["row"] == 1
    assert len(inbox.read("sides", {1: KEY + "2"})[1]) == 1_000, "the connection is of use again"


def test_all_files_of_a_request_together_have_a_limit(
    inbox: Inbox, aws: FakeAws, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(limits.LIMITS, "inbox", limits.Limit(2_500, "bytes", "for this test"))
    aws.files = {KEY: bytes(1_000)}
    assert len(inbox.read("sides", {0: KEY, 1: KEY})) == 2
    with pytest.raises(TooLarge, match="Row 2"):
        inbox.read("sides", {0: KEY, 1: KEY, 2: KEY})
