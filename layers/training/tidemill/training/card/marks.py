"""A text with what its words added to the answer: stronger marks for more, for and against told apart by more than hue.

Texts come from strangers. Marks stand at places of the text as it was given; what is drawn is escaped piece by piece.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from tidemill.training.card import svg
from tidemill.training.card.text import cut, number, readable, visible

Facts = dict[str, Any]
Placed = tuple[int, int, float]  # start, end, contribution
STRENGTHS = 5  # classes for-1 to for-5 and against-1 to against-5 of the style sheet
NOTHING = 0.01  # of the strongest word, below which what is left is not worth a sentence
STRONG = 2  # strength from which on marks that touch are told as one word
NAMED = 4  # words for and words against that are told besides being marked


def marked(item: Facts) -> Markup:
    """The example's text with an element around every mark that can be seen, by its share of the strongest one."""
    text, at, parts = str(item["text"]), 0, list[Markup]()
    places = apart(item.get("marks") or [], len(text))
    strongest = max((abs(value) for _, _, value in places), default=0.0)
    for start, end, value in places:
        parts += [escape(readable(text[at:start])), _mark(readable(text[start:end]), value, strongest)]
        at = end
    return svg.joined([*parts, escape(readable(text[at:]))])


def _mark(piece: str, value: float, strongest: float) -> Markup:
    """One piece of text; plain where its share of the strongest mark is below a tenth."""
    strength = strength_of(value, strongest)
    if not strength:
        return escape(piece)
    kind = "for" if value > 0 else "against"
    return svg.tag("mark", piece, class_=f"{kind}-{strength}", title=signed(value))


def strength_of(value: float, strongest: float) -> int:
    """From 0, hardly anything, to STRENGTHS, as much as the strongest mark."""
    return int(STRENGTHS * abs(value) / strongest + 0.5) if strongest > 0 else 0


def apart(marks: Sequence[Sequence[float]], length: int) -> list[Placed]:
    """Marks within the text in its order; those that overlap, as tokens of one sign do, are put together."""
    found = list[Placed]()
    for start, end, value in sorted((int(start), int(end), float(value)) for start, end, value in marks):
        start, end = max(0, start), min(end, length)
        if start >= end:
            continue
        if found and start < found[-1][1]:
            first, last, before = found.pop()
            start, end, value = first, max(last, end), before + value
        found.append((start, end, value))
    return found


def strongest(item: Facts) -> Facts:
    """The words that added most and those that took most, each with its sum over the text, and all that is unmarked."""
    text, sums, names = str(item["text"]), dict[str, float](), dict[str, str]()
    places = apart(item.get("marks") or [], len(text))
    for start, end, value in _phrases(places):
        word = text[start:end]
        names.setdefault(word.casefold(), word)
        sums[word.casefold()] = sums.get(word.casefold(), 0.0) + value
    most = max(map(abs, sums.values()), default=0.0)
    seen = sorted((word for word in sums if strength_of(sums[word], most)), key=lambda word: -abs(sums[word]))
    told: list[Facts] = [{"word": cut(visible(names[word]), 24), "value": sums[word]} for word in seen]
    left = float(item.get("rest") or 0.0) + _faint([value for *_, value in places])
    return {
        "for": [one for one in told if one["value"] > 0][:NAMED],
        "against": [one for one in told if one["value"] < 0][:NAMED],
        "unmarked": left if not most or abs(left) > NOTHING * most else 0.0,
    }


def _phrases(places: Sequence[Placed]) -> list[Placed]:
    """Strong marks of one side that touch as one: characters of a Chinese word say little by themselves."""
    most, found, held = max((abs(value) for *_, value in places), default=0.0), list[Placed](), False
    for start, end, value in places:
        strong = strength_of(value, most) >= STRONG
        if found and held and strong and start == found[-1][1] and value * found[-1][2] > 0:
            first, _, before = found.pop()
            start, value = first, before + value
        found.append((start, end, value))
        held = strong
    return found


def _faint(values: Sequence[float]) -> float:
    """The sum of contributions that are too small to be drawn beside the others."""
    most = max(map(abs, values), default=0.0)
    return sum(value for value in values if not strength_of(value, most))


def signed(value: float) -> str:
    """A contribution with its sign."""
    return f"+{number(value)}" if value > 0 else number(value)
