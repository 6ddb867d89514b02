"""What one cell of text may mean: nothing, a number in one of several spellings, a date, or just text."""

from __future__ import annotations

import math
import re
import unicodedata
from dataclasses import dataclass
from functools import lru_cache

# Spellings of "no value" that no category would use for a value of its own.
ALWAYS_MISSING = (
    "",
    "null",
    "nan",
    "n/a",
    "#n/a",
    "<na>",
    "n.a.",
    "#value!",
    "#div/0!",
    "#ref!",
    "#null!",
    "#num!",
    "\\n",
    "?",
    "-",
    "--",
    ".",
    "缺失",
    "空",
    "missing",
    "nil",
    "undefined",
    "(null)",
    "(none)",
)
# Spellings that mean "no value" above numbers and dates, but may be a value in a category (Namibia; no basement).
PERHAPS_MISSING = ("na", "none", "无")
FLOAT32_MAX = 3.4028234663852886e38
EXACT_INTEGER = 2**53

_PLAIN = re.compile(r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?")
_INTEGER = re.compile(r"[+-]?\d+")
_COMMA_GROUPS = re.compile(r"[+-]?\d{1,3}(?:,\d{3})+(\.\d*)?")
_POINT_GROUPS = re.compile(r"[+-]?\d{1,3}(?:\.\d{3})+(,\d*)?")
_SPACE_GROUPS = re.compile(r"[+-]?\d{1,3}(?:[  '’]\d{3})+([.,]\d*)?")
_COMMA_DECIMAL = re.compile(r"[+-]?\d*,\d+(?:[eE][+-]?\d+)?")
_NOT_FINITE = re.compile(r"[+-]?(?:inf|infinity|∞)", re.IGNORECASE)
_NAN = re.compile(r"[+-]?nan(?:\(.*\))?", re.IGNORECASE)
_UNIT = re.compile(
    r"(?P<before>[$€£¥₹₩₽]|US\$|(?:USD|EUR|GBP|CNY|RMB|JPY|INR|CHF)(?=[ \d]))|"
    r"(?P<after>[%‰$€£¥₹₩₽元]| ?(?:USD|EUR|GBP|CNY|RMB|JPY|INR|CHF))$",
    re.IGNORECASE,
)
_HAS_DIGIT = re.compile(r"\d")


@dataclass(frozen=True)
class Number:
    """A number in text: its value, how its commas and points are used, its unit, and what makes it special."""

    value: float
    style: str = "plain"  # plain, comma_groups, comma_decimal, either (1,234), point_groups
    unit: str = ""
    integer: bool = False
    leading_zero: bool = False
    big: bool = False


def canonical(text: str) -> str:
    """A cell's text as it is compared: without surrounding space, in NFC."""
    text = text.strip()
    return text if text.isascii() else unicodedata.normalize("NFC", text).strip("\ufeff\u200b \t")


@lru_cache(maxsize=1 << 16)
def missing(text: str) -> int:
    """2: the cell holds nothing, whatever the column; 1: nothing in a column of numbers or dates; 0: something."""
    if len(text) > 40:
        return 0
    folded = text.casefold()
    if folded in ALWAYS_MISSING or _NAN.fullmatch(folded):
        return 2
    return 1 if folded in PERHAPS_MISSING else 0


def number(text: str) -> Number | None:
    """The number a cell holds, with every clue to how it is to be read; None where it holds none."""
    if len(text) > 400:
        return None
    if _NOT_FINITE.fullmatch(text):
        return Number(-math.inf if text.startswith("-") else math.inf)
    if not _HAS_DIGIT.search(text):
        return None
    if _PLAIN.fullmatch(text):
        return _plain(text)
    return _dressed(text)


def _plain(text: str, style: str = "plain", unit: str = "") -> Number:
    integer = _INTEGER.fullmatch(text) is not None
    digits = text.lstrip("+-")
    leading = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    value = float(text)
    return Number(value, style, unit, integer, leading, integer and abs(value) >= EXACT_INTEGER)


def _dressed(text: str) -> Number | None:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text).replace("−", "-").replace("–", "-")
    negative = text.startswith("(") and text.endswith(")")
    body, unit = _without_unit(text[1:-1] if negative else text)
    sign = "-" if negative else ""
    if _PLAIN.fullmatch(body):
        return _plain(sign + body, unit=unit)
    if match := _COMMA_GROUPS.fullmatch(body):
        several = body.count(",") > 1 or match[1] is not None
        return _plain(sign + body.replace(",", ""), "comma_groups" if several else "either", unit)
    if _COMMA_DECIMAL.fullmatch(body):
        return _plain(sign + body.replace(",", "."), "comma_decimal", unit)
    if _POINT_GROUPS.fullmatch(body):
        return _plain(sign + body.replace(".", "").replace(",", "."), "point_groups", unit)
    if _SPACE_GROUPS.fullmatch(body):
        return _plain(sign + re.sub(r"[  '’]", "", body).replace(",", "."), "plain", unit)
    return None


def _without_unit(text: str) -> tuple[str, str]:
    sign = text[:1] if text[:1] in "+-" else ""
    body, unit = text[len(sign) :].strip(), ""
    while (match := _UNIT.match(body) or _UNIT.search(body)) and match[0]:
        unit = unit or match[0].strip().upper()
        before, after = body[: match.start()], body[match.end() :]
        body = (before + after).strip()
        if match.start() and match.end() != match.endpos:
            break
    if not sign and body[:1] in "+-":
        return body.replace(" ", "", 1) if body[1:2] == " " else body, unit
    return sign + body, unit


def value_of(found: Number, comma_decimal: bool) -> float | None:
    """The value of a number in a column that uses commas one way or the other; None where it does not fit."""
    if found.style in ("plain",):
        return found.value
    if found.style == "either":
        return found.value / 1000 if comma_decimal else found.value
    if found.style in ("comma_decimal", "point_groups"):
        return found.value if comma_decimal else None
    return None if comma_decimal else found.value
