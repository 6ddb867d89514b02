"""The door of the hot path: one API Gateway event (payload format 2.0) in, one answer out, never an exception.

A plain function, not an ASGI app: RESULTS.md has what Mangum would add to a cold start and to every request.
"""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from tidemill.core.errors import (
    PROBLEM_TYPE,
    BadRequest,
    NotFound,
    TidemillError,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from tidemill.core.names import check_model
from tidemill.core.settings import Settings
from tidemill.serving import bodies, doubt
from tidemill.serving.bundles import Bundles
from tidemill.serving.explainer import explain
from tidemill.serving.inbox import Inbox
from tidemill.serving.intake import rows_for
from tidemill.serving.pointers import Pointers
from tidemill.serving.signer import Client
from tidemill.serving.traffic import Seen, Traffic

MAX_ANSWER_BYTES = 5_500_000  # a Lambda answers 6 MB at most, the envelope included
HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}

_ROUTE = re.compile(r"/models/([^/]+)/(predict|explain)/?")
_ENCODER = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":"))
_MORE_HEADERS = {
    Unauthorized: {"www-authenticate": "Bearer"},
    Unavailable: {"retry-after": "2"},
}

Event = Mapping[str, Any]
Note = dict[str, Any]
Answer = dict[str, Any]


class WrongMethod(TidemillError):
    """A route asked with a verb it does not have."""

    code, status, title = "METHOD_NOT_ALLOWED", 405, "Method not allowed here"


