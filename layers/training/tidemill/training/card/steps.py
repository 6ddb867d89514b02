"""The feature program in sentences: what happens to a row, a picture or a text before the model sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tidemill.core.features.text_bags import MOST_TOKENS
from tidemill.core.limits import limit
from tidemill.training.card.text import number, visible

Facts = dict[str, Any]
NAMED = 8  # columns named in a sentence; the table above has them all


def steps(program: Facts) -> list[str]:
    """The program (as features.json has it) in the order its steps are taken."""
    told = {"picture": _of_pictures, "text": _of_texts}
    return told.get(program.get("modality", "table"), _of_tables)(program)


def features(program: Facts) -> int:
    """How many numbers a picture becomes, or how many n-grams of a text are known."""
    if program["modality"] == "picture":
        return int(program["size"][0] * program["size"][1] * program["channels"])
    return int(program["slots"]) - 1  # the first is padding


def _of_pictures(program: Facts) -> list[str]:
    height, width = program["size"]
    colours = "grey" if program["channels"] == 1 else "red, green and blue"
    return [
        "It is decoded, turned as the camera said, and laid over white where it is transparent; of an animation the "
        "first frame is taken.",
        f"It is scaled until it fits {number(width)} × {number(height)} pixels, proportions kept.",
        "What is left on two sides is filled with the median colour of the rim there.",
        f"The model sees {number(height * width)} pixels in {colours}, 0 to 255.",
    ]


def _of_texts(program: Facts) -> list[str]:
    slots, words = number(program["slots"] - 1), number(program["words"] - 2)
    return [
        f"The first {number(limit('text'))} characters are read, in Unicode's NFKC form, without case and without "
        "characters that nobody sees; of web addresses the host, of long numbers the length.",
        "Looked for are words and pairs of words, 2 to 5 characters within words, 1 to 3 Chinese or Japanese "
        "characters in a row, and 2 to 5 characters and signs in a row with one of those among them.",
        f"The {slots} that stood in enough of the {number(program['documents'])} training texts are known; each counts "
        "by (1 + ln of how often) × its rarity, every kind scaled to length 1.",
        f"Models that read in order get the first {number(MOST_TOKENS)} words or Chinese and Japanese characters; "
        f"{words} are known, all others look alike.",
    ]


def _of_tables(program: Facts) -> list[str]:
    inputs = program.get("inputs", [])
    numbers = [column for column in inputs if column["kind"] != "category"]
    categories = [column for column in inputs if column["kind"] == "category"]
    moments = [column for column in inputs if column["kind"] == "datetime"]
    told: list[tuple[Sequence[Facts], Callable[[str], str]]] = [
        (numbers, lambda names: f"A missing number is read as the median of the training rows ({names})."),
        (_having(numbers, "flag"), lambda names: f"Whether it was missing is a feature of its own ({names})."),
        (_having(numbers, "log1p"), lambda names: f"The logarithm log(1 + x) shortens the long tail of {names}."),
        (_having(numbers, "scale"), lambda names: f"Standardised by training mean and standard deviation: {names}."),
        (_having(moments, "cycles"), lambda names: f"Cycles of month, weekday and hour as sine and cosine: {names}."),
        (categories, lambda names: f"One feature per frequent level: {names}."),
        (_having(categories, "other"), lambda names: f"Rare and unknown levels share one feature: {names}."),
        (_having(categories, "missing"), lambda names: f"A missing level has a feature of its own: {names}."),
    ]
    return [sentence(_names(columns)) for columns, sentence in told if columns]


def _having(columns: Sequence[Facts], name: str) -> list[Facts]:
    return [column for column in columns if column.get(name)]


def _names(columns: Sequence[Facts]) -> str:
    names = [visible(column["name"], 40) for column in columns[:NAMED]]
    more = len(columns) - len(names)
    return ", ".join(names) + (f" and {number(more)} more" if more else "")
