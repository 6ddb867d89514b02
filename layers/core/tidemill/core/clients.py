"""AWS clients, made once for a process: making one costs more than most calls with it."""

from __future__ import annotations

from functools import cache
from typing import Any

import boto3
from botocore.config import Config

# Standard retries with a total of five tries, and no wait longer than a function can afford.
CONFIG = Config(retries={"mode": "standard", "max_attempts": 5}, connect_timeout=5, read_timeout=60)


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
