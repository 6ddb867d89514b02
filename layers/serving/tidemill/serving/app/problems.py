"""Every error as an RFC 9457 problem document with a stable code; nothing about the inside gets out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from tidemill.core.errors import PROBLEM_TYPE, TidemillError, Unavailable
from tidemill.serving.app.plain import plain

MEDIA_TYPE = "application/problem+json"
_TITLES = {404: "No such route", 405: "Method not allowed here"}
_CODES = {404: "UNKNOWN_ROUTE", 405: "METHOD_NOT_ALLOWED", 400: "BAD_REQUEST"}
_BUSY = {
    "ThrottlingException",
    "Throttling",
    "ProvisionedThroughputExceededException",
    "RequestLimitExceeded",
    "TransactionInProgressException",
    "SlowDown",
    "ServiceUnavailable",
    "InternalServerError",
    "InternalError",
}


def respond(body: Mapping[str, Any], headers: Mapping[str, str] | None = None) -> JSONResponse:
    """A problem document as a response with the status it names."""
    return JSONResponse(plain(body), body["status"], headers=dict(headers or {}), media_type=MEDIA_TYPE)


def of_error(error: TidemillError, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """One of our own errors: it already says situation, value and remedy."""
    more = {"retry-after": "2"} if error.status == 503 else {}
    return respond(error.problem(), {**more, **(headers or {})})


def of_fault(error: BaseException, request_id: str) -> JSONResponse:
    """Anything nobody expected: 503 where trying again is right, else 500. Details stay in the log."""
    if is_passing(error):
        return of_error(
            Unavailable(
                "A part of the system did not answer.", remedy="Try again in a few seconds.", request=request_id
            )
        )
    return respond(
        problem(
            500,
            "INTERNAL",
            "Something went wrong",
            "The request failed for a reason that is not yours.",
            remedy=f"Try again; if it stays, look for request {request_id} in the log of the Api function.",
            request=request_id,
        )
    )


def is_passing(error: BaseException) -> bool:
    """Whether a fault of AWS or of the network is likely to pass."""
    if isinstance(error, ClientError):
        return error.response.get("Error", {}).get("Code", "") in _BUSY
    return isinstance(error, BotoCoreError)


def problem(status: int, code: str, title: str, detail: str, **more: Any) -> dict[str, Any]:
    """A problem document for what no class of core.errors names."""
    kind = PROBLEM_TYPE + code.lower().replace("_", "-")
    return {"type": kind, "title": title, "status": status, "detail": detail, "code": code, **more}


def install(app: FastAPI) -> None:
    """Make the app answer every kind of error with a problem document."""
    app.add_exception_handler(TidemillError, _tidemill)
    app.add_exception_handler(RequestValidationError, _validation)
    app.add_exception_handler(HTTPException, _http)


async def _tidemill(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, TidemillError)  # noqa: S101 - the handler is registered for this class only
    return of_error(error)


async def _http(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - the handler is registered for this class only
    status = error.status_code
    detail = {
        404: f"There is no route {request.method} {request.url.path[:200]}.",
        405: f"{request.method} is not allowed on {request.url.path[:200]}.",
    }.get(status, "The request cannot be read.")
    body = problem(
        status,
        _CODES.get(status, "BAD_REQUEST"),
        _TITLES.get(status, "The request cannot be read"),
        detail,
        remedy="GET /docs lists every route.",
    )
    return respond(body, error.headers)


async def _validation(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - the handler is registered for this class only
    found = error.errors()
    if found and found[0].get("type") == "json_invalid":
        return respond(_bad_json(found[0]))
    fields = [{"field": _field(item["loc"]), "message": item["msg"]} for item in found[:20]]
    first = fields[0]
    body = problem(
        422,
        "INVALID_REQUEST",
        "The request has a wrong field",
        f"{first['field']}: {first['message']}.",
        remedy="Correct the field; GET /docs shows what the route takes.",
        errors=fields,
    )
    return respond(body)


def _bad_json(item: Mapping[str, Any]) -> dict[str, Any]:
    where = f" at character {item['loc'][-1]}" if len(item.get("loc", ())) > 1 else ""
    reason = item.get("ctx", {}).get("error", "it cannot be read")
    detail = f"The body is not JSON{where}: {reason}."
    return problem(400, "JSON_INVALID", "The request cannot be read", detail, remedy="Send one JSON object.")


def _field(loc: Sequence[Any]) -> str:
    """body -> size_bytes as a person writes it; the place (path, query) is named when it is not the body."""
    parts = [str(part) for part in loc]
    if parts[:1] == ["body"]:
        return ".".join(parts[1:]) or "body"
    return " ".join(parts)
