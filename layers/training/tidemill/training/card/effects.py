"""What a column does to the answer: partial dependence (Friedman 2001, doi:10.1214/aos/1013203451), drawn by kind.

The mean answer when every row is given the same value in one column and keeps its own in all others; the band holds
the middle of the single rows' curves (Goldstein et al. 2015, doi:10.1080/10618600.2014.907095).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from tidemill.training.card import svg
from tidemill.training.card.moments import date_ticks
from tidemill.training.card.svg import Frame
from tidemill.training.card.text import cut, number, short, value_of, visible

Facts = dict[str, Any]
LEVELS = 12
STRIP = 34.0  # height of the histogram below a line


def dependence(items: Sequence[Facts] | None, task: str) -> list[Facts]:
    """The pictures' facts, without points that have no answer; columns without two such points are left out."""
    kept = []
    for item in items or []:
        rows = item.get("rows") or [0] * len(item["values"])
        low, high = (item.get(end) or [None] * len(item["values"]) for end in ("low", "high"))
        points = [
            {"value": value, "answer": answer, "low": below, "high": above, "rows": count}
            for value, answer, below, above, count in zip(item["values"], item["answer"], low, high, rows, strict=True)
            if math.isfinite(_float(answer)) and (item["kind"] == "category" or math.isfinite(_float(value)))
        ]
        if len(points) >= 2:
            told = {"column": item["column"], "kind": item["kind"], "target": item.get("target"), "points": points}
            kept.append({**told, "unit": "value" if task == "regression" else "probability", "reach": _reach(points)})
    return kept


def _reach(points: Sequence[Facts]) -> float:
    """How far the mean answer moves."""
    answers = [point["answer"] for point in points]
    return float(max(answers) - min(answers))


def scale(items: Sequence[Facts]) -> tuple[float, float]:
    """One range of answers for all pictures, so that what is small looks small."""
    found = [_float(point[name]) for item in items for point in item["points"] for name in ("answer", "low", "high")]
    if items and items[0]["unit"] == "probability":
        low, high = svg.span(found)
        return max(0.0, low), min(1.0, high) if high > max(0.0, low) else 1.0
    return svg.span(found)


def pictures(items: Sequence[Facts]) -> list[tuple[Facts, Markup]]:
    """A picture of every column, all on one scale."""
    if not items:
        return []
    ends = scale(items)
    return [
        (item, (_levels if item["kind"] == "category" else _line)(f"effect-{at}", item, ends))
        for at, item in enumerate(items)
    ]


def _asked(item: Facts) -> str:
    target = visible(item.get("target") or "", 24)
    return f"probability of {target}" if item["unit"] == "probability" else f"mean {target}"


def _line(name: str, item: Facts, ends: tuple[float, float]) -> Markup:
    """A line with its band over the values, and below it where the training rows are."""
    points = sorted(item["points"], key=lambda point: float(point["value"]))
    long = item["kind"] == "number" and _is_long([float(point["value"]) for point in points])
    points = [{**point, "at": math.log1p(point["value"]) if long else float(point["value"])} for point in points]
    xs = [point["at"] for point in points]
    frame = Frame((xs[0], xs[-1]) if xs[-1] > xs[0] else svg.span(xs), ends, height=300.0, bottom=42.0 + STRIP)
    band = [point for point in points if None not in (point["low"], point["high"])]
    marks = [_axes(frame, item, long)]
    if band:
        above = frame.points([point["at"] for point in band], [point["high"] for point in band])
        below = frame.points([point["at"] for point in band], [point["low"] for point in band])
        marks.append(svg.path([*above, *reversed(below)], "area"))
    places = frame.points(xs, [point["answer"] for point in points])
    marks.append(svg.path(places, "line main"))
    for (x, y), point in zip(places, points, strict=True):
        marks.append(svg.dot(x, y, 2.5, "dot main", _note(item, point)))
    marks.append(_rug(frame, points))
    return frame.drawing(name, f"What {visible(item['column'], 60)} does", _words(item, points), marks)


