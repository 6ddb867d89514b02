"""Strict JSON: no NaN, no duplicate keys, no lone surrogates, numbers that fit, bounded depth."""

from __future__ import annotations

import json
import math
import re
from typing import Any

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit

_SURROGATE = re.compile("[\ud800-\udfff]")
_DIGITS = 400  # of an integer: beyond them no float holds it


class BadJson(BadTable):
    """Text that is not the JSON that is read here."""

    code = "JSON_INVALID"


def _pairs(items: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(items)
    if len(result) != len(items):
        keys = [key for key, _ in items]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise BadJson(
            f"The key {twice[:80]!r} occurs twice in an object.",
            code="JSON_DUPLICATE_KEY",
            remedy="Give every key of an object once.",
        )
    return result


def _integer(text: str) -> int:
    if len(text) > _DIGITS:
        raise _range(text)
    return int(text)


def _real(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise _range(text)
    return value


def _range(text: str) -> BadJson:
    return BadJson(
        f"The number {text[:20]}{'...' if len(text) > 20 else ''} is too large.",
        code="JSON_NUMBER_RANGE",
        remedy="Numbers lie within the range of a 64-bit float.",
    )


def _constant(text: str) -> Any:
    raise BadJson(f"{text} is not JSON.", remedy="Write null where a number is missing.")


DECODER = json.JSONDecoder(
    object_pairs_hook=_pairs, parse_int=_integer, parse_float=_real, parse_constant=_constant, strict=True
)


def checked(value: Any, escapes: bool = True) -> Any:
    """The value itself, once its depth and its strings are seen to be right.

    Without escapes in its text no string can hold half a surrogate pair; a flat object is not deep.
    """
    if not escapes and type(value) is dict and not any(type(item) in (dict, list) for item in value.values()):
        return value
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if depth > limit("json_depth"):
            raise BadJson(
                f"The JSON nests more than {limit('json_depth')} levels deep.",
                code="JSON_DEPTH",
                remedy="Flatten the records.",
            )
        if isinstance(item, str):
            if not item.isascii() and _SURROGATE.search(item):
                raise BadJson("A string holds half of a surrogate pair.", remedy="Write the character as UTF-8.")
        elif isinstance(item, dict):
            stack += [(key, depth) for key in item]
            stack += [(inner, depth + 1) for inner in item.values()]
        elif isinstance(item, list):
            stack += [(inner, depth + 1) for inner in item]
    return value


def loads(text: str) -> Any:
    """One JSON document."""
    value, end = decode(text, 0)
    if text[end:].strip():
        raise BadJson(f"There is text after the end of the JSON, at character {end}.", remedy="One document a file.")
    return value


def decode(text: str, position: int) -> tuple[Any, int]:
    """The JSON value that starts at a position, and where it ends."""
    start = position
    while start < len(text) and text[start] in " \t\r\n":
        start += 1
    try:
        value, end = DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        raise BadJson(
            f"{error.msg} at line {error.lineno}, column {error.colno}.", remedy="Repair the JSON.", position=error.pos
        ) from error
    except RecursionError as error:
        raise BadJson("The JSON nests too deep.", code="JSON_DEPTH", remedy="Flatten the records.") from error
    return checked(value, "\\u" in text[start:end]), end
