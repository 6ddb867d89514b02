"""Answers POST /models/{model}/predict and /explain from the version in service."""

from __future__ import annotations

from typing import Any

from tidemill.serving import door


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One API Gateway request (payload format 2.0) in, one response out; never an exception."""
    return door.handle(event, context)