def _is_long(values: Sequence[float]) -> bool:
    """Whether half of the values, none below zero, lie in the first tenth of their range."""
    return values[0] >= 0 and values[len(values) // 2] - values[0] < 0.1 * (values[-1] - values[0])


def _below(low: float, high: float, kind: str, long: bool) -> list[tuple[float, str]]:
    """Ticks of the axis of values: dates, powers of ten on a logarithmic one, round numbers."""
    if kind == "datetime":
        return date_ticks(low, high)
    if not long:
        return [(at, short(at)) for at in svg.ticks(low, high)]
    near = low + 0.08 * (high - low)  # ticks between zero and here would stand on each other
    powers = [10.0**power for power in range(-3, 39) if near <= math.log1p(10.0**power) <= high + 1e-9]
    return [(math.log1p(value), short(value)) for value in [math.expm1(low), *powers[:: -(-len(powers) // 6) or 1]]]


def _axes(frame: Frame, item: Facts, long: bool) -> Markup:
    """Axes whose lower one lies below the histogram."""
    floor = frame.height - 42.0
    below = _below(*frame.x_range, item["kind"], long)
    marks = [frame.axes("", _asked(item), named=[])]
    marks += [svg.line(frame.x(at), floor, frame.x(at), floor + 4, "axis") for at, _ in below]
    marks += [svg.text(frame.x(at), floor + 16, said, "tick", "middle") for at, said in below]
    middle = (frame.left + frame.width - frame.right) / 2
    label = cut(visible(item["column"]), 44) + (", log(1 + x)" if long else "")
    marks.append(svg.text(middle, frame.height - 8, label, "label", "middle"))
    return svg.joined(marks)


def _rug(frame: Frame, points: Sequence[Facts]) -> Markup:
    """Rows near each value as bars between the halves of the gaps to its neighbours."""
    most = max(float(point["rows"] or 0) for point in points)
    if most <= 0:
        return Markup("")
    places = [frame.x(point["at"]) for point in points]
    edges = [places[0], *((a + b) / 2 for a, b in pairwise(places)), places[-1]]
    floor, marks = frame.height - 42.0, []
    for at, point in enumerate(points):
        tall = (STRIP - 8.0) * float(point["rows"] or 0) / most
        room = max(0.8, edges[at + 1] - edges[at] - 1.0)
        note = svg.tag("title", f"{number(point['rows'])} training rows")
        marks.append(svg.rect(edges[at], floor - tall, room, tall, "bar rows", note))
    return svg.joined(marks)


def _levels(name: str, item: Facts, ends: tuple[float, float]) -> Markup:
    """A dot with its band for each of the most frequent levels, highest answer first."""
    frequent = sorted(item["points"], key=lambda point: -float(point["rows"] or 0))[:LEVELS]
    points = sorted(frequent, key=lambda point: -point["answer"])
    step, left, right = 22.0, 130.0, 62.0
    frame = Frame(ends, (0.0, 1.0), height=step * len(points) + 66.0, left=left, right=right, top=22.0)
    floor = frame.height - frame.bottom
    marks = [svg.line(frame.x(at), frame.top, frame.x(at), floor, "grid-line") for at in svg.ticks(*ends, 4)]
    marks += [svg.text(frame.x(at), floor + 15, short(at), "tick", "middle") for at in svg.ticks(*ends, 4)]
    marks.append(svg.line(left, floor, frame.width - right, floor, "axis"))
    marks.append(svg.text(frame.width - 4, 13, "rows", "label", "end"))
    for at, point in enumerate(points):
        y, level = frame.top + step * (at + 0.5), _level(point["value"])
        if None not in (point["low"], point["high"]):
            marks.append(svg.line(frame.x(point["low"]), y, frame.x(point["high"]), y, "band"))
        marks.append(svg.dot(frame.x(point["answer"]), y, 4, "dot main", _note(item, point)))
        marks.append(svg.text(left - 8, y + 4, cut(level, 18), "tick", "end", note=level))
        marks.append(svg.text(frame.width - 4, y + 4, number(point["rows"]), "tick", "end"))
    marks.append(svg.text((left + frame.width - right) / 2, frame.height - 8, _asked(item), "label", "middle"))
    title = f"What {visible(item['column'], 60)} does"
    return frame.drawing(name, title, _words(item, points), marks)


def more(item: Facts) -> int:
    """Levels that the picture leaves out."""
    return max(0, len(item["points"]) - LEVELS) if item["kind"] == "category" else 0


def _level(value: Any) -> str:
    return "(missing)" if value is None else visible(value)


def _note(item: Facts, point: Facts) -> str:
    value = _level(point["value"]) if item["kind"] == "category" else value_of(point["value"], item["kind"])
    band = ""
    if None not in (point["low"], point["high"]):
        band = f" ({number(point['low'])} to {number(point['high'])})"
    return f"{value}: {number(point['answer'])}{band}, {number(point['rows'])} training rows"


def _words(item: Facts, points: Sequence[Facts]) -> str:
    """The picture in a sentence: its ends, its lowest and its highest point."""
    least, most = (pick(points, key=lambda point: point["answer"]) for pick in (min, max))
    ends = [
        _level(point["value"]) if item["kind"] == "category" else value_of(point["value"], item["kind"])
        for point in (least, most)
    ]
    return (
        f"The {_asked(item)} is lowest, {number(least['answer'])}, at {ends[0]}, "
        f"and highest, {number(most['answer'])}, at {ends[1]}."
    )


def _float(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
