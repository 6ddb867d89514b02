"""The card's curves and clouds, each a picture of some facts: SVG with words for those who do not see it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tidemill.training.card import svg
from tidemill.training.card.svg import Frame
from tidemill.training.card.text import number, percent

Facts = dict[str, Any]
Histogram = tuple[list[float], list[float]]


def learning(history: Sequence[Facts], unit: str = "loss") -> Markup | None:
    """Training and validation loss by epoch, both in one `unit`, the best epoch marked."""
    epochs = [float(entry["epoch"]) for entry in history]
    series = _losses(history)
    finite = [value for values in series.values() for value in values if math.isfinite(value)]
    if len(epochs) < 2 or not finite:
        return None
    wide = svg.is_wide(finite)
    frame = Frame((epochs[0], epochs[-1]), svg.log_span(finite) if wide else svg.span(finite), log_y=wide)
    kinds = {"validation": "line main", "training": "line base"}
    marks = [frame.axes("epoch", f"{unit}, logarithmic" if wide else unit)]
    marks += [svg.path(frame.points(epochs, values), kinds[name]) for name, values in series.items()]
    said, held = "", series.get("validation", [math.nan])
    best = min(range(len(held)), key=lambda at: _or_infinite(held[at]))
    if math.isfinite(held[best]):
        marks.append(svg.dot(frame.x(epochs[best]), frame.y(held[best]), 4, "dot main"))
        said = f" The validation {unit} is lowest, {number(held[best])}, in epoch {number(epochs[best])}."
    marks.append(svg.legend(frame, [(kinds[name], name) for name in reversed(series)]))
    about = f"{unit[:1].upper()}{unit[1:]} by epoch ({' and '.join(series)} rows).{said}"
    return frame.drawing("learning", "Learning curves", about, marks)


def _losses(history: Sequence[Facts]) -> dict[str, list[float]]:
    """The losses that were kept."""
    keys = {"training": "train_loss", "validation": "validation_loss"}
    found = {name: [_float(entry.get(key)) for entry in history] for name, key in keys.items()}
    return {name: values for name, values in found.items() if any(map(math.isfinite, values))}


def roc(curves: Facts, area: float | None) -> Markup | None:
    """The receiver operating characteristic with the diagonal of chance."""
    curve = curves.get("roc") or {}
    if not curve.get("fpr"):
        return None
    frame = Frame((0.0, 1.0), (0.0, 1.0), height=320.0)
    places = frame.points(curve["fpr"], curve["tpr"])
    floor = [(places[0][0], frame.y(0.0)), *places, (places[-1][0], frame.y(0.0))]
    marks = [frame.axes("false positive rate", "true positive rate"), svg.path(floor, "area")]
    marks += [_diagonal(frame, 0.0, 1.0), svg.path(places, "line main")]
    marks.append(svg.legend(frame, [("line main", "model"), ("line faint", "chance")], low=True))
    said = f" The area under it (AUC) is {number(area)}." if area is not None else ""
    return frame.drawing("roc", "ROC curve", f"True against false positive rate on the test rows.{said}", marks)


def calibration(curves: Facts) -> Markup | None:
    """Predicted against observed shares; on the diagonal, a probability means what it says."""
    curve = curves.get("calibration") or {}
    if not curve.get("predicted"):
        return None
    frame = Frame((0.0, 1.0), (0.0, 1.0), height=320.0)
    places = frame.points(curve["predicted"], curve["observed"])
    marks = [frame.axes("predicted probability", "observed share"), _diagonal(frame, 0.0, 1.0)]
    marks.append(svg.path(places, "line main"))
    rows = curve.get("rows") or [None] * len(places)
    for (x, y), p, share, count in zip(places, curve["predicted"], curve["observed"], rows, strict=False):
        note = f"predicted {percent(p)}, observed {percent(share)}" + (f", {number(count)} rows" if count else "")
        marks.append(svg.dot(x, y, 4, "dot main", note))
    marks.append(svg.legend(frame, [("line main", "model"), ("line faint", "perfect")], low=True))
    gaps = [abs(p - share) for p, share in zip(curve["predicted"], curve["observed"], strict=False)]
    said = f"Observed share by predicted probability in {len(places)} bins; the largest gap is {number(max(gaps))}."
    return frame.drawing("calibration", "Calibration", said, marks)


def _diagonal(frame: Frame, low: float, high: float) -> Markup:
    return svg.line(frame.x(low), frame.y(low), frame.x(high), frame.y(high), "line faint")


def predicted(residuals: Facts) -> Markup | None:
    """Predicted against actual values of a sample of the test rows."""
    actual, answers = residuals.get("actual") or [], residuals.get("predicted") or []
    if len(actual) < 2:
        return None
    ends = svg.span([*actual, *answers])
    frame = Frame(ends, ends, height=320.0)
    marks = [frame.axes("actual value", "predicted value", 4), _diagonal(frame, *ends)]
    marks += [svg.dot(x, y, 2.6, "dot cloud") for x, y in frame.points(actual, answers)]
    said = f"Predicted against actual values of {len(actual)} test rows; on the diagonal the prediction is exact."
    return frame.drawing("predicted", "Predicted and actual values", said, marks)


def errors(residuals: Facts) -> Markup | None:
    """The histogram of predicted minus actual."""
    gaps = [p - a for a, p in zip(residuals.get("actual") or [], residuals.get("predicted") or [], strict=False)]
    if len(gaps) < 2:
        return None
    edges, counts = _binned(gaps, 24)
    frame = Frame((edges[0], edges[-1]), (0.0, max(counts) * 1.08), height=320.0)
    marks = [frame.axes("predicted minus actual", "rows", 4)]
    for at, count in enumerate(counts):
        x, y = frame.x(edges[at]), frame.y(count)
        note = svg.tag("title", f"{number(edges[at])} to {number(edges[at + 1])}: {number(count)} rows")
        marks.append(svg.rect(x + 0.5, y, frame.x(edges[at + 1]) - x - 1, frame.y(0.0) - y, "bar", note))
    marks.append(svg.line(frame.x(0.0), frame.top, frame.x(0.0), frame.y(0.0), "line faint"))
    middle = sorted(gaps)[len(gaps) // 2]
    return frame.drawing("errors", "Residuals", f"How far predictions are off; the median is {number(middle)}.", marks)


def _binned(values: Sequence[float], bins: int) -> Histogram:
    low, high = min(*values, 0.0), max(*values, 0.0)
    step = ((high - low) or 1.0) / bins
    counts = [0.0] * bins
    for value in values:
        counts[min(bins - 1, int((value - low) / step))] += 1
    return [low + at * step for at in range(bins + 1)], counts


def _float(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan


def _or_infinite(value: float) -> float:
    return value if math.isfinite(value) else math.inf
