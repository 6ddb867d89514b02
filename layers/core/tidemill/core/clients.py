"""AWS clients, made once for a process: making one costs more than most calls with it."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError, HTTPClientError, IncompleteReadError
from urllib3.exceptions import HTTPError

# Standard retries with a total of five tries, and no wait longer than a function can afford.
CONFIG = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=60)

# An answer that broke off. botocore lets urllib3's own error through where it is one of S3's refusals that did.
BROKEN = (HTTPClientError, IncompleteReadError, HTTPError)
BUSY = frozenset({"Throttling", "ThrottlingException", "ProvisionedThroughputExceededException", "SlowDown"})


def passes(error: Exception) -> bool:
    """Whether a call failed for a reason that passes: the network, a cut answer, throttling, AWS's own 5xx."""
    if isinstance(error, ClientError):
        status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        return status >= 500 or error.response.get("Error", {}).get("Code") in BUSY
    return isinstance(error, BROKEN)


@cache
def client(service: str) -> Any:
    """The process's client of a service."""
    return boto3.client(service, config=CONFIG)


@cache
def resource(service: str) -> Any:
    """The process's resource of a service."""
    return boto3.resource(service, config=CONFIG)


def forget() -> None:
    """Make new clients from now on, for a process whose credentials or endpoints changed."""
    client.cache_clear()
    resource.cache_clear()
