"""The control plane: every route of the HTTP API as one FastAPI app."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from fastapi import Depends, FastAPI
from fastapi.responses import JSONResponse

from tidemill.core import clients
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.core.version import VERSION
from tidemill.serving.app import (
    aliases,
    backbones,
    models,
    monitored,
    pages,
    predictions,
    problems,
    retrains,
    runs,
    scorings,
    shapes,
    uploads,
)
from tidemill.serving.app.access import ANYONE, may
from tidemill.serving.app.entrance import Entrance
from tidemill.serving.app.world import Door, Item, Registry, Scorings, World

__all__ = ["build"]

_ABOUT = (
    "Drop a data set in a bucket, get a model behind an API. "
    "Every route but /health needs a key: 'x-api-key: KEY' or 'Authorization: Bearer KEY'. "
    "Errors are problem documents (RFC 9457) with a stable 'code' and a 'remedy'."
)
_CODES = {401: "No or unknown key", 403: "Wrong role", 404: "Unknown", 422: "Wrong field", 500: "Our fault"}


def build(
    registry: Registry,
    *,
    s3: Any,
    logs: Any,
    settings: Settings,
    scored: Scorings,
    door: Door | None = None,
    wake: Callable[[Item], None] | None = None,
    batch: Any = None,
) -> FastAPI:
    """The app over registry and scorings, boto3 clients of S3, logs and Batch, and the names of the stack."""
    world = World(
        registry,
        data=Storage(settings.data_bucket, s3),
        artifacts=Storage(settings.artifacts_bucket, s3),
        logs=logs,
        door=door or _predict_function,
        scorings=scored,
        wake=wake or partial(_send, settings.retrain_queue_url),
        batch=batch,
    )
    app = _Api(
        title="Tidemill",
        version=VERSION,
        description=_ABOUT,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        dependencies=[Depends(may)],
        responses={code: {"model": shapes.Problem, "description": text} for code, text in _CODES.items()},
    )
    _add_health(app)
    for part in (uploads, backbones, models, aliases, runs, scorings, retrains, predictions, monitored):
        app.include_router(part.routes(world))
    app.include_router(pages.routes(app))
    problems.install(app)
    app.add_middleware(Entrance, registry=registry)
    return app


def _add_health(app: FastAPI) -> None:
    @app.get("/health", response_model=shapes.Health, openapi_extra=ANYONE, tags=["about"])
    def health() -> JSONResponse:
        """Say that the API answers; the only route without a key."""
        return JSONResponse({"status": "ok", "version": VERSION})


class _Api(FastAPI):
    """FastAPI whose OpenAPI document says how keys are sent; made with the first request that asks for it."""

    def openapi(self) -> dict[str, Any]:
        if self.openapi_schema is None:
            document = super().openapi()
            document.setdefault("components", {})["securitySchemes"] = {
                "key": {"type": "apiKey", "in": "header", "name": "x-api-key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            }
            for about in (about for methods in document["paths"].values() for about in methods.values()):
                about["security"] = [] if about.get("x-role") == "none" else [{"key": []}, {"bearer": []}]
            self.openapi_schema = document
        return self.openapi_schema


def _predict_function(event: Mapping[str, Any]) -> Mapping[str, Any]:
    """The Predict function's own code, loaded with the first request that needs it."""
    from tidemill.serving import door

    return door.handle(event)


def _send(queue_url: str, message: Item) -> None:
    """Put a message on Retrain's queue; the client is made with the first."""
    clients.client("sqs").send_message(QueueUrl=queue_url, MessageBody=json.dumps(message))
