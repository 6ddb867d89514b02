"""Woken by a file under requests/: scores it with the version in service, or says why not."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

from aws_lambda_powertools import Logger

from tidemill.core import clients
from tidemill.core.records import take
from tidemill.core.scorings import job_of
from tidemill.core.settings import Settings
from tidemill.core.uploads import uploads_of
from tidemill.serving.scoring import Scorer
from tidemill.serving.scoring_job import scorer_of

logger = Logger()


@cache
def _scorer() -> Scorer:
    """What scores in this environment, made by its first message; open bundles outlive a message."""
    settings = Settings.from_environment()
    folder = Path(os.environ.get("TIDEMILL_CACHE_DIR") or "/tmp/tidemill")  # noqa: S108 - all that Lambda can write
    made = scorer_of(settings, folder)
    return replace(made, submit=lambda item: job_of(item, settings, clients.client("batch")))


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """SQS messages with S3 notifications and job state changes in; the messages to be delivered again out."""
    scorer = replace(_scorer(), time_left_s=lambda: context.get_remaining_time_in_millis() / 1000)

    def work(body: str) -> None:
        message = json.loads(body)
        ended = message.get("detail-type") == "Batch Job State Change"
        found = [scorer.job_ended(message["detail"])] if ended else [scorer.take(item) for item in uploads_of(body)]
        for item in found:
            if item is not None:
                logger.info("scoring", scoring=item["scoring"], state=item["state"], rows=item.get("rows"))

    return take(event, Settings.from_environment().queue_url, work)
