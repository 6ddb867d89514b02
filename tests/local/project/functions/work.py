"""Woken by an upload: writes one item for it; fails on request, so that retries and dead letters can be seen."""

import json
import os
from typing import Any
from urllib.parse import unquote_plus

import boto3
from aws_lambda_powertools import Logger
from aws_lambda_powertools.utilities.batch import BatchProcessor, EventType, process_partial_response
from aws_lambda_powertools.utilities.data_classes.sqs_event import SQSRecord

log = Logger()
processor = BatchProcessor(event_type=EventType.SQS, raise_on_entire_batch_failure=False)
table = boto3.resource("dynamodb").Table(os.environ["TABLE"])


def record_handler(record: SQSRecord) -> None:
    """Write down each object; a key with "poison" in it never succeeds."""
    for item in json.loads(record.body).get("Records", []):
        key = unquote_plus(item["s3"]["object"]["key"])
        log.info("working", extra={"key": key})
        if "poison" in key:
            raise ValueError(f"{key} is poison")
        table.put_item(Item={"pk": key, "sequencer": item["s3"]["object"]["sequencer"]})


def handler(event: dict[str, Any], context: Any) -> Any:
    """The entry point."""
    return process_partial_response(event=event, record_handler=record_handler, processor=processor, context=context)
