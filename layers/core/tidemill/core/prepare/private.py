"""Recognise personal data by name, shape and check digits, so that a person is told and may have it left out.

A kind that has check digits (identity cards, payment cards, IBAN) counts only where they are right; what has none needs
a shape that ordinary ids, dates and amounts lack, or a telling name. Values never appear in what is said.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from tidemill.core.errors import BadTable
from tidemill.core.prepare.evidence import Evidence
from tidemill.core.readers.chunks import Warned
from tidemill.core.spec import Spec

CODE, INSIDE = "WARN_PII", "WARN_PII_INSIDE"
REASON = "private"  # why such a column was dropped
_SHARE = 0.5  # of a column's examples that must be of a kind
_SURE, _SOME, _PREFIXES = 0.95, 10, 4  # of mobile numbers without a telling name: nearly all, and of several operators
_REMEDY = 'Leave personal data out of what you upload, or set [privacy] pii = "drop".'
_PHONE_NAME = re.compile(r"phone|mobile|\btel\b|手机|电话", re.IGNORECASE)
_SSN_NAME = re.compile(r"(?<![a-z])ssn(?![a-z])|social.?security", re.IGNORECASE)
_MAIL = re.compile(r"[^@\s]+@[^@\s]+\.[^@\s]+")
_SSN = re.compile(r"(?!000|666|9)\d{3}-(?!00)\d{2}-(?!0000)\d{4}")
_NAMED_SSN = re.compile(r"\d{3}-?\d{2}-?\d{4}")  # numbers that were never given out, too
_NAMED_PHONE = re.compile(r"\+?\d{1,3}[ -]?\(?\d{2,4}\)?[ -]?\d{3,4}[ -]?\d{3,4}")
_PLUS_PHONE = re.compile(r"\+[1-9](?:[ .()-]{0,2}\d){9,14}")
_MOBILE = re.compile(r"(?:\+?86[ -]?)?(1[3-9]\d)[ -]?\d{4}[ -]?\d{4}")
_IDENTITY = re.compile(r"[1-8]\d{5}(?:18|19|20)\d\d(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])\d{3}[\dXx]")
_IBAN = re.compile(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}")
_CARD = re.compile(r"[2-6]\d{12,18}")
_WEIGHTS = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)  # GB 11643: the remainder of the sum by 11 tells
_LETTERS = "10X98765432"

_IN_TEXT = {
    "e-mail addresses": re.compile(r"[\w.+-]+@[\w-]+\.[\w.-]*\w"),
    "identity card numbers": re.compile(r"(?<!\w)\d{17}[\dXx](?!\w)"),
    "payment card numbers": re.compile(r"(?<!\w)\d(?:[ -]?\d){12,18}(?!\w)"),
    "bank account numbers": re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,30}(?!\w)"),
    "telephone numbers": re.compile(r"(?<![\w+])\+[1-9](?:[ .()-]{0,2}\d){9,14}(?!\w)"),
}


def is_identity_number(text: str) -> bool:
    """Whether a text is a Chinese resident identity number: a birthday in it, and its check digit right."""
    if not text.isascii() or not _IDENTITY.fullmatch(text):
        return False
    total = sum(int(digit) * weight for digit, weight in zip(text, _WEIGHTS, strict=False))
    return _LETTERS[total % 11] == text[-1].upper()


def is_card_number(text: str) -> bool:
    """Whether a text is a payment card's number: the first digit of one, 13 to 19 of them, Luhn's sum right."""
    digits = re.sub(r"[ -]", "", text)
    if not digits.isascii() or not _CARD.fullmatch(digits) or (digits[0] == "2" and not "2221" <= digits[:4] <= "2720"):
        return False
    doubled = [int(digit) * (2 if place % 2 else 1) for place, digit in enumerate(reversed(digits))]
    return sum(value - 9 if value > 9 else value for value in doubled) % 10 == 0


def is_iban(text: str) -> bool:
    """Whether a text is an international bank account number (ISO 13616: 1 modulo 97)."""
    plain = text.replace(" ", "").upper()
    if not plain.isascii() or not _IBAN.fullmatch(plain):
        return False
    return int("".join(str(int(letter, 36)) for letter in plain[4:] + plain[:4])) % 97 == 1


def _shaped(shape: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: shape.fullmatch(text) is not None


_SSN_KIND = "social security numbers"
_KINDS: dict[str, Callable[[str], bool]] = {
    "e-mail addresses": _shaped(_MAIL),
    _SSN_KIND: _shaped(_SSN),
    "identity card numbers": is_identity_number,
    "payment card numbers": is_card_number,
    "bank account numbers": is_iban,
}
_CHECKED = {name: _KINDS[name] for name in ("identity card numbers", "payment card numbers", "bank account numbers")}


def kinds_of(found: Evidence) -> list[str]:
    """The kinds of personal data a column seems to hold."""
    if not (texts := found.examples):
        return []
    fitting = {**_KINDS, _SSN_KIND: _shaped(_NAMED_SSN)} if _SSN_NAME.search(found.name) else _KINDS
    kinds = [kind for kind, fits in fitting.items() if _share(map(fits, texts), len(texts)) >= _SHARE]
    return [*kinds, "telephone numbers"] if _are_phones(found.name, texts) else kinds


def kinds_inside(found: Evidence) -> dict[str, int]:
    """Of a column of words, how many of its sampled texts hold personal data among other things, by kind."""
    counts = {}
    for kind, shape in _IN_TEXT.items():
        right: Callable[[str], bool] = _CHECKED.get(kind, bool)
        count = sum(any(map(right, shape.findall(text))) for text in found.examples if " " in text)
        if count:
            counts[kind] = count
    return counts


def warnings_for(found: Evidence, left_out: bool = False) -> list[Warned]:
    """A warning for a column with personal data, or with texts that hold some."""
    if kinds := kinds_of(found):
        message = f"{found.name!r} seems to hold {' and '.join(kinds)}{'; it is left out.' if left_out else '.'}"
        return [Warned(CODE, message, found.name, "" if left_out else _REMEDY)]
    if inside := kinds_inside(found):
        told = " and ".join(f"{kind} in {count:,}" for kind, count in inside.items())
        message = f"Of {len(found.examples):,} texts of {found.name!r} looked at, some hold personal data: {told}."
        return [Warned(INSIDE, message, found.name, "Take personal data out of the texts before you upload them.")]
    return []


def refuse(evidence: Iterable[Evidence], spec: Spec, target: str, text: str) -> None:
    """Raise BadTable (PII_FOUND) for personal data where it may not be, or where it cannot be left out."""
    if spec.privacy.pii == "keep":
        return
    aside = {*spec.data.drop, *spec.data.id} - {target}
    needed = {target, text}
    for found in evidence:
        if found.name in aside or (spec.privacy.pii == "drop" and found.name not in needed):
            continue
        kinds = kinds_of(found) or (list(kinds_inside(found)) if spec.privacy.pii == "reject" else [])
        if kinds:
            raise BadTable(
                f'{found.name!r} seems to hold {" and ".join(kinds)}; [privacy] pii is "{spec.privacy.pii}".',
                code="PII_FOUND",
                remedy="Upload the file without it."
                if found.name in needed
                else f'Upload the file without it, or leave it out with [data] drop = ["{found.name}"].',
            )


def _share(hits: Iterable[object], total: int) -> float:
    return sum(map(bool, hits)) / total


def _are_phones(name: str, texts: list[str]) -> bool:
    shapes = [_PLUS_PHONE, _NAMED_PHONE] if _PHONE_NAME.search(name) else [_PLUS_PHONE]
    if any(_share(map(shape.fullmatch, texts), len(texts)) >= _SHARE for shape in shapes):
        return True
    mobile = [match[1] for text in texts if (match := _MOBILE.fullmatch(text))]
    return len(mobile) >= max(_SOME, _SURE * len(texts)) and len(set(mobile)) >= _PREFIXES
