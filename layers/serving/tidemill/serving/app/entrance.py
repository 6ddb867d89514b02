"""The outermost door of the control plane: key, size and type of a request, headers of the answer, one log line.

It stands before the routes, so an unknown path tells a stranger as little as a known one, and it is the only place
that catches everything.
"""

from __future__ import annotations

import time
import traceback
import uuid
from typing import Any

from aws_lambda_powertools import Logger
from botocore.exceptions import ClientError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tidemill.core.errors import BadRequest, TidemillError, TooLarge, UnsupportedMedia
from tidemill.core.limits import limit
from tidemill.serving.app import access, problems
from tidemill.serving.app.world import Registry
from tidemill.serving.bodies import check_headers
from tidemill.serving.payloads import WAY_ROUND

BODY_LIMIT_BYTES = 256 * 1024  # a specification is the largest thing the control plane reads
ROWS_LIMIT_BYTES = limit("request")  # predict and explain
HOT = ("/predict", "/explain")  # read by the Predict function's own code, which says itself what it takes
HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
    "strict-transport-security": "max-age=31536000",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
}

log = Logger(service="api")


class Entrance:
    """ASGI middleware around the whole app."""

    def __init__(self, app: ASGIApp, registry: Registry) -> None:
        self.app = app
        self.registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        answer = Answer(send, _request_id(scope))
        started = time.perf_counter()
        try:
            await self._pass(scope, receive, answer)
        except TidemillError as error:
            extra = access.challenge(scope) if error.status == 401 else None
            await answer.instead(problems.of_error(error, extra), scope, receive)
        except Exception as error:  # noqa: BLE001 - the outermost door: nothing of the inside may get out
            _log_fault(error, answer.request_id)
            await answer.instead(problems.of_fault(error, answer.request_id), scope, receive)
        _log_request(scope, answer, time.perf_counter() - started)

    async def _pass(self, scope: Scope, receive: Receive, answer: Answer) -> None:
        check_headers(scope["headers"])
        scope["tidemill.key"] = await run_in_threadpool(access.identify, scope, self.registry)
        body = await _read(scope, receive)
        _check_type(scope, body)
        await self.app(scope, _replay(body, receive), answer)


class Answer:
    """The way out: adds the headers every answer has and remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self.send = send
        self.request_id = request_id
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["x-request-id"] = self.request_id
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await self.send(message)

    async def instead(self, response: Response, scope: Scope, receive: Receive) -> None:
        """Answer with this, unless an answer has already begun."""
        if not self.status:
            await response(scope, receive, self)


def last_resort(error: Exception, context: Any) -> dict[str, Any]:
    """The answer of a function whose event could not even be read as a request."""
    request_id = str(getattr(context, "aws_request_id", "") or uuid.uuid4())
    _log_fault(error, request_id)
    if isinstance(error, ValueError):  # a body that is not what the event calls it, a port that is no number
        unread = BadRequest("The request's headers or body cannot be decoded.", remedy="Send HTTP/1.1 and UTF-8.")
        answer = problems.of_error(unread)
    else:
        answer = problems.of_fault(error, request_id)
    headers = {**HEADERS, "content-type": problems.MEDIA_TYPE, "x-request-id": request_id}
    return {"statusCode": answer.status_code, "headers": headers, "body": bytes(answer.body).decode()}


async def _read(scope: Scope, receive: Receive) -> bytes:
    """The whole body, refused as soon as it is too long."""
    most = ROWS_LIMIT_BYTES if scope["path"].endswith(HOT) else BODY_LIMIT_BYTES
    declared = Headers(scope=scope).get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > most:
        raise _too_large(int(declared[:20]), most)
    chunks, size = [], 0
    while True:
        message = await receive()
        chunks.append(message.get("body", b""))
        size += len(chunks[-1])
        if size > most:
            raise _too_large(size, most)
        if message["type"] != "http.request" or not message.get("more_body"):
            return b"".join(chunks)


def _too_large(size: int, most: int) -> TooLarge:
    return TooLarge(
        f"The body has {size} bytes or more; this route reads {most}.",
        remedy=f"Send fewer rows at once; data sets go through POST /uploads. {WAY_ROUND}",
        limit_bytes=most,
    )


def _check_type(scope: Scope, body: bytes) -> None:
    kind = Headers(scope=scope).get("content-type", "").partition(";")[0].strip().lower()
    if body and kind != "application/json" and not scope["path"].endswith(HOT):
        raise UnsupportedMedia(
            f"The body is sent as {kind[:80] or 'nothing'!r}.",
            remedy="Send JSON with 'content-type: application/json'.",
        )


def _replay(body: bytes, receive: Receive) -> Receive:
    """A receive that hands the body out once and then waits for the end of the connection."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replay() -> Message:
        return messages.pop() if messages else await receive()

    return replay


def _request_id(scope: Scope) -> str:
    """API Gateway's id of the request, which its access log has too; else the function's, else a new one."""
    gateway = (scope.get("aws.event") or {}).get("requestContext") or {}
    context = scope.get("aws.context")
    return str(gateway.get("requestId") or getattr(context, "aws_request_id", "") or uuid.uuid4())


def _log_request(scope: Scope, answer: Answer, seconds: float) -> None:
    """One line a request: the route, not the path, and the id of the key, not the key."""
    key: dict[str, Any] = scope.get("tidemill.key") or {}
    log.info(
        "request",
        method=scope["method"],
        route=getattr(scope.get("route"), "path", "none"),
        status=answer.status,
        duration_ms=round(seconds * 1000, 1),
        key=key.get("id", "none"),
        request=answer.request_id,
    )


def _log_fault(error: Exception, request_id: str) -> None:
    """Where it happened; the message only of AWS errors, because any other might quote a value of the user."""
    said = str(error)[:500] if isinstance(error, ClientError) else ""
    frames = [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)]
    log.error("fault", error=type(error).__name__, said=said, frames=frames[-12:], request=request_id)
