"""Recognise personal data by name and shape, so that a person is told; values never appear in what is said."""

from __future__ import annotations

import re

from tidemill.core.prepare.evidence import Evidence
from tidemill.core.readers.chunks import Warned

_SHAPES = {
    "e-mail addresses": re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+"),
    "social security numbers": re.compile(r"\d{3}-\d{2}-\d{4}"),
    "telephone numbers": re.compile(r"\+?\d{1,3}[ -]?\(?\d{2,4}\)?[ -]?\d{3,4}[ -]?\d{3,4}"),
    "identity card numbers": re.compile(r"\d{17}[\dXx]"),
}
_PHONE_NAME = re.compile(r"phone|mobile|\btel\b|手机|电话", re.IGNORECASE)


def kinds_of(found: Evidence) -> list[str]:
    """The kinds of personal data a column seems to hold."""
    texts = found.examples
    if not texts:
        return []
    kinds = []
    for kind, shape in _SHAPES.items():
        if kind == "telephone numbers" and not _PHONE_NAME.search(found.name):
            continue
        if sum(bool(shape.fullmatch(text)) for text in texts) >= 0.5 * len(texts):
            kinds.append(kind)
    if sum(_is_card(text) for text in texts) >= 0.5 * len(texts):
        kinds.append("payment card numbers")
    return kinds


def warnings_for(found: Evidence) -> list[Warned]:
    """A warning for a column with personal data."""
    if not (kinds := kinds_of(found)):
        return []
    message = f"{found.name!r} seems to hold {' and '.join(kinds)}."
    return [Warned("WARN_PII", message, found.name, "Leave personal data out of what you upload.")]


def _is_card(text: str) -> bool:
    digits = re.sub(r"[ -]", "", text)
    if not (13 <= len(digits) <= 19 and digits.isdigit() and digits[0] in "3456"):
        return False
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0
