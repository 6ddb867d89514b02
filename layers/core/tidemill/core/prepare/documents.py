"""What schema.json and profile.json say about a dataset."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np

from tidemill.core.prepare import target
from tidemill.core.prepare.deciding import Decided
from tidemill.core.prepare.kinds import CATEGORY, FEATURE, NUMBER, TARGET, Plan
from tidemill.core.prepare.measure import NumberMeasure
from tidemill.core.prepare.measuring import Measure, Measured
from tidemill.core.prepare.passes import Gathered
from tidemill.core.prepare.split import Split, missing_classes
from tidemill.core.readers.chunks import Table, Warned
from tidemill.core.spec import Spec

FORMAT = 1
# Settings of [data] that came later: unused, they leave the ids of datasets as they were.
_NEWER = ("groups", "size", "text")


def schema_of(
    model: str,
    dataset: str,
    spec: Spec,
    decided: Decided,
    found: Gathered,
    measured: Measured,
    labels: list[str],
    rows: dict[str, int],
) -> dict[str, Any]:
    """The schema: what the columns are and what the model is to predict."""
    log1p = spec.preprocess.skew == "log1p"
    return {
        "format": FORMAT,
        "modality": decided.modality,
        "model": model,
        "dataset": dataset,
        "target": decided.task.plan.name,
        "task": task_of(decided, labels),
        "labels": labels,
        "target_log1p": log1p and _target_is_skewed(measured.target),
        "columns": [
            {**_column(plan, found, measured, labels, log1p), **_grouped(plan, spec)} for plan in decided.plans
        ],
        "rows": rows,
        "shuffle": spec.preprocess.shuffle,
        "spec": wishes(spec),
    }


def wishes(spec: Spec) -> dict[str, Any]:
    """What a specification asks of a dataset; without newer keys where it does not use them."""
    plain = {name: value for name, value in spec.to_json().items() if name in ("data", "preprocess", "split")}
    for key in _NEWER:
        if not plain["data"][key]:
            del plain["data"][key]
    if spec.privacy.pii != "keep":
        plain["privacy"] = {"pii": spec.privacy.pii}
    return plain


def _grouped(plan: Plan, spec: Spec) -> dict[str, bool]:
    return {"group": True} if plan.name in spec.data.groups and plan.role != TARGET else {}


def task_of(decided: Decided, labels: list[str]) -> str:
    """The task, now that classes too small to learn are gone."""
    if decided.task.name == target.REGRESSION:
        return target.REGRESSION
    return target.BINARY if len(labels) == 2 else target.MULTICLASS


def _target_is_skewed(measure: Measure) -> bool:
    return isinstance(measure, NumberMeasure) and measure.moments.least > 0 and measure.moments.skew > 1


def _is_skewed(measure: NumberMeasure) -> bool:
    """Whether a logarithm helps: nothing below zero, a long right tail, and more than a yes and a no."""
    return measure.moments.least >= 0 and measure.moments.skew > 1 and measure.sketch.count() > 2


def _column(plan: Plan, found: Gathered, measured: Measured, labels: list[str], log1p: bool) -> dict[str, Any]:
    kind = CATEGORY if plan.role == TARGET and labels else plan.kind
    entry: dict[str, Any] = {"name": plan.name, "kind": kind, "role": plan.role, "reason": plan.reason}
    if plan.order:
        entry["order"] = plan.order
    if plan.unit:
        entry["unit"] = plan.unit
    if plan.comma_decimal:
        entry["decimal_comma"] = True
    if plan.missing_words:
        entry["missing_words"] = sorted(plan.missing_words)
    if plan.out_of_range_is_missing:
        entry["out_of_range_is_missing"] = True
    if plan.role not in (FEATURE, TARGET):
        evidence = found.evidence[plan.name]
        return {**entry, "missing": evidence.missing, "distinct": evidence.distinct}
    measure = measured.target if plan.role == TARGET else measured.columns[plan.name]
    entry |= measure.schema()
    if plan.private:
        entry["levels"] = []
    if plan.kind == NUMBER and isinstance(measure, NumberMeasure):
        entry["log1p"] = log1p and plan.role == FEATURE and _is_skewed(measure)
    return entry


def profile_of(
    table: Table,
    decided: Decided,
    measured: Measured,
    divided: Split,
    rows: dict[str, int],
    codes: Counter[str],
    duplicates: int,
) -> dict[str, Any]:
    """The profile: what was found in the file and what was made of it, for a person."""
    columns: dict[str, Measure] = {**measured.columns, measured.target_name: measured.target}
    return {
        "format": FORMAT,
        "modality": decided.modality,
        "source": table.facts,
        "encoding": table.facts.get("encoding"),
        "delimiter": table.facts.get("delimiter"),
        "header": table.facts.get("header", True),
        "target": {"name": decided.task.plan.name, "how": f"{decided.sentence} {decided.task.sentence}"},
        "split": {"method": divided.method, "how": divided.sentence},
        "statistics_over": "all used rows",
        "rows": rows,
        "quarantined": dict(sorted(codes.items())),
        "duplicate_rows": duplicates,
        "columns": {
            plan.name: {"kind": plan.kind, "role": plan.role, **columns[plan.name].profile()}
            for plan in decided.plans
            if plan.name in columns and not plan.private
        },
        "warnings": [warned.to_json() for warned in decided.warnings],
    }


def split_warnings(divided: Split, classes: np.ndarray | None, labels: list[str], name: str) -> list[Warned]:
    """What a person should know of the division: that it is not by content alone, that classes are missing in it."""
    warnings = [] if divided.method == "content" else [Warned("SPLIT_NOT_BY_CONTENT", divided.sentence)]
    if classes is not None:
        warnings += [
            Warned("SPLIT_LACKS_CLASS", f"No row of class {label[:80]!r} is in the {split} split.", name)
            for label, split in missing_classes(divided.splits, classes, labels)[:20]
        ]
    return warnings
