"""Predict and explain as the API describes them; the work is the Predict function's, also when a request comes here."""

from __future__ import annotations

import base64
import json
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from pydantic import BaseModel
from starlette.concurrency import run_in_threadpool

from tidemill.serving.app import shapes
from tidemill.serving.app.access import PREDICT
from tidemill.serving.app.parameters import ModelName
from tidemill.serving.app.world import World

NOT_JSON = " Only with a body that is no JSON."
TARGET = {"target": "The label to explain; the predicted one when left out."}
LEVELS = {
    "interval": "Of values: the share of rows in which the truth lies between `low` and `high`.",
    "set": "Of labels: the share of rows in which the truth is in `set`.",
}
KEY = {
    "name": "x-tidemill-key",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "Whom the request is about: equal keys get the same version while a challenger answers a share.",
}
PICTURES = {"type": "array", "items": {"type": "string", "format": "binary"}, "description": "One or more pictures."}


def routes(world: World) -> APIRouter:
    """The two routes of the hot path over one world."""
    router = APIRouter(tags=["predictions"])

    @router.post(
        "/models/{model}/predict",
        response_model=shapes.Predictions,
        openapi_extra={**PREDICT, **_request(shapes.PredictRequest, LEVELS)},
    )
    async def predict(name: ModelName, request: Request) -> Response:
        """Predict rows, pictures or texts with the version in service."""
        return await _through_the_door(world, request, name, "predict")

    @router.post(
        "/models/{model}/explain",
        response_model=shapes.Explanations,
        openapi_extra={**PREDICT, **_request(shapes.ExplainRequest, TARGET)},
    )
    async def explain(name: ModelName, request: Request) -> Response:
        """Predict rows, pictures or texts and say what every column, pixel or word added to each prediction."""
        return await _through_the_door(world, request, name, "explain")

    return router


def _request(shape: type[BaseModel], options: dict[str, str]) -> dict[str, Any]:
    """The OpenAPI description of a body that this app passes on unread, and of the query that goes with most bodies."""
    fields = {name: {"type": "string", "description": text} for name, text in options.items()}
    content: dict[str, Any] = {
        "application/json": {"schema": shape.model_json_schema()},
        "image/*": {"schema": {"type": "string", "format": "binary", "description": "One picture."}},
        "multipart/form-data": {"schema": {"type": "object", "properties": {"picture": PICTURES, **fields}}},
        "text/plain": {"schema": {"type": "string", "description": "One text."}},
    }
    query = [
        {"name": name, "in": "query", "required": False, "schema": {"type": "string"}, "description": text + NOT_JSON}
        for name, text in options.items()
    ]
    return {"requestBody": {"required": True, "content": content}, "parameters": [*query, KEY]}


async def _through_the_door(world: World, request: Request, model: str, verb: str) -> Response:
    event = request.scope.get("aws.event") or _event(request, await request.body(), model, verb)
    return _response(await run_in_threadpool(world.door, event))


def _event(request: Request, body: bytes, model: str, verb: str) -> dict[str, Any]:
    """The request as API Gateway would hand it to the Predict function (payload format 2.0)."""
    path = f"/models/{model}/{verb}"
    return {
        "version": "2.0",
        "routeKey": f"POST /models/{{model}}/{verb}",
        "rawPath": path,
        "rawQueryString": request.url.query,
        "headers": dict(request.headers),
        "pathParameters": {"model": model},
        "requestContext": {"http": {"method": "POST", "path": path}, "requestId": ""},
        "body": base64.b64encode(body).decode(),
        "isBase64Encoded": True,
    }


def _response(answer: Any) -> Response:
    """The Predict function's answer as a response of this app."""
    body = answer.get("body", "")
    if not isinstance(body, (str, bytes)):
        body = json.dumps(body)
    if answer.get("isBase64Encoded"):
        body = base64.b64decode(body)
    headers = {str(key).lower(): str(value) for key, value in (answer.get("headers") or {}).items()}
    headers.pop("content-length", None)
    return Response(body, int(answer.get("statusCode", 200)), headers)
