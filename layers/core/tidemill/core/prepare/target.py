"""Choose the column to predict and the task, and refuse targets nothing can be learned for."""

from __future__ import annotations

import difflib
from collections import Counter
from dataclasses import dataclass, replace

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.prepare.evidence import Evidence
from tidemill.core.prepare.kinds import CATEGORY, DATETIME, NUMBER, TARGET, Plan
from tidemill.core.readers.chunks import Warned

NAMES = ("target", "label", "labels", "class", "y", "outcome", "response", "标签", "目标", "类别", "分类", "结果")
BINARY, MULTICLASS, REGRESSION = "binary", "multiclass", "regression"
_POSITIVE = frozenset(
    {"1", "yes", "y", "true", "t", "positive", "pos", "good", "success", "是", "有", "真", "阳性", "对"}
)
_NEGATIVE = frozenset(
    {"0", "-1", "no", "n", "false", "f", "negative", "neg", "bad", "failure", "否", "无", "假", "阴性", "错"}
)
_FEW = 20  # different whole numbers in a row that are still classes


@dataclass(frozen=True)
class Choice:
    """The target column, and how it was found, as a sentence."""

    name: str
    sentence: str


def choose(names: tuple[str, ...], given: tuple[str, ...], wanted: str) -> Choice:
    """The target: the one asked for, else one that is named like a target, else the last column."""
    clean = wanted.strip()
    if clean:
        if clean not in names:
            raise _unknown(clean, names)
        _check_single(clean, given)
        return Choice(clean, f"The target {clean!r} was named in the specification.")
    folded = {name.casefold(): name for name in reversed(names)}
    for candidate in NAMES:
        if candidate in folded:
            name = folded[candidate]
            _check_single(name, given)
            return Choice(name, f"No target was named; the column {name!r} is called like one.")
    return Choice(names[-1], f"No target was named and none is called like one; the last column, {names[-1]!r}, is it.")


def _unknown(wanted: str, names: tuple[str, ...]) -> BadTable:
    close = difflib.get_close_matches(wanted, names, n=3, cutoff=0.5)
    hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
    listed = ", ".join(names[:30]) + (", ..." if len(names) > 30 else "")
    return BadTable(
        f"The target {wanted!r} is not a column.{hint}",
        code="TARGET_NOT_FOUND",
        remedy=f"Set [data] target to one of: {listed}.",
        columns=list(names[:100]),
    )


def _check_single(name: str, given: tuple[str, ...]) -> None:
    if given.count(name) > 1:
        raise BadTable(
            f"{given.count(name)} columns are called {name!r}, and it is the target.",
            code="TARGET_AMBIGUOUS",
            remedy="Rename or remove all but one of them.",
        )


@dataclass(frozen=True)
class Task:
    """What is predicted: the task, the plan of its column, and how it was chosen, as a sentence."""

    name: str
    plan: Plan
    sentence: str


def infer(found: Evidence, plan: Plan, wanted: str, least: int) -> Task:
    """The task for a target column; raises BadTable where it cannot be learned, or has fewer than `least` values."""
    distinct, labelled = _check(found, plan, least)
    plan = replace(plan, role=TARGET, reason=None)
    if plan.kind == DATETIME:
        raise BadTable(
            f"The target {plan.name!r} holds dates.",
            code="TARGET_IS_DATE",
            remedy="Turn it into a number, such as days from a fixed date.",
        )
    if wanted != "auto":
        return _given(found, plan, wanted, distinct, labelled)
    if distinct == 2:
        return Task(BINARY, plan, f"{plan.name!r} has two different values: binary classification.")
    if plan.kind == CATEGORY:
        _check_classes(plan, distinct, labelled)
        return Task(MULTICLASS, plan, f"{plan.name!r} has {distinct:,} different words: multiclass classification.")
    few = distinct <= _FEW and found.integers == found.numbers and found.greatest - found.least + 1 == distinct
    if few and labelled >= 5 * distinct:
        return Task(
            MULTICLASS,
            plan,
            f"{plan.name!r} has {distinct} whole numbers in a row: multiclass classification."
            ' If they are amounts, set [data] task = "regression".',
        )
    return Task(REGRESSION, plan, f"{plan.name!r} is a number with {distinct:,} different values: regression.")


