"""The first sentence of the card: how good the model is beside the trivial answer, in words that need no statistics."""

from __future__ import annotations

from typing import Any

from tidemill.training.card.text import number, percent, visible
from tidemill.training.card.verdict import codes, verdict
from tidemill.training.card.words import words_of

Facts = dict[str, Any]


def headline(schema: Facts, metrics: Facts) -> Facts:
    """The primary metric, its verdict, a plain sentence and what it amounts to."""
    name = metrics["primary"]
    item = metrics["metrics"][name]
    found = verdict(metrics)
    numbers = {"own": number(item["value"]), "other": number(item.get("baseline"))}
    closing = _CLOSING[found].format(label=label(item, name), **numbers)
    return {"metric": name, **item, "verdict": found, "sentence": f"{_plain(schema, metrics)} {closing}".strip()}


_CLOSING = {
    "better": "Its {label} of {own} against the baseline's {other} is more than chance explains.",
    "level": "Its {label} of {own} against the baseline's {other} may be chance: it has not been shown to be of use.",
    "worse": "Its {label} of {own} is worse than the baseline's {other}: it must not be used.",
    "": "",
}


def label(item: Facts, name: str) -> str:
    """A metric's name inside a sentence: lower case unless it is an abbreviation."""
    words = str(item.get("label") or name.replace("_", " "))
    return words if words[1:2].isupper() else words[:1].lower() + words[1:]


def _plain(schema: Facts, metrics: Facts) -> str:
    """The sentence for the metric a layman can follow: hits, order of a pair, or distance."""
    words = words_of(schema)
    rows = f"{number(metrics['rows'])} {words.rows}" if metrics.get("rows") else words.rows
    for name, sentence in _candidates(schema["task"], "RARE_CLASS" in codes(metrics)):
        item = metrics["metrics"].get(name)
        if item and item.get("value") is not None:
            shown = _shown(item, number if schema["task"] == "regression" else percent)
            positive = visible(schema["labels"][-1], 60) if schema.get("labels") else ""
            told = {"rows": rows, "one": words.row, "many": words.rows, "target": visible(schema["target"], 60)}
            return sentence.format(positive=positive, **told, **shown)
    return ""


def _candidates(task: str, rare: bool) -> list[tuple[str, str]]:
    if task == "regression":
        return [("mae", _DISTANCE), ("rmse", _DISTANCE)]
    if rare:
        return [("roc_auc", _ORDER) if task == "binary" else ("recall", _MEAN), ("accuracy", _HITS)]
    return [("accuracy", _HITS)]


_HITS = (
    "On {rows} it had never seen, the model names the right {target} in {value}{interval}; "
    "always naming the commonest is right in {baseline}."
)
_MEAN = (
    "On {rows} it had never seen, the model finds {value} of the {many} of an average class{interval}; "
    "always naming the commonest finds {baseline}."
)
_ORDER = (
    "Given one {one} that is {positive} and one that is not, neither seen before, the model scores the right one "
    "higher in {value} of such pairs{interval}; chance does in {baseline}."
)
_DISTANCE = (
    "On {rows} it had never seen, the model's {target} is off by {value} on average{interval}; "
    "the best constant answer is off by {baseline}."
)


def _shown(item: Facts, written: Any) -> dict[str, str]:
    low, high = item.get("low"), item.get("high")
    interval = "" if low is None or high is None else f" (95 % interval {written(low)} to {written(high)})"
    baseline = "an unknown share" if item.get("baseline") is None else written(item["baseline"])
    return {"value": written(item["value"]), "interval": interval, "baseline": baseline}
