"""Events of the deployed bucket name the bytes they are about; an event of bytes that are gone trains nothing."""

from __future__ import annotations

import time
import uuid
from dataclasses import replace
from typing import Any

import pytest
from boto3.s3.transfer import TransferConfig
from tests.pipeline.conftest import ENDED, Service

from tidemill.core.uploads import Upload, notification_of

pytestmark = [pytest.mark.stack, pytest.mark.timeout(120)]
PAGE = b"<!doctype html><html><body>Not found</body></html>"  # refused by its content, so it was read
PART = 5 << 20  # the least that S3 takes as a part of an upload


def ended(service: Service, model: str, count: int) -> list[dict[str, Any]]:
    """The model's runs, newest first, once there are so many and all have ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = service.http.get(f"/models/{model}/runs", headers=service.operate).json().get("runs", [])
        if len(found) == count and all(run["state"] in ENDED for run in found):
            return list(found)
        time.sleep(0.3)
    raise AssertionError(found)


@pytest.mark.parametrize("size", [len(PAGE), PART + 1], ids=["in one", "in parts"])
def test_the_bytes_of_an_event_are_known_and_those_of_an_older_one_are_superseded(
    service: Service, stack: Any, tmp_path: Any, size: int
) -> None:
    model, bucket = f"over-{uuid.uuid4().hex[:8]}", stack.outputs["DataBucketName"]
    key, path = f"uploads/{model}/u1/table.csv", tmp_path / "table.csv"
    path.write_bytes(PAGE.ljust(size))
    parts = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)
    stack.client("s3").upload_file(str(path), bucket, key, Config=parts)
    (read,) = ended(service, model, 1)
    assert (read["state"], read["reason"]["code"]) == ("REJECTED", "TYPE_MISMATCH"), "its own event's bytes are there"

    late = replace(Upload(**read["upload"]), etag="0" * 32, version="", sequencer="00", time="2026-01-01T00:00:00.000Z")
    url = stack.outputs["PreprocessQueueUrl"]
    stack.client("sqs").send_message(QueueUrl=url, MessageBody=notification_of(late))
    _, older = ended(service, model, 2)
    assert (older["run"], older["state"], older["reason"]["code"]) == (late.run, "SUPERSEDED", "SUPERSEDED")
    assert older["reason"]["where"].endswith(f"/rejections/{model}/{late.run}.json") and older["reason"]["remedy"]
