"""One upload is one run, whichever way it is heard of."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tidemill.core.errors import BadRequest
from tidemill.core.uploads import Upload, notification_of, uploads_of

SENT = Upload("b", "uploads/m/u/a b+c.csv", 7, "e", "0A", "2026-01-01T00:00:00.000Z", "v1")


def test_a_notification_made_again_says_the_same() -> None:
    assert uploads_of(notification_of(SENT)) == [SENT]
    bare = replace(SENT, version="")
    assert uploads_of(notification_of(bare)) == [bare]


def test_a_version_of_an_object_is_one_run_however_it_was_found() -> None:
    assert replace(SENT, sequencer="F" * 32, time="2026-01-02T00:00:00.999Z").run == SENT.run
    assert replace(SENT, version="v2").run != SENT.run


def test_where_no_versions_are_kept_the_sequencer_tells_uploads_apart() -> None:
    bare = replace(SENT, version="")
    assert bare.run != replace(bare, sequencer="0B").run
    message = json.loads(notification_of(SENT))
    message["Records"][0]["s3"]["object"]["versionId"] = "null"
    assert uploads_of(json.dumps(message)) == [bare]


def test_test_events_and_deletions_name_no_uploads() -> None:
    gone = json.loads(notification_of(SENT))
    gone["Records"][0]["eventName"] = "ObjectRemoved:Delete"
    assert (
        uploads_of(json.dumps({"Service": "Amazon S3", "Event": "s3:TestEvent"})) == uploads_of(json.dumps(gone)) == []
    )


@pytest.mark.parametrize("body", ["", "no JSON at all", "[]", "{}", "null", '{"Records": {}}', '{"Event": "s3:Other"}'])
def test_what_is_no_notification_is_refused_rather_than_taken_for_an_empty_one(body: str) -> None:
    with pytest.raises(BadRequest) as caught:
        uploads_of(body)
    assert caught.value.code == "NOT_A_NOTIFICATION"
