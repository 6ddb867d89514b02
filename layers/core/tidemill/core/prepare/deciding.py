"""Decide what the columns of a table are, which is the target, and which task it sets."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tidemill.core.errors import BadTable
from tidemill.core.limits import limit
from tidemill.core.prepare import kinds, private, target, texts
from tidemill.core.prepare.evidence import Evidence
from tidemill.core.prepare.kinds import CATEGORY, FEATURE, Plan
from tidemill.core.prepare.passes import Gathered
from tidemill.core.readers.chunks import Table, Warned
from tidemill.core.spec import Spec

_SET_ASIDE = frozenset({"COLUMN_NESTED", "COLUMN_UNSUPPORTED_TYPE", "VALUE_NUL"})
_FEW_LABELS = 30
_RESCUE = ("text", "identifier", "constant")


@dataclass(frozen=True)
class Decided:
    """The plan of every column in file order, the task, how the target was found, and what to tell a person.

    `text` names the column of a text data set; it is empty where the data set is a table.
    """

    plans: list[Plan]
    task: target.Task
    sentence: str
    warnings: list[Warned]
    text: str = ""

    @property
    def modality(self) -> str:
        """What the data set holds: a table or texts."""
        return texts.MODALITY if self.text else "table"


def decide(table: Table, found: Gathered, spec: Spec, text: str = "") -> Decided:
    """What is to be done with every column of a table; `text` names its texts where that was decided before."""
    warnings: list[Warned] = []
    names = tuple(found.evidence)
    text = text or spec.data.text
    others = tuple(name for name in names if name != text) or names
    choice = target.choose(names if spec.data.target else others, getattr(table, "given", names), spec.data.target)
    texts.check_wanted(text, names, choice.name)
    private.refuse(found.evidence.values(), spec, choice.name, text)
    fraction = spec.preprocess.max_bad_fraction
    least = limit("good_texts" if text else "good_rows")
    task = _task(found.evidence[choice.name], spec, fraction, least, warnings)
    plans = []
    for name, evidence in found.evidence.items():
        if name == choice.name:
            warnings += private.warnings_for(evidence)
            plans.append(task.plan)
            continue
        plans.append(_plan(evidence, spec, fraction, warnings))
    warnings += _unknown_columns(names, spec)
    warnings += _unknown_groups(names, spec, choice.name)
    if text := texts.column_of(plans, found.evidence, choice.name, text):
        plans = texts.alone(plans, text, warnings)
    elif not any(plan.role == FEATURE for plan in plans):
        plans = _rescued(plans, found, choice.name, table.warnings, warnings)
    _check_levels(plans, found)
    return Decided(plans, task, choice.sentence, warnings, text)


def _check_levels(plans: list[Plan], found: Gathered) -> None:
    """Raise BadTable where the categories hold more values together than memory holds."""
    counted = {p.name: found.evidence[p.name].distinct for p in plans if p.kind == CATEGORY and p.role == FEATURE}
    if (total := sum(counted.values())) > (most := limit("level_budget")):
        raise BadTable(
            f"The categories have {total:,} different values together; the limit is {most:,}. "
            f"{max(counted, key=lambda name: counted[name])!r} has the most.",
            code="TOO_MANY_LEVELS",
            remedy="Leave columns out with [data] drop, or write their values coarser.",
        )


def _task(evidence: Evidence, spec: Spec, fraction: float, least: int, warnings: list[Warned]) -> target.Task:
    notes: list[Warned] = []
    plan = kinds.decide(evidence, fraction, notes)
    if plan.kind == kinds.NUMBER and evidence.distinct <= _FEW_LABELS and max(evidence.junk.values(), default=0) > 1:
        notes.clear()  # a few numbers and a word that repeats are classes: the word is one of them
        plan = kinds.as_category(evidence, fraction, notes)
    left_out = ("COLUMN_TEXT", "COLUMN_IDENTIFIER", "COLUMN_CONSTANT", "COLUMN_ALL_NULL")
    warnings += [note for note in notes if note.code not in left_out]
    return target.infer(evidence, plan, spec.data.task, least)


def _plan(evidence: Evidence, spec: Spec, fraction: float, warnings: list[Warned]) -> Plan:
    if evidence.name in spec.data.drop:
        return kinds.dropped(kinds.decide(evidence, fraction, []), "user")
    if evidence.name in spec.data.id:
        return kinds.dropped(kinds.decide(evidence, fraction, []), "identifier")
    personal = bool(private.kinds_of(evidence))
    left_out = personal and spec.privacy.pii == "drop"
    warnings += private.warnings_for(evidence, left_out)
    if left_out:
        return kinds.dropped(kinds.decide(evidence, fraction, []), private.REASON)
    plan = kinds.decide(evidence, fraction, warnings)
    return replace(plan, private=personal and plan.kind == CATEGORY)


def _unknown_columns(names: tuple[str, ...], spec: Spec) -> list[Warned]:
    unknown = [name for name in (*spec.data.drop, *spec.data.id) if name not in names]
    return [
        Warned(
            "COLUMN_NOT_FOUND",
            f"The specification leaves out {name!r}, but there is no such column.",
            name,
            f"Columns are {', '.join(names[:30])}.",
        )
        for name in unknown
    ]


def _unknown_groups(names: tuple[str, ...], spec: Spec, target_name: str) -> list[Warned]:
    remedy = f"Columns are {', '.join(names[:30])}."
    unknown = [name for name in spec.data.groups if name not in names]
    found = [
        Warned(
            "COLUMN_NOT_FOUND", f"The specification wants groups by {name!r}; there is no such column.", name, remedy
        )
        for name in unknown
    ]
    if target_name in spec.data.groups:
        message = f"The specification wants groups by the target {target_name!r}; its classes have scores of their own."
        found.append(Warned("GROUP_IS_TARGET", message, target_name, "Name another column in [data] groups."))
    return found


def _rescued(
    plans: list[Plan], found: Gathered, target_name: str, notes: list[Warned], warnings: list[Warned]
) -> list[Plan]:
    """One column taken back where all were left out, so that the gate can judge; raises where nothing could vary."""
    others = [plan for plan in plans if plan.name != target_name and plan.reason not in ("user", private.REASON)]
    if not others:
        raise BadTable(
            "There is no column to learn from.", code="NO_FEATURES", remedy="Upload columns beside the target."
        )
    varied = [plan for plan in others if plan.reason in ("text", "identifier")]
    if not varied and not any(note.code in _SET_ASIDE for note in notes):
        raise BadTable(
            "All rows are equal but for the target: there is nothing to learn from.",
            code="NO_SIGNAL",
            remedy="Upload columns that differ between rows.",
        )
    hidden = {plan.name: bool(private.kinds_of(found.evidence[plan.name])) for plan in others}
    usable = [plan for plan in others if plan.reason in _RESCUE]
    if not usable:
        raise BadTable(
            "Every column beside the target is empty.", code="NO_FEATURES", remedy="Upload columns with values."
        )
    best = min(usable, key=lambda plan: (hidden[plan.name], _RESCUE.index(plan.reason or "")))
    warnings.append(
        Warned(
            "NO_USEFUL_FEATURES",
            f"Every column was left out; {best.name!r} is kept so that there is a model, which"
            " cannot be better than a guess.",
            best.name,
            "Upload columns that describe the rows.",
        )
    )
    private_one = hidden[best.name]
    back = replace(best, role=FEATURE, reason=None, private=private_one, kind=CATEGORY if private_one else best.kind)
    return [back if plan.name == best.name else plan for plan in plans]
