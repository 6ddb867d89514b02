"""When something is to happen by itself: rate(...) and cron(...) as EventBridge Scheduler reads them, in UTC."""

from __future__ import annotations

import re

from tidemill.core.errors import BadSpec

RATE = re.compile(r"rate\((\d{1,5}) (minutes?|hours?|days?)\)")
CRON = re.compile(r"cron\(([^()]*)\)")
# The six fields of a cron expression: name, least, most, words that stand for numbers, signs of its own.
_MONTHS = ["JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC"]
_DAYS = ["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"]
_FIELDS: tuple[tuple[str, int, int, list[str], str], ...] = (
    ("minutes", 0, 59, [], r""),
    ("hours", 0, 23, [], r""),
    ("day of the month", 1, 31, [], r"|\?|L|LW|\d{1,2}W"),
    ("month", 1, 12, _MONTHS, r""),
    ("day of the week", 1, 7, _DAYS, r"|\?|L|[1-7]L|[1-7]#[1-5]"),
    ("year", 1970, 2199, [], r""),
)
_REMEDY = (
    'Write "rate(7 days)", or "cron(30 3 ? * MON *)" for Mondays at 03:30 UTC: '
    "minutes, hours, day of the month, month, day of the week, year; ? for one of the two days."
)


def check_timetable(text: str, where: str) -> str:
    """The expression itself, empty for never; raises BadSpec saying what is wrong with it and `where` it stands."""
    if not text:
        return text
    wrong = _wrong_rate(text) if text.startswith("rate") else _wrong_cron(text)
    if wrong:
        raise BadSpec(f"{where} is {text[:80]!r}: {wrong}.", remedy=_REMEDY)
    return text


def _wrong_rate(text: str) -> str:
    found = RATE.fullmatch(text)
    if not found:
        return "a rate has a whole number and minutes, hours or days"
    number, unit = int(found[1]), found[2]
    if number < 1:
        return "it would never come round"
    return "" if (number == 1) == (not unit.endswith("s")) else f"write {unit.rstrip('s')}{'s' if number > 1 else ''}"


def _wrong_cron(text: str) -> str:
    found = CRON.fullmatch(text)
    if not found:
        return "it is neither rate(...) nor cron(...)"
    fields = found[1].split(" ")
    if len(fields) != len(_FIELDS):
        return f"cron has {len(_FIELDS)} fields with one blank between them, this has {len(fields)}"
    for field, (name, least, most, words, own) in zip(fields, _FIELDS, strict=True):
        if not _fits(field.upper(), least, most, words, own):
            return f"{field[:20]!r} is no {name}"
    return "" if (fields[2] == "?") != (fields[4] == "?") else "one of the two days, and only one, is ?"


def _fits(field: str, least: int, most: int, words: list[str], own: str) -> bool:
    """Whether every part of a field is a number, a range or a step within the field's bounds, or a sign of its own."""
    one = rf"(?:\d{{1,4}}{''.join('|' + word for word in words)})"
    shape = re.compile(rf"(?:(?:\*|{one}(?:-{one})?)(?:/\d{{1,4}})?{own})")
    for part in field.split(","):
        if not shape.fullmatch(part):
            return False
        base, _, step = part.partition("/")
        plain = re.fullmatch(r"[\dA-Z]+(-[\dA-Z]+)?", base) and not re.fullmatch(r"L|LW|\d+W|\dL", base)
        numbers = [_number(text, words) for text in base.split("-")] if plain else []
        if any(not least <= number <= most for number in numbers) or numbers != sorted(numbers) or step == "0":
            return False
    return True


def _number(text: str, words: list[str]) -> int:
    return words.index(text) + 1 if text in words else int(text)
