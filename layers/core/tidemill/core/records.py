"""Work taken from a queue: each message on its own; one that failed comes back within seconds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from aws_lambda_powertools import Logger

from tidemill.core import clients

LONGEST_WAIT_S = 900

logger = Logger()


def take(event: dict[str, Any], queue_url: str, work: Callable[[str], None]) -> dict[str, Any]:
    """Give each message's body to `work`; answer with the messages that failed (ReportBatchItemFailures).

    A message that failed is hidden for 30 s times its number of tries, at most 15 minutes, so that a passing fault
    costs seconds while a lasting one reaches the dead-letter queue after the queue's maxReceiveCount.
    """
    failures = []
    for record in event.get("Records", []):
        try:
            work(record["body"])
        except Exception as error:  # the one catch-all of this door: the message goes back, nothing is lost
            logger.exception("A message failed and will come back.", extra={"error": type(error).__name__})
            failures.append({"itemIdentifier": record["messageId"]})
            _hide_briefly(record, queue_url)
    return {"batchItemFailures": failures}


def detail_of(body: str) -> dict[str, Any]:
    """The detail of an EventBridge event that came through a queue."""
    detail: dict[str, Any] = json.loads(body).get("detail", {})
    return detail


def _hide_briefly(record: dict[str, Any], queue_url: str) -> None:
    tries = int(record.get("attributes", {}).get("ApproximateReceiveCount", "1"))
    try:
        clients.client("sqs").change_message_visibility(
            QueueUrl=queue_url, ReceiptHandle=record["receiptHandle"], VisibilityTimeout=min(30 * tries, LONGEST_WAIT_S)
        )
    except Exception:  # without it the message only comes back later
        logger.exception("The message stays hidden until its visibility timeout ends.")
