"""Answers every HTTP request but predictions: uploads, models, versions, runs, cards, aliases and their history."""

from __future__ import annotations

from typing import Any

from mangum import Mangum

from tidemill.core import clients
from tidemill.core.registry import Registry
from tidemill.core.scorings import Scorings
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.serving.app import build
from tidemill.serving.app.entrance import last_resort

# Made once for every environment, not for every request.
_SETTINGS = Settings.from_environment()
_S3 = clients.client("s3")
_REGISTRY = Registry(_SETTINGS.table, journal=Storage(_SETTINGS.artifacts_bucket, _S3))
_APP = build(
    _REGISTRY,
    scored=Scorings(_REGISTRY),
    s3=_S3,
    logs=clients.client("logs"),
    settings=_SETTINGS,
    batch=clients.client("batch"),
)
_ANSWER = Mangum(_APP, lifespan="off")


def handler(event: dict[str, Any], context: Any) -> dict[str, Any]:
    """One API Gateway request (payload format 2.0) in, one response out; never an exception."""
    try:
        answer: dict[str, Any] = _ANSWER(event, context)
        return answer
    except Exception as error:  # noqa: BLE001 - the outermost door: an event that is no HTTP request ends here
        return last_resort(error, context)
