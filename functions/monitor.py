"""Woken by a schedule, a model at a time: compares recent requests with the training data and tells of drift."""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools import Logger

from tidemill.core.events import Bus
from tidemill.core.names import check_model
from tidemill.core.records import take
from tidemill.core.registry import Registry
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.serving.monitoring import watch

logger = Logger()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SQS messages {"wake": "monitor", "model": m} in; the messages to be delivered again out."""
    settings = Settings.from_environment()
    artifacts = Storage(settings.artifacts_bucket)
    registry, bus = Registry(settings.table, artifacts), Bus(settings.bus)

    def work(body: str) -> None:
        model = check_model(str(json.loads(body).get("model", "")))
        logger.info("watched", **watch(model, registry, artifacts, bus, settings.topic))

    return take(event, settings.queue_url, work)
