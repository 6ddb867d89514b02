"""Values as a request brings them: JSON values in, what the feature program computes with out, or SchemaMismatch."""

from __future__ import annotations

import math
import re
import unicodedata
from collections.abc import Callable, Collection
from datetime import UTC, datetime
from typing import Any

from tidemill.core.errors import SchemaMismatch

Reader = Callable[[list[Any]], list[Any]]

_PLAIN_NUMBERS = frozenset({int, float, type(None)})
_PLAIN_LEVELS = frozenset({str, type(None)})
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MONTH = re.compile(r"\d{4}-\d{2}")
_NAMES_SHOWN = 20

FLOAT32_MAX = 3.4028234663852886e38
COMPACT_DATES = (19_000_101, 21_991_231)  # numbers that are dates where training had dates like 20240531

# Texts that stand for "no value", folded: the same as where tables are prepared, and a test holds the two equal. They
# are written down twice because preparation needs pyarrow, which must not come near the hot path.
_NO_VALUE = """null nan n/a #n/a <na> n.a. #value! #div/0! #ref! #null! #num! \\n ? - -- . missing nil undefined (null)
(none) 缺失 空"""
NO_VALUE = frozenset(["", *_NO_VALUE.split()])
NO_LEVEL = NO_VALUE | {"na"}  # a training level of that very text wins
NO_NUMBER = NO_VALUE | {"na", "none", "无"}


def check_names(
    given: Collection[str], wanted: Collection[str], ignored: Collection[str] = (), *, row: int | None = None
) -> None:
    """Raise SchemaMismatch where columns are missing, or (in a row) where one is not known."""
    place = "" if row is None else f"rows[{row}]: "
    where: dict[str, Any] = {} if row is None else {"row": row}
    lacking = [name for name in wanted if name not in given]
    unknown = [] if row is None else [name for name in given if name not in wanted and name not in ignored]
    if unknown:
        raise _unknown(unknown, lacking, wanted, place, where)
    if lacking:
        raise SchemaMismatch(
            f"{place}{_listed(lacking)} {'is' if len(lacking) == 1 else 'are'} missing.",
            code="FEATURE_MISSING",
            remedy="Give every column the model was trained on; null where a value is not known.",
            columns=lacking,
            **where,
        )


def reader(kind: str, name: str, levels: Collection[Any] = (), *, compact: bool = False) -> Reader:
    """The function that reads the values of one column: to floats (NaN = missing), or to levels (None = missing)."""
    if kind == "category":
        return lambda values: _levels(values, name, levels)
    if kind == "datetime":
        return lambda values: [_second(value, name, row, compact) for row, value in enumerate(values)]
    return lambda values: _numbers(values, name)


def _numbers(values: list[Any], name: str) -> list[float]:
    """Numbers to floats; the usual batch of numbers and nulls takes a short way."""
    if _PLAIN_NUMBERS.issuperset(map(type, values)):
        try:
            numbers = [math.nan if value is None else float(value) for value in values]
        except OverflowError:  # an integer of hundreds of digits
            numbers = []
        fit = sum([-FLOAT32_MAX <= number <= FLOAT32_MAX for number in numbers])
        if numbers and fit == len(values) - values.count(None):
            return numbers
    return [_number(value, name, row) for row, value in enumerate(values)]


def _number(value: Any, name: str, row: int) -> float:
    if value is None or (isinstance(value, str) and value.strip().casefold() in NO_NUMBER):
        return math.nan
    number = math.nan
    if isinstance(value, (int, float, str)) and not isinstance(value, bool):
        try:
            number = float(value) if not isinstance(value, str) or "_" not in value else math.nan
        except (ValueError, OverflowError):
            number = math.nan
    if not abs(number) <= FLOAT32_MAX:
        raise _refuse(value, name, row, "a finite number", "Give a number, or null where the value is not known.")
    return number


