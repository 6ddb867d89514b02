"""What things are called on the card, by modality: a row of a table, a picture, a text."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

Facts = dict[str, Any]


@dataclass(frozen=True)
class Words:
    """The words of one modality; `{target}` and `{fairness}` stand where the card fills them in."""

    row: str
    rows: str
    ignoring: str  # what the trivial answer does not look at
    from_to: str  # the heading over the steps; {features} is what they lead to
    again: str  # what to do about a model that is not better than the baseline
    more: str  # what to do about few training rows
    not_for: tuple[str, ...]


_PEOPLE = (
    "Decisions about people with no person in the loop. {fairness} privacy of the training {rows} and resistance "
    "against deliberate manipulation."
)
_ALWAYS = (
    "{Rows} of anything else than its classes. It names one of them whatever it is given, and is often sure of it."
)
WORDS = {
    "table": Words(
        row="row",
        rows="rows",
        ignoring="every column",
        from_to="From a row to {features} features",
        again="Check that the columns can tell the target at all; better columns or more rows help, another seed does "
        "not.",
        more="Upload more rows; with fewer columns, [data] drop, the rows that are there go further.",
        not_for=(
            "Rows from another population, place or time than the uploaded file. The scores hold for rows like those; "
            "nothing is known about {target} elsewhere.",
            "Values outside the ranges below. The model answers there too, but by extrapolation nobody has tested.",
            "Conclusions about causes. The model tells which columns go together with the target, not what happens "
            "when a column is changed.",
            _PEOPLE,
        ),
    ),
    "picture": Words(
        row="picture",
        rows="pictures",
        ignoring="the picture",
        from_to="From a picture to {features} numbers",
        again="Check that a person can tell the classes from the pictures as the model sees them; a larger [data] size "
        "or more pictures help, another seed does not.",
        more="Upload more pictures.",
        not_for=(
            "Pictures from another camera, place, time or purpose than the uploaded ones. The scores hold for pictures "
            "like those; nothing is known about {target} elsewhere.",
            _ALWAYS,
            "Conclusions about why a picture is what it is. Heat-maps show where the model looked, which may be the "
            "background.",
            _PEOPLE,
        ),
    ),
    "text": Words(
        row="text",
        rows="texts",
        ignoring="the text",
        from_to="From a text to {features} n-grams",
        again="Check that a person can tell the target from the texts alone; more texts help, another seed does not.",
        more="Upload more texts.",
        not_for=(
            "Texts in another language, or from other writers, places or times than the uploaded ones. The scores hold "
            "for texts like those; nothing is known about {target} elsewhere.",
            _ALWAYS,
            "Conclusions about meaning. The marks show which words the model leans on; irony, negation and who is "
            "spoken of may escape it.",
            _PEOPLE,
        ),
    ),
}


def modality_of(schema: Facts) -> str:
    """table, picture or text; a table where a schema does not say."""
    return str(schema.get("modality") or "table")


def words_of(schema: Facts) -> Words:
    """The words for a schema's modality."""
    return WORDS[modality_of(schema)]


def cautions(schema: Facts, target: str, fairness: str) -> list[str]:
    """What a model must not be used for."""
    words = words_of(schema)
    told = {"target": target, "fairness": fairness, "rows": words.rows, "Rows": words.rows.capitalize()}
    left_out = _ALWAYS if schema.get("task") == "regression" else ""
    return [caution.format(**told) for caution in words.not_for if caution != left_out]
