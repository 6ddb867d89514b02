"""Cleaned texts as one array of code points, each with its kind, with single spaces and long numbers folded.

Axes: c characters of all texts of a batch, one after the other, each text between two spaces of its own.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tidemill.core.features.kinds import Array

SPACE, SIGN, EMOJI, CJK, WORD, DIGIT = range(1, 7)
LONG_NUMBER = 5  # digits from which on a number is read by its length only: telephone numbers, amounts, codes
_ZERO, _BLANK = 48, 32
_IDEOGRAPHS = ((0x3005, 0x3007), (0x3041, 0x30FF), (0x31F0, 0x31FF), (0x3400, 0x9FFF), (0xF900, 0xFAFF))
_LATER_IDEOGRAPHS = (0x20000, 0x3FFFF)
_EMOJI = 0x2190  # symbols from here on are arrows, dingbats and pictures

_kind_of = np.zeros(0x110000, np.uint8)  # filled as code points are met: all at once would cost half a second


@dataclass(frozen=True)
class Marks:
    """The code points of a batch, the kind and the text of each, and its place in the joined texts."""

    code_c: Array
    kind_c: Array
    text_c: Array
    place_c: Array


def lay_out(cleaned: Sequence[str]) -> Marks:
    """Texts that were cleaned, as code points."""
    joined = "".join([f" {text} " for text in cleaned])
    code_c = np.frombuffer(joined.encode("utf-32-le"), np.uint32)
    lengths = np.fromiter(map(len, cleaned), np.int64, len(cleaned)) + 2
    text_c = np.repeat(np.arange(len(cleaned), dtype=np.int32), lengths)
    kind_c = _kinds(code_c)
    place_c = np.arange(len(code_c), dtype=np.int32)
    space = kind_c == SPACE
    again = np.append(False, space[1:] & space[:-1] & (text_c[1:] == text_c[:-1]))
    if again.any():
        once = ~again
        code_c, kind_c, text_c, place_c = code_c[once], kind_c[once], text_c[once], place_c[once]
    code_c = np.where(kind_c == SPACE, np.uint32(_BLANK), code_c)
    _fold_numbers(code_c, kind_c)
    return Marks(code_c, kind_c, text_c, place_c)


def _kinds(code_c: Array) -> Array:
    kind_c = _kind_of[code_c]
    if not kind_c.all():
        for code in np.unique(code_c[kind_c == 0]).tolist():
            _kind_of[code] = _kind(chr(code))
        kind_c = _kind_of[code_c]
    return kind_c


def _kind(character: str) -> int:
    code, category = ord(character), unicodedata.category(character)
    if character.isspace() or category[0] == "Z":
        return SPACE
    if any(low <= code <= high for low, high in (*_IDEOGRAPHS, _LATER_IDEOGRAPHS)):
        return CJK if category[0] in "LN" else SIGN
    if category == "Nd":
        return DIGIT
    if category[0] in "LNM":
        return WORD
    return EMOJI if category == "So" and code >= _EMOJI else SIGN


def _fold_numbers(code_c: Array, kind_c: Array) -> None:
    """Make every digit of a long number a zero."""
    digit = np.concatenate([[False], kind_c == DIGIT, [False]])
    edges = np.flatnonzero(digit[1:] != digit[:-1])
    starts, ends = edges[::2], edges[1::2]
    for start, end in zip(*(edge[ends - starts >= LONG_NUMBER].tolist() for edge in (starts, ends)), strict=True):
        code_c[start:end] = _ZERO
