"""What comes in through the door, by its content type: rows in JSON, one picture, one text, or a form with pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import parse_qsl

from tidemill.core.errors import BadBody, BadRequest, HeadersTooLarge, TooLarge, UnsupportedMedia
from tidemill.core.limits import limit
from tidemill.serving import payloads
from tidemill.serving.payloads import OPTIONS, WAY_ROUND, Payload

PICTURE, TEXT = "picture", "text"
_FIELDS = {PICTURE, TEXT}


def read(body: bytes, headers: Mapping[str, str], query: str, verb: str) -> Payload:
    """The rows of a request with what is asked about them; raises BadRequest, BadBody, TooLarge, UnsupportedMedia.

    With a body that is no JSON, the query may hold target, interval and set; a form has fields for them.
    """
    told = headers.get("content-type", "")
    kind = told.partition(";")[0].strip().lower()
    if kind == "application/json":
        return payloads.read(body, verb)
    check_size(len(body), "request_binary")
    if kind.startswith("image/"):
        return _alone(PICTURE, body, query, verb)
    if kind == "text/plain":
        return _alone(TEXT, _decoded(body), query, verb)
    if kind == "multipart/form-data":
        return _form(body, told, query, verb)
    raise UnsupportedMedia(
        f"The body is sent as {kind[:80] or 'nothing'!r}.",
        remedy="Send JSON with 'content-type: application/json'; a picture as image/jpeg or whatever it is, or as "
        "multipart/form-data; a text as text/plain.",
    )


def check_headers(headers: Iterable[tuple[str | bytes, str | bytes]]) -> None:
    """Raise HeadersTooLarge where names and values together are longer than API Gateway would let pass."""
    size = sum(len(name) + len(value) for name, value in headers)
    if size > limit("request_headers"):
        raise HeadersTooLarge(
            f"The headers have {size} bytes.",
            remedy="Send fewer or shorter ones.",
            limit_bytes=limit("request_headers"),
        )


def check_size(size: int, name: str) -> None:
    """Raise TooLarge for a body over a limit of core.limits."""
    if size > limit(name):
        raise TooLarge(
            f"The body has {size} bytes; {limit(name)} are read.",
            remedy=f"Send the rows in several requests. {WAY_ROUND}",
            limit_bytes=limit(name),
        )


def _alone(sent: str, content: Any, query: str, verb: str) -> Payload:
    """A body that is one picture or one text."""
    return Payload([{sent: content}], **_options(_pairs(query), verb), sent=sent)


def _form(body: bytes, content_type: str, query: str, verb: str) -> Payload:
    """Pictures (or texts) and fields."""
    from tidemill.serving import multipart  # of no use to most requests

    found = multipart.parts(body, content_type)
    kinds = {part.name for part in found} & _FIELDS
    if len(kinds) != 1:
        raise BadBody(
            "The form has fields 'picture' and 'text'." if kinds else "The form has no field 'picture'.",
            code="NO_ROWS",
            remedy='Send one or more files as picture: curl -F "picture=@photo.jpg".',
        )
    (sent,) = kinds
    rows = [{sent: part.content if sent == PICTURE else _decoded(part.content)} for part in found if part.name == sent]
    fields = [(part.name, _decoded(part.content)) for part in found if part.name != sent]
    return Payload(rows, **_options([*_pairs(query), *fields], verb), sent=sent)


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=20) if query else []
    except ValueError as error:
        raise BadRequest(
            "The query has too many fields.", code="BAD_QUERY", remedy="Leave most of them out."
        ) from error


def _options(pairs: Iterable[tuple[str, str]], verb: str) -> dict[str, Any]:
    """Target and levels of doubt, as texts that are still to be read."""
    options: dict[str, Any] = {}
    for name, value in pairs:
        if name not in OPTIONS[verb]:
            raise BadBody(
                f"{name[:80]!r} is nothing that {verb} takes.", remedy=f"It takes {', '.join(sorted(OPTIONS[verb]))}."
            )
        options[name] = value if name == "target" else _level(name, value)
    return options


def _level(name: str, value: str) -> float:
    try:
        level = float(value)
    except ValueError:
        level = math.nan
    if not math.isfinite(level):
        raise BadBody(f"{name} is {value[:40]!r}.", code="BAD_LEVEL", remedy=f"Send a share of rows: {name}=0.9.")
    return level


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"The text is not UTF-8 at byte {error.start}.", code="TEXT_INVALID", remedy="Send UTF-8."
        ) from error
