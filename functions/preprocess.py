"""Woken by an upload: makes a dataset of it, or says why not."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.core.events import Bus
from tidemill.core.ingest import ingest
from tidemill.core.records import take
from tidemill.core.registry import Registry
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.core.uploads import uploads_of

logger = Logger()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SQS messages with S3 notifications in; the messages to be delivered again out."""
    settings = Settings.from_environment()
    artifacts = Storage(settings.artifacts_bucket)
    registry, uploads, bus = Registry(settings.table, artifacts), Storage(settings.data_bucket), Bus(settings.bus)

    def work(body: str) -> None:
        for upload in uploads_of(body):
            run = ingest(upload, registry, uploads, artifacts, bus)
            logger.info("upload", key=upload.key, run=upload.run, state=run["state"] if run else "ignored")

    return take(event, settings.queue_url, work)
