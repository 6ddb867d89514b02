"""The feature program in sentences: what happens to a row before the model sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tidemill.training.card.text import number, visible

Facts = dict[str, Any]
NAMED = 8  # columns named in a sentence; the table above has them all


def steps(program: Facts) -> list[str]:
    """The program (as features.json has it) in the order its steps are taken."""
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
