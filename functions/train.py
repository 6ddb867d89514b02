"""Woken by DatasetReady: submits one batch job for the dataset."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.core.events import Bus
from tidemill.core.records import detail_of, take
from tidemill.core.registry import Registry
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.core.submit import submit

logger = Logger()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SQS messages with DatasetReady events in; the messages to be delivered again out."""
    settings = Settings.from_environment()
    registry, bus = Registry(settings.table, Storage(settings.artifacts_bucket)), Bus(settings.bus)

    def work(body: str) -> None:
        detail = detail_of(body)
        run = submit(detail["model"], detail["run"], registry, bus, settings)
        logger.info("dataset", run=run["run"], state=run["state"], job=run.get("job"))

    return take(event, settings.queue_url, work)