def _check(found: Evidence, plan: Plan, least: int) -> tuple[int, int]:
    perhaps = {word: count for word, count in found.perhaps.items() if word.casefold() != "na" or plan.na_is_value}
    as_text = plan.kind == CATEGORY
    labelled = found.present + (sum(perhaps.values()) if as_text else 0)
    distinct = found.distinct + (len(perhaps) if as_text else 0)
    if labelled < least:
        raise BadTable(
            f"Only {labelled:,} of {found.rows:,} rows have a value in the target {plan.name!r}.",
            code="TARGET_TOO_FEW_LABELS",
            remedy=f"At least {least} rows need one.",
        )
    if distinct < 2:
        raise constant(plan.name)
    return distinct, labelled


def constant(name: str) -> BadTable:
    """The refusal of a target with one value."""
    return BadTable(
        f"The target {name!r} has the same value in every row that can be used.",
        code="TARGET_CONSTANT",
        remedy="Upload rows of every outcome.",
    )


def _given(found: Evidence, plan: Plan, wanted: str, distinct: int, labelled: int) -> Task:
    if wanted == REGRESSION:
        if plan.kind != NUMBER:
            raise BadTable(
                f"The target {plan.name!r} is not a number.",
                code="TARGET_NOT_NUMERIC",
                remedy="Choose a classification task, or repair the column.",
            )
        return Task(REGRESSION, plan, "The specification asks for regression.")
    if wanted == BINARY and distinct != 2:
        raise BadTable(
            f"The target {plan.name!r} has {distinct:,} different values, not two.",
            code="TARGET_NOT_BINARY",
            remedy='Set [data] task = "auto".',
        )
    _check_classes(plan, distinct, labelled)
    name = BINARY if distinct == 2 else MULTICLASS
    return Task(name, plan, f"The specification asks for {wanted} classification; there are {distinct:,} classes.")


def _check_classes(plan: Plan, distinct: int, labelled: int) -> None:
    if distinct >= 0.9 * labelled and plan.kind == CATEGORY:
        raise BadTable(
            f"{distinct:,} of {labelled:,} values of the target {plan.name!r} are different: it names rows.",
            code="TARGET_IS_IDENTIFIER",
            remedy="Set [data] target to the column to predict.",
        )
    if distinct > limit("classes"):
        raise BadTable(
            f"The target {plan.name!r} has about {distinct:,} classes; the limit is {limit('classes'):,}.",
            code="TARGET_TOO_MANY_CLASSES",
            remedy="Group the classes, or choose another target.",
        )


def order_labels(labels: list[str]) -> list[str]:
    """Labels sorted; of two, the positive one last."""
    ordered = sorted(labels)
    if len(ordered) == 2:
        first, second = (label.strip().casefold() for label in ordered)
        if (first in _POSITIVE and second not in _POSITIVE) or (second in _NEGATIVE and first not in _NEGATIVE):
            ordered.reverse()
    return ordered


def variants(counts: Counter[str], name: str) -> list[Warned]:
    """A warning where labels differ by case or spacing only."""
    groups: dict[str, list[str]] = {}
    for label in sorted(counts):
        groups.setdefault(" ".join(label.casefold().split()), []).append(label)
    same = [group for group in groups.values() if len(group) > 1]
    if not same:
        return []
    shown = "; ".join(" = ".join(repr(label[:40]) for label in group) for group in same[:3])
    return [
        Warned(
            "WARN_LABEL_VARIANTS",
            f"Some classes of {name!r} differ by case or space only: {shown}.",
            name,
            "Write them alike, or they are learned as different classes.",
        )
    ]
