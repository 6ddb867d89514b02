"""Woken by the end of a job, or of a watch: lets the gate or the counts decide and moves the alias, or says why not."""

from __future__ import annotations

import json
from typing import Any

from aws_lambda_powertools import Logger

from tidemill.core.events import Bus
from tidemill.core.records import take
from tidemill.core.registry import Registry
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.serving.outcome import EVENTS, settle
from tidemill.serving.promotion import decide, job_ended

logger = Logger()


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SQS messages with job state changes, VersionRegistered, HealthBroken, CanaryEnded in; those to repeat out."""
    settings = Settings.from_environment()
    artifacts = Storage(settings.artifacts_bucket)
    registry, bus = Registry(settings.table, artifacts), Bus(settings.bus)

    def work(body: str) -> None:
        message = json.loads(body)
        name, detail = message.get("detail-type"), message.get("detail", {})
        if name in EVENTS:
            alias = settle(name, detail, registry, bus)
            logger.info("watch", model=detail["model"], told=name, version=alias["version"] if alias else None)
            return
        registered = name == "VersionRegistered"
        run = (
            decide(detail["model"], detail["run"], registry, artifacts, bus)
            if registered
            else job_ended(detail, registry, artifacts, bus)
        )
        logger.info(
            "job", job=detail.get("jobId"), run=run["run"] if run else None, state=run["state"] if run else None
        )

    return take(event, settings.queue_url, work)
