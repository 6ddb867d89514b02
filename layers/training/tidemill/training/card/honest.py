"""How far the answers can be trusted: what calibration, intervals, sets and decisions were worth on the test rows."""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from tidemill.training.card import svg
from tidemill.training.card.svg import Frame
from tidemill.training.card.text import number, percent, visible

Facts = dict[str, Any]

TOLD = 0.9  # the level of the sentence; the table has all
_METHODS = {"platt": "Platt scaling", "temperature": "a temperature"}
_ROWS = {"all": "every row", "none": "no row"}
_SIMPLE = {name: f"acting on {rows}" for name, rows in _ROWS.items()}


def section(metrics: Facts, outputs: Facts | None = None) -> Facts | None:
    """The facts of metrics["outputs"], each part with a plain sentence; None for models that measured none.

    `outputs` is what outputs.json says.
    """
    measured = metrics.get("outputs")
    if not measured:
        return None
    parts = {"calibration": _calibration, "coverage": _coverage, "decision": _decision}
    found: Facts = {
        name: {**measured[name], "sentence": say(measured[name])} for name, say in parts.items() if measured.get(name)
    }
    return {**found, "rows": measured.get("rows"), "offered": _offered(measured, outputs or {})} if found else None


def _offered(measured: Facts, outputs: Facts) -> list[float]:
    """The levels one can ask for: those that were learned, where outputs.json is at hand, else those measured."""
    if "levels" in outputs:
        return [float(level) for level, value in outputs["levels"].items() if value is not None]
    return [item["level"] for item in (measured.get("coverage") or {}).get("levels", [])]


def shown(card: Facts) -> Facts | None:
    """What the page needs: the section of a card's "outputs" and the plot of the decision."""
    held = card.get("outputs") or {}
    found = section({"outputs": held.get("measured")}, held.get("rules"))
    return None if found is None else {**found, "plot": cost(found.get("decision"))}


def _calibration(item: Facts) -> str:
    after, before, floor = number(item["after"]), number(item["before"]), number(item["floor"])
    if item["method"] == "none":
        first = "Probabilities are given as the model makes them: held-out rows showed no correction worth making. "
        off = f"On the test rows they are off by {after} on average"
    else:
        first = f"Probabilities are corrected by what held-out rows showed ({_METHODS[item['method']]}). "
        off = f"On the test rows they are off by {after} on average, {before} before the correction"
    return f"{first}{off}; chance alone would show {floor} if every probability were exactly right."


def _coverage(item: Facts) -> str:
    told = next((level for level in item["levels"] if level["level"] == TOLD), None)
    if told is None:
        return f"Too few rows were held out to learn {item['kind']}s for {percent(TOLD)} of the rows."
    held, asked = percent(told["coverage"]), percent(told["level"])
    if item["kind"] == "interval":
        width = number(told["width"])
        return f"Intervals for {asked} of the rows hold the true value in {held} and are {width} wide on average."
    size, single = number(told["size"]), percent(told["single"])
    return (
        f"Sets of labels for {asked} of the rows hold the true one in {held} and have {size} labels on average; "
        f"{single} name a single label."
    )


def _decision(item: Facts) -> str:
    rule, saving = item["cost"]["rule"], item["saving"]
    more = "less" if saving["value"] >= 0 else "more"
    low, high = sorted((abs(saving["low"]), abs(saving["high"])))
    is_sure = saving["low"] > 0 or saving["high"] < 0
    interval = f" (95 % interval {number(low)} to {number(high)})" if is_sure else ", which may be chance"
    return (
        f"Acting on {percent(item['acted']['rule'])} of the rows, those whose probability of "
        f"{visible(item['positive'], 60)} is at least {number(item['threshold'])}, costs {number(rule)} a row, "
        f"{number(abs(saving['value']))} {more} than {_SIMPLE[item['best_simple']]}{interval}."
    )


def cost(item: Facts | None) -> Markup | None:
    """The cost of a row by threshold, the rule's own marked, beside the cheaper of acting always and never."""
    curve = (item or {}).get("curve") or {}
    if item is None or not curve.get("threshold"):
        return None
    simple, rule = item["cost"][item["best_simple"]], item["cost"]["rule"]
    frame = Frame((0.0, 1.0), (0.0, 1.08 * max(*curve["cost"], simple) or 1.0))
    rises = curve["cost"][-1] > curve["cost"][0]  # the legend stands where the curve does not
    left, right = frame.x(0.0), frame.x(1.0)
    marks = [
        frame.axes("act from this probability on", "cost a row"),
        svg.line(left, frame.y(simple), right, frame.y(simple), "line base"),
        svg.path(frame.points(curve["threshold"], curve["cost"]), "line main"),
        svg.dot(frame.x(item["threshold"]), frame.y(rule), 4, "dot main", f"the rule: {number(rule)} a row"),
        svg.legend(frame, [("line main", "model"), ("line base", _ROWS[item["best_simple"]])], low=rises),
    ]
    lowest = min(zip(curve["cost"], curve["threshold"], strict=True))
    said = (
        f"Cost a row on the test rows by threshold. At the rule's {number(item['threshold'])} it is {number(rule)}; "
        f"the lowest is {number(lowest[0])} at {number(lowest[1])}; {_SIMPLE[item['best_simple']]} costs "
        f"{number(simple)}."
    )
    return frame.drawing("cost", "Cost by threshold", said, marks)
