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
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from tidemill.core.errors import (
    PROBLEM_TYPE,
    BadBundle,
    BadRequest,
    NotFound,
    TidemillError,
    TooLarge,
    Unauthorized,
    Unavailable,
)
from tidemill.core.names import addressed
from tidemill.core.settings import Settings
from tidemill.core.tokens import bearer
from tidemill.serving import bodies, doubt
from tidemill.serving.bundles import Bundles
from tidemill.serving.explainer import explain
from tidemill.serving.health import Health
from tidemill.serving.inbox import Inbox
from tidemill.serving.intake import rows_for
from tidemill.serving.payloads import Payload
from tidemill.serving.pointers import Pointers
from tidemill.serving.predictor import Predictor
from tidemill.serving.routing import Route, Served
from tidemill.serving.signer import Client
from tidemill.serving.traffic import Seen, Traffic

MAX_ANSWER_BYTES = 5_500_000  # a Lambda answers 6 MB at most, the envelope included
UNOPENED_S = 10.0  # fetching a large bundle in vain takes seconds, and each would be a caller's
HEADERS = {"x-content-type-options": "nosniff", "cache-control": "no-store"}

SHADOW = "shadow"  # what a challenger scored without anyone having seen it
KEY_HEADER = "x-tidemill-key"  # equal keys get the same version while a challenger answers a share of the requests
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


@dataclass(frozen=True)
class Asked:
    """What a request wants of whichever version answers it."""

    model: str
    verb: str
    payload: Payload


class Door:
    """Answers predict and explain for every model of one deployment."""

    def __init__(
        self,
        pointers: Pointers,
        bundles: Bundles,
        inbox: Inbox,
        log: Callable[[Note], None] | None = None,
        health: Health | None = None,
        traffic: Traffic | None = None,
    ) -> None:
        self.pointers, self.bundles, self.inbox, self.log = pointers, bundles, inbox, log or write_line
        self.health = health or Health(pointers.client, pointers.table)
        self.traffic = traffic
        self.unopened: dict[str, float] = {}  # bundles that failed, and until when others answer for them

    @classmethod
    def from_environment(cls) -> Door:
        """The door of the deployment that the environment describes."""
        settings = Settings.from_environment()
        client = Client.from_environment()
        folder = Path(os.environ.get("TIDEMILL_CACHE_DIR") or "/tmp/tidemill")  # noqa: S108 - all that Lambda can write
        bundles = Bundles(client, settings.artifacts_bucket, folder)
        inbox, pointers = Inbox(client, settings.data_bucket), Pointers(client, settings.table)
        health = Health(client, settings.table, settings.bus)
        return cls(pointers, bundles, inbox, health=health, traffic=Traffic(client, settings.artifacts_bucket))

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
            for version, unseen in seen.beside:
                self.traffic.keep({**note, "version": version, "alias": SHADOW}, unseen)
        self.log(note)
        return answer

    def _answer(self, event: Event, note: Note, seen: Seen) -> str:
        """Who asks, what for, with which rows; then the prediction."""
        headers = {name.lower(): value for name, value in (event.get("headers") or {}).items()}
        bodies.check_headers(headers.items())
        note["key"] = (bearer(event) or self.pointers.caller(_secret(headers))).get("id")
        model, verb = _route(event)
        note.update(route=verb, model=model)
        asked = Asked(model, verb, bodies.read(_body(event), headers, str(event.get("rawQueryString") or ""), verb))
        note["rows"] = len(asked.payload.rows)
        route = self.pointers.route(model, headers.get(KEY_HEADER) or note["request"])
        self.health.begin(model, route.watch)
        served, value = self._serve(route, asked, note, seen)
        note.update(version=served.version, alias=served.alias)
        text = _text({"model": model, "version": served.version, "alias": served.alias, **value})
        if route.shadow:
            self._shadow(route, route.shadow, asked, value, note, seen)
        if route.watch:
            note.update(self.health.flush(model, route.watch, route))
        return text

    def _serve(self, route: Route, asked: Asked, note: Note, seen: Seen) -> tuple[Served, dict[str, Any]]:
        """The whole answer of one version. What a watched version fails, the one before it answers, if it can.

        What both refuse is the request's fault and counts against nobody.
        """
        first, instead = route.first, route.instead
        note.update(version=first.version, alias=first.alias)
        seen.monitor = first.monitor
        try:
            served, value = first, self._by(first, route, asked, seen)
        except Exception as error:
            if instead is None:
                raise
            note.update(version=instead.version, alias=instead.alias)
            seen.monitor = instead.monitor
            served, value = instead, self._by(instead, route, asked, seen)
            note["failed"] = {"version": first.version, "code": _code_of(error)}
        self.health.count(asked.model, first.version, failed=served is not first)
        return served, value

    def _by(self, served: Served, route: Route, asked: Asked, seen: Seen) -> dict[str, Any]:
        """Predictions, or explanations, of one version; what it answered is seen when it has answered."""
        model, payload = asked.model, asked.payload
        explains = asked.verb == "explain"
        predictor = self._opened(served, route, model, explains)
        rows = rows_for(predictor, payload, model, asked.verb, self.inbox)
        if explains:
            predictions, explanations = explain(predictor, rows, payload.target)
            _see(seen, predictor, rows, predictions)
            return {"predictions": predictions, "explanations": explanations}
        began = time.perf_counter()
        if payload.interval is None and payload.set is None:
            found = predictor.predict(rows)
        else:
            found = doubt.predict(predictor, rows, payload.interval, payload.set)
        self.health.time(model, served.version, time.perf_counter() - began)
        _see(seen, predictor, rows, found)
        return {"predictions": found}

    def _opened(self, served: Served, route: Route, model: str, explains: bool) -> Predictor:
        """The predictor of a version; one that others can answer for is not tried again right after it failed."""
        spared = served is route.shadow or (served is route.first and route.instead is not None)
        if spared and time.monotonic() < self.unopened.get(served.bundle, 0.0):
            raise BadBundle("It could not be opened a moment ago.", remedy="Look for the reason in the log before.")
        try:
            return self.bundles.predictor(model, served.bundle, explain=explains, beside=route.beside)
        except TidemillError:
            if spared:
                self.unopened[served.bundle] = time.monotonic() + UNOPENED_S
            raise

    def _shadow(
        self, route: Route, shadow: Served, asked: Asked, value: dict[str, Any], note: Note, seen: Seen
    ) -> None:
        """Let the challenger score what the champion has answered; whatever happens, the answer stands."""
        try:
            unseen = Seen(shadow.monitor)
            found = self._by(shadow, route, replace(asked, verb="predict"), unseen)["predictions"]
            seen.beside.append((shadow.version, unseen))
            note_shadow(note, shadow, value["predictions"], found)
        except Exception as error:  # noqa: BLE001 - nobody waits for this answer
            note["shadow"] = {"version": shadow.version, "code": _code_of(error)}
        self.health.count(asked.model, shadow.version, failed="code" in note["shadow"])


