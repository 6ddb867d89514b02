"""Answers the HTTP API of the sample: says what it sees, and tries what its role forbids."""

import json
import os
from typing import Any

import boto3
from botocore.exceptions import ClientError
from shared_words import GREETING  # type: ignore[import-not-found]


def handler(event: dict[str, Any], _context: Any) -> dict[str, Any]:
    """One answer per path."""
    path = event["rawPath"]
    print("called", path)
    if path == "/denied":
        return _answer({"code": _try()})
    if path == "/submit":
        call = {"jobName": "from-function", "jobQueue": "sample", "jobDefinition": "sample"}
        return _answer(boto3.client("batch").submit_job(**call, containerOverrides={"command": ["python", "-c", ""]}))
    if path == "/environment":
        return _answer({name: value for name, value in os.environ.items() if not name.startswith("AWS_SE")})
    if path == "/echo":
        return _answer({"coded": event["isBase64Encoded"], "body": event.get("body"), "query": event["rawQueryString"]})
    if path == "/crash":
        raise RuntimeError("as asked")
    return _answer({"greeting": GREETING, "path": path, "route": event["routeKey"], "host": event["headers"]["host"]})


def _try() -> str:
    try:
        boto3.client("s3").list_buckets()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "allowed"


def _answer(body: dict[str, Any]) -> dict[str, Any]:
    return {"statusCode": 200, "headers": {"content-type": "application/json"}, "body": json.dumps(body, default=str)}
