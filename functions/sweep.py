"""Woken by the clock: sends again what got lost on its way, ends what cannot end by itself."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.core import clients
from tidemill.core.records import take
from tidemill.core.registry import Registry
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.core.sweep import Sweep

logger = Logger()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SQS messages that only say that it is time in; the messages to be delivered again out."""
    settings = Settings.from_environment()
    artifacts = Storage(settings.artifacts_bucket)
    registry, uploads = Registry(settings.table, artifacts), Storage(settings.data_bucket)

    def work(body: str) -> None:
        sweep = Sweep(registry, uploads, artifacts, settings, clients.client("sqs"), clients.client("batch"))
        counts = sweep.run()
        logger.info("sweep", did=sweep.did, counts=dict(counts))

    return take(event, settings.queue_url, work)
