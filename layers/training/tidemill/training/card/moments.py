"""Round moments for an axis of dates: years, months, days or minutes, whichever fit."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

from tidemill.training.card.text import moment

Tick = tuple[float, str]
# what a step is counted in, how it is written, its length in seconds, and the counts that look round
_UNITS = (
    ("year", "%Y", 365.25 * 86400, (1, 2, 5, 10, 20, 25, 50, 100, 200, 500, 1000)),
    ("month", "%Y-%m", 365.25 * 7200, (1, 2, 3, 6, 12)),
    ("day", "%Y-%m-%d", 86400.0, (1, 2, 5, 7, 10, 14, 31)),
    ("minute", "%m-%d %H:%M", 60.0, (1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440)),
)


def date_ticks(low: float, high: float, wanted: int = 4) -> list[Tick]:
    """Some round moments between two (seconds since 1970, UTC) with their names; the ends where none is round."""
    for unit, form, length, counts in _UNITS:
        rough = (high - low) / length / wanted
        if rough * wanted < 2 and unit != "minute":
            continue
        every = next((count for count in counts if count >= rough), counts[-1])
        try:
            found = _between(low, high, unit, every)
        except (ValueError, OverflowError, OSError):
            break
        if found:
            return [(at.timestamp(), at.strftime(form)) for at in found]
    return [(at, moment(at)) for at in dict.fromkeys((low, high))]


def _between(low: float, high: float, unit: str, every: int) -> list[datetime]:
    start, end = datetime.fromtimestamp(low, UTC), datetime.fromtimestamp(high, UTC)
    at, found = _floor(start, unit, every), list[datetime]()
    while at <= end and len(found) < 20:
        if at >= start:
            found.append(at)
        at = _next(at, unit, every)
    return found


def _floor(at: datetime, unit: str, every: int) -> datetime:
    """The last round moment not after this one."""
    midnight = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if unit == "minute":
        minutes = (at - midnight) // timedelta(minutes=1)
        return midnight + timedelta(minutes=minutes - minutes % every)
    if unit == "day":
        return midnight
    if unit == "month":
        return midnight.replace(day=1, month=1 + (at.month - 1) // every * every)
    return midnight.replace(day=1, month=1, year=max(1, at.year - at.year % every))


def _next(at: datetime, unit: str, every: int) -> datetime:
    if unit in ("minute", "day"):
        return at + timedelta(minutes=every if unit == "minute" else every * 1440)
    if unit == "month":
        months = math.floor(at.year * 12 + at.month - 1 + every)
        return at.replace(year=months // 12, month=months % 12 + 1)
    return at.replace(year=at.year + every)
