"""Dates in text: ISO and the common orders, as seconds since 1970 in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from functools import lru_cache

YMD, DMY, MDY, COMPACT = "year-month-day", "day-month-year", "month-day-year", "yyyymmdd"
_TIME = (
    r"(?:[T ,]+(?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,](?P<part>\d{1,9}))?)?"
    r" ?(?P<half>[AaPp][Mm])? ?(?P<zone>Z|UTC|GMT|[+-]\d{2}:?\d{2})?)?"
)
_YEAR_FIRST = re.compile(r"(?P<y>\d{4})[-/.年](?P<m>\d{1,2})(?:[-/.月](?P<d>\d{1,2})日?|月)?" + _TIME)
_YEAR_LAST = re.compile(r"(?P<a>\d{1,2})[-/.](?P<b>\d{1,2})[-/.](?P<y>\d{4}|\d{2})" + _TIME)
_NAMED = re.compile(
    r"(?:[A-Za-z]{3,9},? )?"
    r"(?:(?P<d>\d{1,2})(?:st|nd|rd|th)?[- ](?P<n>[A-Za-z]{3,9})\.?[- ,]+(?P<y>\d{4}|\d{2})"
    r"|(?P<n2>[A-Za-z]{3,9})\.? (?P<d2>\d{1,2})(?:st|nd|rd|th)?,? (?P<y2>\d{4})"
    r"|(?P<y3>\d{4})[- ](?P<n3>[A-Za-z]{3,9})[- ](?P<d3>\d{1,2}))" + _TIME
)
_COMPACT = re.compile(r"(?P<y>(?:19|20|21)\d{2})(?P<m>0[1-9]|1[0-2])(?P<d>[0-2]\d|3[01])")
_MONTHS = {
    name: index
    for index, name in enumerate(
        ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"), start=1
    )
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MAYBE = re.compile(r".*\d.*[-/.年 ].*\d|\d{8}$")


def orders(text: str) -> tuple[bool, tuple[str, ...]]:
    """Whether a cell is shaped like a date, and the orders of day, month and year under which it is one."""
    if len(text) > 60 or not _MAYBE.match(text):
        return False, ()
    if _COMPACT.fullmatch(text):
        return True, (COMPACT,) if seconds(text, COMPACT) is not None else ()
    if _YEAR_FIRST.fullmatch(text) or _NAMED.fullmatch(text):
        return True, (YMD, DMY, MDY) if seconds(text, YMD) is not None else ()
    if _YEAR_LAST.fullmatch(text):
        return True, tuple(order for order in (DMY, MDY) if seconds(text, order) is not None)
    return False, ()


@lru_cache(maxsize=1 << 14)
def seconds(text: str, order: str) -> float | None:
    """A date cell as seconds since 1970 (UTC where it names no zone); None where it is no date in this order."""
    if order == COMPACT:
        match = _COMPACT.fullmatch(text)
        return _moment(match["y"], match["m"], match["d"], None) if match else None
    if match := _YEAR_FIRST.fullmatch(text):
        return _moment(match["y"], match["m"], match["d"] or "1", match)
    if match := _YEAR_LAST.fullmatch(text):
        day, month = (match["a"], match["b"]) if order != MDY else (match["b"], match["a"])
        return _moment(match["y"], month, day, match)
    if match := _NAMED.fullmatch(text):
        month = _MONTHS.get((match["n"] or match["n2"] or match["n3"])[:3].lower())
        year, day = match["y"] or match["y2"] or match["y3"], match["d"] or match["d2"] or match["d3"]
        return _moment(year, str(month), day, match) if month else None
    return None


def _moment(year: str, month: str, day: str, match: re.Match[str] | None) -> float | None:
    full = int(year) + ((2000 if int(year) < 69 else 1900) if len(year) == 2 else 0)
    try:
        moment = datetime(full, int(month), int(day), tzinfo=UTC)
        if match is not None and match["hour"]:
            moment = _with_time(moment, match)
    except (ValueError, OverflowError):
        return None
    return (moment - _EPOCH).total_seconds()


def _with_time(day: datetime, match: re.Match[str]) -> datetime:
    hour, half = int(match["hour"]), (match["half"] or "").lower()
    if half:
        if not 1 <= hour <= 12:
            raise ValueError(hour)
        hour = hour % 12 + (12 if half == "pm" else 0)
    part = int((match["part"] or "0").ljust(9, "0")) // 1000
    moment = day.replace(hour=hour, minute=int(match["minute"]), second=int(match["second"] or 0), microsecond=part)
    zone = match["zone"] or ""
    if zone[:1] in ("+", "-") and zone:
        offset = timedelta(hours=int(zone[1:3]), minutes=int(zone[-2:]))
        moment = moment.replace(tzinfo=timezone(offset if zone[0] == "+" else -offset))
    return moment
