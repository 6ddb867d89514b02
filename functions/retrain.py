"""Woken by a clock, drift, labels or a person: makes a new upload of the newest data and feedback, or says why not."""

from __future__ import annotations

from typing import Any

from aws_lambda_powertools import Logger

from tidemill.core.records import take
from tidemill.core.registry import Registry
from tidemill.core.retraining import retrain
from tidemill.core.schedules import keep
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.core.wakes import wakes_of

logger = Logger()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SQS messages from schedules, the bus, S3 and the API in; the messages to be delivered again out."""
    settings = Settings.from_environment()
    artifacts, uploads = Storage(settings.artifacts_bucket), Storage(settings.data_bucket)
    registry = Registry(settings.table, artifacts)

    def work(body: str) -> None:
        for wake in wakes_of(body, artifacts):
            if wake.why == "clocks":
                keep(wake.model, registry, settings)
                logger.info("clocks", model=wake.model)
            else:
                attempt = retrain(wake, registry, uploads, artifacts) or {"state": "ignored"}
                logger.info("retrain", model=wake.model, why=wake.why, state=attempt["state"])

    return take(event, settings.queue_url, work)
