"""Words and numbers as a person reads them. Names come from strangers' files, so nothing invisible passes."""

from __future__ import annotations

import json
import math
import unicodedata
from datetime import UTC, datetime
from typing import Any

DASH = "–"
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}  # control, format (bidi, zero width), surrogates, unassigned
_WRITTEN = "\n\t\u200c\u200d"  # lines and tabs; joiners, which Persian is spelled with and emoji are put together by


def visible(value: object, limit: int = 0) -> str:
    """The text with everything invisible spelled out, cut in the middle of nothing longer than `limit` columns."""
    text = str(value)
    text = "".join(_shown(sign) if unicodedata.category(sign) in _UNSEEN else sign for sign in text[:4000])
    return cut(text, limit) if limit else text


def _shown(sign: str) -> str:
    code = ord(sign)
    if code < 0x20:
        return chr(0x2400 + code)  # the control pictures: ESC is drawn as one sign that says ESC
    return f"[U+{code:04X}]"


def readable(text: str) -> str:
    """A whole text to be read as it was laid out: lines stay, everything else invisible is spelled out."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    return "".join(sign if sign in _WRITTEN else visible(sign) for sign in lines)


def width(text: str) -> int:
    """How many Latin columns a text takes: Chinese, Japanese and Korean signs are twice as wide."""
    return sum(2 if unicodedata.east_asian_width(sign) in "WF" else 1 for sign in text)


def cut(text: str, limit: int) -> str:
    """The text, shortened with an ellipsis where it is wider than `limit` columns."""
    if width(text) <= limit:
        return text
    kept, used = "", 1
    for sign in text:
        used += width(sign)
        if used > limit:
            break
        kept += sign
    return kept.rstrip() + "…"


def number(value: Any) -> str:
    """A number with about four significant digits; a dash where there is none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return DASH if value is None else visible(value)
    if not math.isfinite(value):
        return DASH if math.isnan(value) else ("∞" if value > 0 else "−∞")
    return _signed(_digits(abs(value)), value < 0)


def _digits(size: float) -> str:
    if size == int(size) and size < 1e12:
        return f"{int(size):,}" if size >= 10_000 else str(int(size))
    if size >= 1e8 or size < 1e-4:
        digits, power = f"{size:.2e}".split("e")
        return f"{digits} × 10{str(int(power)).translate(_RAISED)}"
    if size >= 1000:
        return f"{size:,.0f}" if size >= 10_000 else f"{size:.0f}"
    return f"{size:.{max(0, 3 - math.floor(math.log10(size)))}f}" if size >= 0.1 else f"{size:.4f}"


def _signed(text: str, negative: bool) -> str:
    return f"−{text}" if negative and text.strip("0.") else text


def short(value: float) -> str:
    """A tick: no digits beyond those it needs, thousands as k, millions as M."""
    for unit, sign in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= max(unit, 10_000):
            return _signed(f"{abs(value) / unit:.4g}{sign}", value < 0)
    return _signed(f"{abs(value):.4g}", value < 0)


def percent(share: float) -> str:
    """A share of one as a percentage; never 0 % or 100 % for something that is not."""
    if 0 < share < 0.0005:
        return "< 0.1 %"
    if 0.9995 <= share < 1:
        return "> 99.9 %"
    return f"{100 * share:.1f} %"


def value_of(value: Any, kind: str = "") -> str:
    """A cell of the table: numbers by size, moments as dates, the rest as text."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return DASH
    if kind == "datetime" and isinstance(value, (int, float)):
        return moment(value)
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return number(value)
    return visible(value)


def moment(seconds: float) -> str:
    """Seconds since 1970 as a date, with the time where it is not midnight."""
    try:
        when = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return number(seconds)
    return when.strftime("%Y-%m-%d" if when.time() == when.min.time() else "%Y-%m-%d %H:%M:%S")


def duration(seconds: Any) -> str:
    """A stretch of time in the two largest units."""
    if not isinstance(seconds, (int, float)) or not math.isfinite(seconds):
        return DASH
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def json_line(value: Any, indent: int | None = None) -> str:
    """JSON that keeps readable signs readable and escapes every invisible one, still the same value."""
    text = json.dumps(value, ensure_ascii=False, indent=indent, allow_nan=False)
    return "".join(_escaped(sign) if sign != "\n" and unicodedata.category(sign) in _UNSEEN else sign for sign in text)


def _escaped(sign: str) -> str:
    units = sign.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))
