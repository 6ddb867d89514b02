"""Texts as they are compared and learned from: cut, in NFKC, without case or what nobody sees, addresses folded."""

from __future__ import annotations

import re
import unicodedata

from tidemill.core.limits import limit

PIECE = 1_024  # characters normalised at once: ordering a run of k combining marks takes k**2 steps
# Every group takes whatever comes until a character of another set, so a search reads each character once.
_BLANKS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")  # letters and signs that show nothing
_SELECTORS = ((0xFE00, 0xFE0F), (0xE0000, 0xE0FFF))  # which of a character's forms is meant, and tags

_ADDRESS = re.compile(r"(https?://|www\.)([^\s/?#]*)(\S*)")


class _Seen(dict[int, int | None]):
    """What becomes of each code point, remembered for the next time: itself, or nothing where it cannot be seen."""

    def __missing__(self, code: int) -> int | None:
        character = chr(code)
        hidden = unicodedata.category(character).startswith("C") and not character.isspace()
        hidden |= character in _BLANKS or any(low <= code <= high for low, high in _SELECTORS)
        self[code] = None if hidden else code
        return self[code]


_seen = _Seen()


def clean(text: str) -> str:
    """The text as the features see it."""
    most = limit("text")
    text = text[:most]
    folded = text.lower().translate(_seen) if text.isascii() else _in_pieces(text, most)
    if "http" not in folded and "www." not in folded:
        return folded
    return _ADDRESS.sub(_host, folded)


def plain(text: str) -> str:
    """A text cleaned and with single spaces: what is empty here says nothing, what is equal here is the same text."""
    return " ".join(clean(text).split())


def clean_with_places(text: str) -> tuple[str, list[tuple[int, int]]]:
    """The cleaned text, and for each of its characters the part of the original (start, end) that it comes from."""
    cut = text[: limit("text")]
    places: list[tuple[int, int]] = []
    for number, piece in enumerate(_pieces(cut)):
        start = number * PIECE
        if len(places) > limit("text"):
            break
        for first, last in _parts(piece):
            folded = _folded(piece[first:last])
            one_to_one = len(folded) == last - first
            places += [
                (start + first + at, start + first + at + 1) if one_to_one else (start + first, start + last)
                for at, character in enumerate(folded)
                if _seen[ord(character)] is not None
            ]
    cleaned = clean(text)
    return cleaned, places[: len(cleaned)]


def _pieces(text: str) -> list[str]:
    return [text[start : start + PIECE] for start in range(0, len(text), PIECE)]


def _in_pieces(text: str, most: int) -> str:
    """The folded text, no longer than it was allowed to be: one character may become eighteen."""
    parts: list[str] = []
    size = 0
    for piece in _pieces(text):
        parts.append(_folded(piece).translate(_seen))
        size += len(parts[-1])
        if size > most:
            break
    return "".join(parts)[:most]


def _folded(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _host(match: re.Match[str]) -> str:
    """An address of the same length that says no more than its host."""
    scheme = "http" if match[1].startswith("http") else "www"
    return scheme.ljust(len(match[1])) + match[2] + " " * len(match[3])


def _parts(piece: str) -> list[tuple[int, int]]:
    """A piece cut where no character joins the one before it; whole where the parts do not give the same text."""
    starts = [at for at, character in enumerate(piece) if at == 0 or not _joins(character)]
    parts = list(zip(starts, [*starts[1:], len(piece)], strict=True))
    same = "".join(_folded(piece[first:last]) for first, last in parts) == _folded(piece)
    return parts if same else [(0, len(piece))]


def _joins(character: str) -> bool:
    """Whether a character may become one with those before it: a mark, or a later part of a Hangul syllable."""
    if character < "\u0300":
        return False
    first = unicodedata.normalize("NFKD", character)[:1]
    return unicodedata.category(first).startswith("M") or "\u1160" <= first <= "\u11ff"
