"""Tell a table of texts from other tables: one column to learn from, and it is read as language, not as values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.prepare.evidence import Evidence
from tidemill.core.prepare.keeping import Kept
from tidemill.core.prepare.kinds import CATEGORY, FEATURE, TEXT, Plan, dropped
from tidemill.core.prepare.text_measure import TextMeasure, is_cjk
from tidemill.core.readers.chunks import Warned

MODALITY = TEXT
NAMES = frozenset(
    [
        *("text", "texts", "sentence", "sentences", "review", "reviews", "comment", "comments", "message", "messages"),
        *("content", "contents", "body", "document", "documents", "tweet", "tweets", "post", "posts"),
        *("文本", "文字", "内容", "正文", "评论", "句子", "短信", "留言", "消息", "评价"),
    ]
)
_MANY_WORDS, _MANY_CHARACTERS = 3, 4  # words of a usual cell that reads as text; Chinese or Japanese characters of one
_DISTINCT = 0.5  # share of different cells: fewer are values of a category
_PERHAPS = ("text", "identifier", "constant")
_ABOUT_VALUES = frozenset(
    [
        *("COLUMN_TEXT", "COLUMN_IDENTIFIER", "COLUMN_CONSTANT", "COLUMN_MIXED", "COLUMN_CODES", "COLUMN_UNIT"),
        *("COLUMN_DECIMAL_COMMA", "VALUE_NULL_WORD", "VALUE_READ_AS_MISSING", "VALUE_NOT_FINITE", "VALUE_TYPE"),
        *("VALUE_OUT_OF_RANGE", "DATE_ORDER", "DATE_ORDER_AMBIGUOUS", "COLUMN_ALL_NULL"),
    ]
)


def check_wanted(wanted: str, names: tuple[str, ...], target: str) -> None:
    """Raise BadTable where [data] text names no column, or the target."""
    if wanted and wanted not in names:
        raise BadTable(
            f"The text {wanted!r} is not a column.",
            code="TEXT_NOT_FOUND",
            remedy=f"Set [data] text to one of: {', '.join(names[:30])}.",
            columns=list(names[:100]),
        )
    if wanted and wanted == target:
        raise BadTable(
            f"The column {wanted!r} is named as text and as target.",
            code="TEXT_IS_TARGET",
            remedy="Set [data] target to the column to predict.",
        )


def column_of(plans: list[Plan], evidence: Mapping[str, Evidence], target: str, wanted: str) -> str:
    """The column of texts; empty where the table is none of texts."""
    if wanted:
        return wanted
    others = [plan for plan in plans if plan.name != target]
    perhaps = [plan for plan in others if _reads_as_text(plan, evidence[plan.name])]
    learned = [plan for plan in others if plan.role == FEATURE]
    if len(perhaps) != 1 or any(plan is not perhaps[0] for plan in learned):
        return ""
    return perhaps[0].name


def _reads_as_text(plan: Plan, found: Evidence) -> bool:
    if plan.kind != CATEGORY or not found.present or (plan.role != FEATURE and plan.reason not in _PERHAPS):
        return False
    if plan.name.casefold() in NAMES:
        return True
    words = found.spaces / found.present + 1
    characters = sum(len(text) for text in found.examples if is_cjk(text)) / max(len(found.examples), 1)
    long = words >= _MANY_WORDS or characters >= _MANY_CHARACTERS
    return long and found.distinct > _DISTINCT * found.present


def alone(plans: list[Plan], name: str, warnings: list[Warned]) -> list[Plan]:
    """The plans with one column as the text and every other left out; what was said of it as values is taken back."""
    warnings[:] = [note for note in warnings if note.column != name or note.code not in _ABOUT_VALUES]
    lost = [plan.name for plan in plans if plan.role == FEATURE and plan.name != name]
    if lost:
        listed = ", ".join(map(repr, lost[:10])) + (", ..." if len(lost) > 10 else "")
        message = f"The model learns from the text {name!r} alone, without {listed}."
        warnings.append(Warned("COLUMN_BESIDE_TEXT", message, remedy="Leave [data] text out to learn from the others."))
    beside = [dropped(plan, "beside text") if plan.role == FEATURE and plan.name != name else plan for plan in plans]
    return [replace(plan, kind=TEXT, role=FEATURE, reason=None) if plan.name == name else plan for plan in beside]


def warnings_for(name: str, cut: int, measure: TextMeasure, kept: Kept) -> list[Warned]:
    """What a person should know of the texts that are used."""
    warnings = []
    if cut:
        message = f"{cut:,} texts of {name!r} have more than {limit('text'):,} characters; the rest is cut off."
        warnings.append(Warned("ROW_FIELD_TOO_LONG", message, name, "Split long documents into parts of their own."))
    if measure.hiding:
        message = f"{measure.hiding:,} texts of {name!r} hold characters that nobody sees; they are not learned from."
        warnings.append(Warned("WARN_INVISIBLE_TEXT", message, name, "Look where these texts come from."))
    if kept.classes is not None and (count := conflicts(kept.hashes[kept.keep], kept.classes[kept.keep])):
        message = f"{count:,} different texts of {name!r} stand under more than one class."
        warnings.append(Warned("LABEL_CONFLICT", message, name, "Look which class is right."))
    return warnings


def conflicts(hashes: np.ndarray, classes: np.ndarray) -> int:
    """How many different inputs stand under more than one class."""
    pairs = np.unique(np.stack([hashes, classes.astype(np.uint64)], axis=1), axis=0)
    same = pairs[1:, 0] == pairs[:-1, 0]
    return len(np.unique(pairs[1:, 0][same]))