class Door:
    """Answers predict and explain for every model of one deployment."""

    def __init__(
        self,
        pointers: Pointers,
        bundles: Bundles,
        inbox: Inbox,
        log: Callable[[Note], None] | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self.pointers, self.bundles, self.inbox, self.log = pointers, bundles, inbox, log or write_line
        self.traffic = traffic

    @classmethod
    def from_environment(cls) -> Door:
        """The door of the deployment that the environment describes."""
        settings = Settings.from_environment()
        client = Client.from_environment()
        folder = Path(os.environ.get("TIDEMILL_CACHE_DIR") or "/tmp/tidemill")  # noqa: S108 - all that Lambda can write
        bundles = Bundles(client, settings.artifacts_bucket, folder)
        traffic = Traffic(client, settings.artifacts_bucket)
        return cls(Pointers(client, settings.table), bundles, Inbox(client, settings.data_bucket), traffic=traffic)

    def handle(self, event: Event, context: Any = None) -> Answer:
        """Answer one request and log one line about it."""
        started = time.perf_counter()
        note: Note = {"message": "request", "request": _request_id(event, context)}
        seen = Seen()
        try:
            answer = _reply(200, "application/json", self._answer(event, note, seen))
        except TidemillError as error:
            answer = _problem(error.problem(), _more_headers(error))
            note.update(code=error.code, **({"detail": error.message} if error.status >= 500 else {}))
        except Exception as error:  # noqa: BLE001 - the outermost door: nothing of the inside may get out
            answer = _problem(_fault(note["request"]))
            note.update(code="INTERNAL", error=type(error).__name__, frames=_frames(error))
        answer["headers"]["x-request-id"] = note["request"]
        note |= {"status": answer["statusCode"], "ms": round((time.perf_counter() - started) * 1000, 2)}
        if self.traffic is not None:
            self.traffic.keep(note, seen)
        self.log(note)
        return answer

    def _answer(self, event: Event, note: Note, seen: Seen) -> str:
        """Who asks, what for, with which rows; then the prediction."""
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        note["key"] = self.pointers.caller(_secret(headers)).get("id")
        model, verb = _route(event)
        note.update(route=verb, model=model)
        payload = bodies.read(_body(event), headers, str(event.get("rawQueryString") or ""), verb)
        version, bundle = self.pointers.champion(model)
        note.update(version=version, rows=len(payload.rows))
        seen.monitor = self.pointers.monitor(model)
        predictor = self.bundles.predictor(model, bundle, explain=verb == "explain")
        rows = rows_for(predictor, payload, model, verb, self.inbox)
        value: dict[str, Any] = {"model": model, "version": version}
        if verb == "explain":
            value["predictions"], value["explanations"] = explain(predictor, rows, payload.target)
        elif payload.interval is None and payload.set is None:
            value["predictions"] = predictor.predict(rows)
        else:
            value["predictions"] = doubt.predict(predictor, rows, payload.interval, payload.set)
        seen.rows, seen.answers = rows, value["predictions"]
        seen.columns = () if predictor.modality == "picture" else predictor.program.columns
        return _text(value)


@cache
def _door() -> Door:
    return Door.from_environment()


def handle(event: Event, context: Any = None) -> Answer:
    """Answer one request with the door of this process, made by the first one."""
    try:
        door = _door()
    except TidemillError as error:  # a setting is missing: say so in the log and to the caller
        write_line({"message": "request", "status": error.status, "code": error.code, "detail": error.message})
        return _problem(error.problem())
    return door.handle(event, context)


def write_line(note: Note) -> None:
    """One line of JSON on stderr; no row values, no keys."""
    level = "ERROR" if note["status"] >= 500 else "INFO"
    sys.stderr.write(_ENCODER.encode({"level": level, "function": "predict", **note}) + "\n")


def _secret(headers: Mapping[str, str]) -> str:
    if key := headers.get("x-api-key", "").strip():
        return key
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    return rest.strip() if scheme.lower() == "bearer" else ""


def _route(event: Event) -> tuple[str, str]:
    path = str(event.get("rawPath", ""))
    found = _ROUTE.fullmatch(path)
    if not found:
        raise NotFound(
            f"There is no route {path[:200]!r} here.", code="UNKNOWN_ROUTE", remedy="GET /docs lists every route."
        )
    method = str(event.get("requestContext", {}).get("http", {}).get("method", ""))
    if method != "POST":
        raise WrongMethod(f"{method[:10] or 'This method'} is not allowed on {path[:200]}.", remedy="Use POST.")
    return check_model(found[1]), found[2]


def _body(event: Event) -> bytes:
    body = event.get("body") or ""
    try:
        return base64.b64decode(body, validate=True) if event.get("isBase64Encoded") else body.encode()
    except ValueError as error:
        raise BadRequest("The body cannot be decoded.", code="JSON_INVALID", remedy="Send UTF-8.") from error


def _text(value: Any) -> str:
    text = _ENCODER.encode(value)
    if len(text) > MAX_ANSWER_BYTES:
        raise TooLarge(
            f"The answer would have {len(text)} bytes; {MAX_ANSWER_BYTES} can be sent.",
            code="ANSWER_TOO_LARGE",
            remedy="Send the rows in several requests.",
            limit_bytes=MAX_ANSWER_BYTES,
        )
    return text


def _reply(status: int, kind: str, body: str, more: Mapping[str, str] | None = None) -> Answer:
    return {"statusCode": status, "headers": {"content-type": kind, **HEADERS, **(more or {})}, "body": body}


def _problem(problem: dict[str, Any], more: Mapping[str, str] | None = None) -> Answer:
    return _reply(problem["status"], "application/problem+json", json.dumps(problem, default=str), more)


def _more_headers(error: TidemillError) -> Mapping[str, str]:
    return {"allow": "POST"} if isinstance(error, WrongMethod) else _MORE_HEADERS.get(type(error), {})


def _fault(request: str) -> dict[str, Any]:
    return {
        "type": PROBLEM_TYPE + "internal",
        "title": "Something went wrong",
        "status": 500,
        "detail": "The request failed for a reason that is not yours.",
        "code": "INTERNAL",
        "remedy": f"Try again; if it stays, look for request {request} in the log of the Predict function.",
    }


def _frames(error: Exception) -> list[str]:
    """Where it happened; never the message, because it might quote a value of the user."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)][
        -12:
    ]


def _request_id(event: Event, context: Any) -> str:
    given = event.get("requestContext") if isinstance(event, Mapping) else None
    named = given.get("requestId") if isinstance(given, Mapping) else None
    return str(named or getattr(context, "aws_request_id", "") or os.urandom(16).hex())
