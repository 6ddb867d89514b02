"""Everything the card says, as plain values: card.json. The page draws these facts and adds none of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from tidemill.core.spec import Spec
from tidemill.training.card import headline, settings, shown, verdict
from tidemill.training.card.chosen import chosen
from tidemill.training.card.effects import dependence as effects
from tidemill.training.card.profile import profile as profiled
from tidemill.training.card.words import modality_of

FORMAT = 1
HIDDEN = "(private)"
Facts = dict[str, Any]


def facts(
    *,
    schema: Facts,
    profile: Facts,
    spec: Spec,
    metrics: Facts,
    steps: Sequence[str],
    features: int,
    importance: Sequence[Facts],
    examples: Facts,
    run: Facts,
    search: Facts | None = None,
    dependence: Sequence[Facts] | None = None,
    groups: Sequence[Facts] | None = None,
    outputs: Facts | None = None,
) -> Facts:
    """The whole card as JSON values; `steps` are the feature program's sentences, `features` its outputs."""
    columns, task = _columns(schema, profile), schema["task"]
    hidden = _private(schema)
    card: Facts = _clean(
        {
            "format": FORMAT,
            "kind": "card",
            "model": run.get("model", schema.get("model", "")),
            "version": run.get("version"),
            "run": run.get("run"),
            "dataset": schema.get("dataset"),
            "modality": modality_of(schema),
            "target": schema["target"],
            "task": task,
            "labels": schema.get("labels", []),
            "created": run.get("created"),
            "trigger": run.get("trigger"),
            "headline": headline.headline(schema, metrics),
            "warnings": verdict.warnings(schema, profile, metrics),
            "data": {
                "rows": schema.get("rows", {}),
                "columns": columns,
                "profile": profiled(schema, profile),
                "file": profile.get("source") or {},
                "quarantined": profile.get("quarantined") or {},
                "duplicates": profile.get("duplicate_rows"),
                "together": (profile.get("split") or {}).get("method", "content") == "content",
                "chosen": [said for name in ("target", "split") if (said := (profile.get(name) or {}).get("how"))],
            },
            "recipe": {"settings": settings.settings(spec), "steps": list(steps), "features": features},
            "scores": verdict.scores(metrics),
            "primary": metrics.get("primary"),
            "split": {"name": metrics.get("split", "test"), "rows": metrics.get("rows")},
            "per_class": metrics.get("per_class") or [],
            "confusion": metrics.get("confusion"),
            "curves": metrics.get("curves") or {},
            "residuals": metrics.get("residuals") or {},
            "history": metrics.get("history") or [],
            "search": chosen(_clean(search)),
            "dependence": effects(_clean([item for item in dependence or [] if item["column"] not in hidden]), task),
            "groups": [item for item in groups or [] if item["column"] not in hidden],
            "outputs": {"rules": outputs or {}, "measured": measured} if (measured := metrics.get("outputs")) else None,
            "importance": _importance(importance),
            "explanations": _told(schema, examples.get("explanations", []), hidden),
            "mistakes": _told(schema, examples.get("mistakes", []), hidden),
            "request": {name: HIDDEN if name in hidden else value for name, value in _request(examples).items()},
            "limits": verdict.limits(schema, metrics, groups or ()),
            "parity": run.get("parity") or {},
            "reproduce": {"dataset": schema.get("dataset"), "seed": spec.train.seed, "code": run.get("code")},
            "versions": run.get("versions") or {},
            "time": {name: run[name] for name in ("seconds", "stages", "device") if name in run},
        }
    )
    return card


def _columns(schema: Facts, profile: Facts) -> list[Facts]:
    """The schema's columns, each with its histogram (or its most frequent levels) where the profile has one."""
    found = profile.get("columns") or {}
    drawn = {name: item.get("histogram") or _levels(item.get("top") or []) for name, item in found.items()}
    return [{**column, "histogram": drawn.get(column["name"])} for column in schema["columns"]]


def _levels(top: Sequence[Facts]) -> Facts:
    return {"levels": [item["value"] for item in top], "counts": [item["rows"] for item in top]}


def _request(examples: Facts) -> Facts:
    return dict(examples.get("request") or {})


def _private(schema: Facts) -> set[str]:
    """Columns whose levels the schema keeps to itself: the card must not show them by example either."""
    columns = (column for column in schema["columns"] if column.get("kind") in ("category", "text"))
    return {column["name"] for column in columns if column.get("levels") == [] and column.get("distinct")}


def _told(schema: Facts, items: Sequence[Facts], hidden: set[str]) -> list[Facts]:
    """Examples without what is private: of tables the values of such columns, of texts all that shows one."""
    if modality_of(schema) == "table":
        return [_discreet(item, hidden) for item in items]
    inputs = {column["name"] for column in schema["columns"] if column.get("role") == "feature"}
    return [] if inputs & hidden else shown.told(items, modality_of(schema))


def _discreet(item: Facts, hidden: set[str]) -> Facts:
    """An explanation without the values of private columns."""
    parts = [{**part, "value": HIDDEN} if part["column"] in hidden else part for part in item.get("contributions", [])]
    return {**item, "contributions": parts}


def _importance(items: Sequence[Facts]) -> list[Facts]:
    """The columns by importance, most important first."""
    return sorted((dict(item) for item in items), key=lambda item: -float(item.get("importance", 0.0)))


def _clean(value: Any) -> Any:
    """JSON values only: arrays and tuples as lists, scalars as Python's own, what is not a number as null."""
    if isinstance(value, Mapping):
        return {str(name): _clean(item) for name, item in value.items()}
    if hasattr(value, "tolist"):
        return _clean(value.tolist())
    if isinstance(value, (list, tuple)):
        return [_clean(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if value is None or isinstance(value, (str, int, float)):
        return value
    return str(value)