def note_shadow(note: Note, shadow: Served, told: list[dict[str, Any]], found: list[dict[str, Any]]) -> None:
    """Write down what the challenger would have said beside what was told: the share of equal labels, or how far off.

    `told` and `found` are the predictions of champion and challenger, row by row.
    """
    pairs = list(zip(told, found, strict=True))
    if pairs and "value" in told[0]:
        apart = {"mean_difference": sum(abs(new["value"] - old["value"]) for old, new in pairs) / len(pairs)}
    else:
        apart = {"same": sum(new.get("label") == old.get("label") for old, new in pairs) / max(1, len(pairs))}
    note["shadow"] = {"version": shadow.version, **apart}


def _see(seen: Seen, predictor: Predictor, rows: list[dict[str, Any]], answers: list[dict[str, Any]]) -> None:
    """Lay rows and answers by for the request log; of pictures the answers alone."""
    seen.rows, seen.answers = rows, answers
    seen.columns = () if predictor.modality == "picture" else predictor.program.columns


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
    return addressed(found[1]), found[2]


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


def _code_of(error: Exception) -> str:
    return error.code if isinstance(error, TidemillError) else "INTERNAL"


def _frames(error: Exception) -> list[str]:
    """Where it happened; never the message, because it might quote a value of the user."""
    return [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(error.__traceback__)][
        -12:
    ]


def _request_id(event: Event, context: Any) -> str:
    given = event.get("requestContext") if isinstance(event, Mapping) else None
    named = given.get("requestId") if isinstance(given, Mapping) else None
    return str(named or getattr(context, "aws_request_id", "") or os.urandom(16).hex())