def _levels(values: list[Any], name: str, levels: Collection[Any]) -> list[str | None]:
    """Values to levels; the usual batch of known texts takes a short way."""
    if _PLAIN_LEVELS.issuperset(map(type, values)):
        return [value if value in levels or value is None else _level_of(value, levels) for value in values]
    return [_level(value, name, row, levels) for row, value in enumerate(values)]


def _level(value: Any, name: str, row: int, levels: Collection[Any]) -> str | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value if value in levels else _level_of(value, levels)
    if isinstance(value, bool):
        texts = [str(value).lower(), str(value), str(value).upper(), str(int(value))]
    elif isinstance(value, (int, float)) and abs(value) <= FLOAT32_MAX:
        texts = [repr(value)]
        if value == int(value):
            texts += [str(int(value)), f"{int(value)}.0"]
    else:
        raise _refuse(value, name, row, "a text", "Give one of the column's values, or null where it is not known.")
    return next((text for text in texts if text in levels), texts[0])


def _level_of(text: str, levels: Collection[Any]) -> str | None:
    """A text that is no known level as it stands: in the form training texts have, or missing, or an unseen level."""
    bare = text.strip()
    if not bare.isascii():
        bare = unicodedata.normalize("NFC", bare).strip("\ufeff\u200b \t")
    if bare in levels:
        return bare
    return None if bare.casefold() in NO_LEVEL else bare


def _second(value: Any, name: str, row: int, compact: bool) -> float:
    text = value.strip() if isinstance(value, str) else ""
    if compact and type(value) is int and COMPACT_DATES[0] <= value <= COMPACT_DATES[1]:
        text = str(value)
    if text.casefold() not in NO_NUMBER:
        try:
            return _seconds_of(datetime.fromisoformat(f"{text}-01" if _MONTH.fullmatch(text) else text))
        except ValueError:
            pass  # seconds as a text, or nothing that can be read
    try:
        return _number(value, name, row)
    except SchemaMismatch:
        remedy = "Give ISO 8601, such as 2024-05-31 or 2024-05-31T13:45:00Z, or seconds since 1970."
        raise _refuse(value, name, row, "a date or time", remedy) from None


def _seconds_of(moment: datetime) -> float:
    """Seconds since 1970; a time without a zone is UTC, as it was in training."""
    return ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - _EPOCH).total_seconds()


def _refuse(value: Any, name: str, row: int, due: str, remedy: str) -> SchemaMismatch:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else shown[:77] + "..."
    return SchemaMismatch(
        f"rows[{row}]: {name} is {shown} where {due} is due.",
        code=_code(value),
        remedy=remedy,
        row=row,
        column=name,
        value=shown,
    )


def _code(value: Any) -> str:
    """The stable code of a value that does not fit: no finite number, too large a number, or of another type."""
    if isinstance(value, float) and not math.isfinite(value):
        return "VALUE_NOT_FINITE"
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return "VALUE_OUT_OF_RANGE" if number else "FEATURE_TYPE"


def _unknown(
    unknown: list[str], lacking: list[str], wanted: Collection[str], place: str, where: dict[str, Any]
) -> SchemaMismatch:
    from difflib import get_close_matches  # only an error needs it

    first = str(unknown[0])
    folded = {name.casefold(): name for name in wanted}
    close = get_close_matches(first.casefold(), [name.casefold() for name in lacking] or list(folded), n=1, cutoff=0.6)
    nearest = folded[close[0]] if close else None
    return SchemaMismatch(
        f"{place}{_listed(unknown)} {'is not a column' if len(unknown) == 1 else 'are not columns'} of the model."
        + (f" The closest is {nearest!r}." if nearest else ""),
        code="FEATURE_UNKNOWN",
        remedy=f"Rename it to {nearest!r}." if nearest else f"The columns are {_listed(wanted)}.",
        columns=unknown[:_NAMES_SHOWN],
        **({"closest": nearest} if nearest else {}),
        **({"missing": lacking[:_NAMES_SHOWN]} if lacking else {}),
        **where,
    )


def _listed(names: Collection[str]) -> str:
    shown = [repr(str(name)[:80]) for name in list(names)[:_NAMES_SHOWN]]
    more = len(names) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")
