"""What the numbers mean: better than the baseline or not, what to beware of, what the model must not be used for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidemill.core.evaluation import few_train_rows
from tidemill.training.card.text import number, value_of, visible
from tidemill.training.card.words import cautions, modality_of, words_of

Facts = dict[str, Any]


def scores(metrics: Facts) -> list[Facts]:
    """Every metric with its verdict against the baseline, the primary one first."""
    rows = [{"name": name, **item, "verdict": against(item)} for name, item in metrics["metrics"].items()]
    return sorted(rows, key=lambda row: row["name"] != metrics.get("primary"))


def against(item: Facts) -> str:
    """better, worse or level: the whole interval lies on one side of the baseline, or it does not."""
    value, baseline = item.get("value"), item.get("baseline")
    if value is None or baseline is None:
        return ""
    low, high = (item.get("low"), item.get("high"))
    low, high = (value if low is None else low), (value if high is None else high)
    if item.get("better", "higher") == "lower":
        low, high, baseline = -high, -low, -baseline
    return "better" if low > baseline else "worse" if high < baseline else "level"


def verdict(metrics: Facts) -> str:
    """The primary metric against the baseline; the paired comparison of the evaluation has the last word."""
    item = metrics["metrics"][metrics["primary"]]
    if "NOT_BETTER_THAN_BASELINE" in codes(metrics):
        return "worse" if against(item) == "worse" else "level"
    return "" if item.get("baseline") is None else "better"


def codes(metrics: Facts) -> set[str]:
    """The codes of the evaluation's warnings."""
    return {str(item.get("code")) for item in metrics.get("warnings") or []}


_LOST_TWINS = (
    "{rows} rows equal an earlier row and equal rows may stand in different splits, so some test rows were seen in "
    "training: the scores may be better than the model."
)
_REMEDY = {  # where the message does not say it
    "FEW_TEST_ROWS": "Upload more rows, or raise [split] test.",
    "COLUMN_LEAK": "Leave it out with [data] drop if it is only known with the outcome.",
    "DUPLICATE_ROWS": 'Leave them out with [preprocess] duplicates = "drop" if they are copies and not cases.',
    "SPLIT_NOT_BY_CONTENT": 'Check that equal rows are meant; [preprocess] duplicates = "drop" keeps one of each.',
    "SPLIT_LACKS_CLASS": "Upload more rows of the class, or leave its rows out.",
    "MISSING_TARGET": "Fill in the target, or leave such rows out.",
    "COLUMN_IDENTIFIER": "If it does describe the rows, give it another name and fewer different values.",
    "COLUMN_TEXT": "Turn the text into columns of numbers or of few words.",
    "COLUMN_MIXED": "Write numbers only, or words only.",
    "VALUE_READ_AS_MISSING": "Write a value in its place if it means one.",
    "COLUMN_UNIT": "Check that all rows have the same unit.",
}
_FIRST = ("COLUMN_LEAK", "DUPLICATE_ROWS", "SPLIT_NOT_BY_CONTENT", "SPLIT_LACKS_CLASS")  # what makes scores too good


def warnings(schema: Facts, profile: Facts, metrics: Facts) -> list[Facts]:
    """Every caution with its remedy: of the scores, of what makes them too good, of the data; none twice."""
    found: dict[tuple[Any, Any], Facts] = {}
    about_data = sorted(profile.get("warnings") or [], key=lambda item: item.get("code") not in _FIRST)
    outputs = (metrics.get("outputs") or {}).get("warnings") or []
    rows, words = (schema.get("rows") or {}).get("train"), words_of(schema)
    remedies = {**_REMEDY, "NOT_BETTER_THAN_BASELINE": words.again, "FEW_TRAIN_ROWS": words.more}
    for item in [*(metrics.get("warnings") or []), *outputs, *few_train_rows(rows), *about_data]:
        code, column = item.get("code", ""), item.get("column")
        remedy = item.get("remedy") or remedies.get(code, "")
        told = {**item, "code": code, "column": column, "message": _message(item, profile), "remedy": remedy}
        found.setdefault((code, column), told)
    return list(found.values())


def _message(item: Facts, profile: Facts) -> str:
    """The message; of equal rows, what they mean for the scores where they do not share a split."""
    method = (profile.get("split") or {}).get("method", "content")
    if item.get("code") == "DUPLICATE_ROWS" and method != "content" and "left out" not in item["message"]:
        return _LOST_TWINS.format(rows=number(profile.get("duplicate_rows")))
    return str(item.get("message", ""))


def limits(schema: Facts, metrics: Facts, groups: Sequence[Facts] = ()) -> Facts:
    """What the model must not be used for, and the ranges of values it has seen."""
    shown = ", ".join(visible(str(group["column"]), 40) for group in groups)
    fairness = (
        f"Differences between groups are shown for {shown} and were not examined for anything else; nor were"
        if shown
        else "Fairness between groups was not examined, nor were"
    )
    not_for = cautions(schema, visible(schema["target"], 60), fairness)
    if verdict(metrics) in ("level", "worse"):
        ignoring = words_of(schema).ignoring
        not_for.insert(0, f"Any use in earnest: it is not better than an answer that ignores {ignoring}.")
    columns = schema["columns"] if modality_of(schema) == "table" else []
    return {"not_for": not_for, "ranges": [_range(column) for column in columns if column.get("role") == "feature"]}


def _range(column: Facts) -> Facts:
    kind = column["kind"]
    if kind == "category":
        levels = column.get("levels") or []
        return {"column": column["name"], "kind": kind, "levels": levels[:12], "more": max(0, len(levels) - 12)}
    low, high = column.get("min"), column.get("max")
    said = f"{value_of(low, kind)} to {value_of(high, kind)}"
    return {"column": column["name"], "kind": kind, "min": low, "max": high, "text": said}
