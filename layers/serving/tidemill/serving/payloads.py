"""The body of a predict or explain request: JSON within bounds, checked before anything is computed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from tidemill.core.errors import BadBody, BadRequest, TooLarge
from tidemill.core.limits import limit

MAX_BODY_BYTES = limit("request")
MAX_ROWS, MAX_ROWS_EXPLAINED = limit("request_rows"), limit("request_rows_explained")
WAY_ROUND = (
    'A large file goes to the bucket: POST /uploads with "purpose": "predict" gives a form and a key to name here.'
)


@dataclass(frozen=True)
class Payload:
    """The rows of a request, and the label to explain (None: the predicted one) or the levels of doubt asked for."""

    rows: list[dict[str, Any]]
    target: str | None = None
    interval: float | None = None
    set: float | None = None
    sent: str = ""  # "picture" or "text" where the body was nothing else: the rows have that one name


OPTIONS = {"predict": {"interval", "set"}, "explain": {"target"}}
_KNOWN = {verb: {"rows", "row", *names} for verb, names in OPTIONS.items()}


def read(body: bytes, verb: str) -> Payload:
    """Read {"rows": [{...}]} or {"row": {...}}, for predict also "interval" or "set", for explain "target".

    Raises BadRequest, BadBody or TooLarge.
    """
    if len(body) > MAX_BODY_BYTES:
        raise TooLarge(
            f"The body has {len(body)} bytes; {MAX_BODY_BYTES} are read.",
            remedy=f"Send the rows in several requests. {WAY_ROUND}",
            limit_bytes=MAX_BODY_BYTES,
        )
    value = _parse(body)
    known = _KNOWN[verb]
    if not isinstance(value, dict) or not value.keys() <= known:
        raise _shape(value, known)
    rows = _rows(value, MAX_ROWS if verb == "predict" else MAX_ROWS_EXPLAINED)
    if len(value) == 1:
        return Payload(rows)
    return Payload(rows, _target(value), _level(value, "interval"), _level(value, "set"))


def _rows(value: dict[str, Any], limit: int) -> list[dict[str, Any]]:
    if ("rows" in value) == ("row" in value):
        raise BadBody("The body needs rows or row.", code="NO_ROWS", remedy='Send {"rows": [{"column": value, ...}]}.')
    rows = value["rows"] if "rows" in value else [value["row"]]
    if not isinstance(rows, list) or not rows:
        raise BadBody("rows holds no row.", code="NO_ROWS", remedy='Send {"rows": [{"column": value, ...}]}.')
    if len(rows) > limit:
        raise TooLarge(
            f"The body has {len(rows)} rows; {limit} are read at once.",
            remedy="Send the rows in several requests.",
            limit_rows=limit,
        )
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise BadBody(
                f"rows[{index}] is {_kind(row)}.", code="BAD_ROW", remedy='A row is an object: {"column": value, ...}.'
            )
    return rows


def _target(value: dict[str, Any]) -> str | None:
    target = value.get("target")
    if target is not None and not isinstance(target, str):
        raise BadBody(f"target is {_kind(target)}.", code="BAD_TARGET", remedy="target is one of the model's labels.")
    return target


def _level(value: dict[str, Any], name: str) -> float | None:
    level = value.get(name)
    if level is not None and (isinstance(level, bool) or not isinstance(level, (int, float))):
        raise BadBody(f"{name} is {_kind(level)}.", code="BAD_LEVEL", remedy=f'Send a share of rows: "{name}": 0.9.')
    return level


def _parse(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"The body is not UTF-8 at byte {error.start}.", code="JSON_INVALID", remedy="Send UTF-8."
        ) from error
    except RecursionError:
        code, reason = "JSON_TOO_DEEP", "it is nested too deeply"
    except json.JSONDecodeError as error:
        code, reason = "JSON_INVALID", f"{error.msg.lower()} at character {error.pos}"
    except _Refused as error:
        code, reason = error.code, str(error)
    except ValueError:
        code, reason = "JSON_INVALID", "a number is too long"  # more digits than Python turns into an int
    raise BadRequest(f"The body cannot be read: {reason}.", code=code, remedy="Send one JSON object.")


class _Refused(ValueError):
    """JSON that Python would accept and we do not."""

    code = "JSON_INVALID"


class _Doubled(_Refused):
    """An object with the same key twice."""

    code = "JSON_DUPLICATE_KEY"


def _no_constant(name: str) -> NoReturn:
    raise _Refused(f"{name} is no JSON number; use null for a missing value")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise _Doubled(f"{twice[:80]!r} stands twice in one object")
    return value


_DECODER = json.JSONDecoder(object_pairs_hook=_no_duplicates, parse_constant=_no_constant)


def _shape(value: Any, known: set[str]) -> BadBody:
    if isinstance(value, dict):
        if any(name.endswith("_url") for name in value):
            text = "The body names an address; nothing is ever fetched for a request."
            return BadBody(text, code="URL_NOT_ALLOWED", remedy="Send the picture or the text itself.")
        if any(name.endswith("_base64") for name in value):
            text = "The body has a picture as base64, which is not read."
            return BadBody(text, code="IMAGE_DECODE", remedy="Send it as image/jpeg, or in a form as picture.")
        found = ", ".join(repr(name[:80]) for name in sorted(value.keys() - known)[:5])
        detail = f"The body has {found} beside what it may have ({', '.join(sorted(known))})."
    else:
        detail = f"The body is {_kind(value)}."
    return BadBody(detail, remedy='Send {"rows": [{"column": value, ...}]}.')


def _kind(value: Any) -> str:
    kinds = {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}
    return kinds.get(type(value), "a number")
