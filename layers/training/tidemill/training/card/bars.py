"""The card's matrices and bars: confusion, importance, explanations, and a column's distribution at a glance."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from markupsafe import Markup

from tidemill.training.card import svg
from tidemill.training.card.text import cut, number, percent, short, value_of, visible, width

Facts = dict[str, Any]
MATRIX_NUMBERS = 12  # classes up to which every cell of the confusion matrix shows its count
MATRIX_LABELS = 40  # classes up to which a matrix can be read at all
BARS = 20
SPARK = (108.0, 24.0)
LEVELS = 12


def confusion(table: Facts | None) -> Markup | None:
    """True classes as rows, answers as columns; the shade is the share of the true class's rows."""
    if not table or not 2 <= len(table["labels"]) <= MATRIX_LABELS:
        return None
    labels = [visible(label, 18) for label in table["labels"]]
    count = len(labels)
    left = 30.0 + min(110.0, 6.2 * max(width(label) for label in labels))
    cell = min(64.0 if count > 2 else 104.0, (400.0 - left - 6.0) / count)
    small = count > MATRIX_NUMBERS
    marks = []
    for at, (label, row) in enumerate(zip(labels, table["matrix"], strict=True)):
        y, total = 26.0 + at * cell, sum(row)
        size = "tick tiny" if small else "tick"
        marks.append(svg.text(left - 5, y + cell / 2 + 4, cut(label, 17), size, "end"))
        head = cut(label, max(1, int(cell / 6.2)))
        marks.append(svg.text(left + (at + 0.5) * cell, 26.0 + count * cell + 14, head, size, "middle"))
        for j, n in enumerate(row):
            note = f"{label} answered as {labels[j]}: {number(n)} rows, {percent(n / total if total else 0)} of {label}"
            shade = Shade(left + j * cell, y, cell, n / total if total else 0.0, at == j)
            marks.append(_cell(shade, note, "" if small else number(n)))
    height = 26.0 + count * cell + 40.0
    marks.append(svg.text(left + count * cell / 2, height - 8, "answered class", "label", "middle"))
    middle = 26 + count * cell / 2
    marks.append(svg.text(13, middle, "true class", "label", "middle", transform=f"rotate(-90 13 {middle:.1f})"))
    right = sum(table["matrix"][at][at] for at in range(count))
    whole = sum(sum(row) for row in table["matrix"])
    said = "Counts of test rows by true class (rows) and answered class (columns): "
    said += f"{number(right)} of {number(whole)} on the diagonal."
    return svg.drawing("confusion", "Confusion matrix", said, 400.0, height, svg.joined(marks))


@dataclass(frozen=True)
class Shade:
    """One cell of the matrix: its place, its share of the true class, whether it is on the diagonal."""

    x: float
    y: float
    size: float
    share: float
    hit: bool


def _cell(shade: Shade, note: str, count: str) -> Markup:
    opacity = round(0.06 + 0.94 * shade.share, 3)
    side, kind = shade.size - 1.5, "hit" if shade.hit else "miss"
    mark = svg.rect(shade.x, shade.y, side, side, kind, svg.tag("title", note), fill_opacity=opacity)
    middle, line, kind = shade.x + side / 2, shade.y + side / 2, "count strong" if shade.share > 0.55 else "count"
    if count and shade.size > 40:
        return (
            mark
            + svg.text(middle, line, count, kind, "middle")
            + svg.text(middle, line + 14, percent(shade.share), f"{kind} tiny", "middle")
        )
    return mark + svg.text(middle, line + 4, count, kind, "middle") if count else mark


def confusions(table: Facts | None, most: int = 10) -> list[Facts]:
    """The most frequent wrong answers, where the matrix is too large to be read cell by cell."""
    if not table or len(table["labels"]) <= MATRIX_NUMBERS:
        return []
    labels = table["labels"]
    found = [
        {"true": labels[i], "answered": labels[j], "rows": n, "share": n / sum(row)}
        for i, row in enumerate(table["matrix"])
        for j, n in enumerate(row)
        if n and i != j
    ]
    return sorted(found, key=lambda item: -item["rows"])[:most]


def importance(items: Sequence[Facts]) -> Markup | None:
    """The columns that matter most, as bars."""
    shown = [item for item in items if _float(item.get("importance")) > 0][:BARS]
    if not shown:
        return None
    rows = [(visible(item["column"]), _float(item["importance"])) for item in shown]
    said = f"The most important columns, first {rows[0][0]}."
    if len(items) > len(shown):
        said += f" {len(items) - len(shown)} of lesser importance are left out."
    return rows_of_bars("importance", "Importance of the columns", said, rows)


def contributions(name: str, item: Facts, most: int = 8) -> Markup | None:
    """One answer explained: what each column added to or took from the baseline."""
    parts = sorted(item.get("contributions", []), key=lambda part: -abs(_float(part["contribution"])))
    if not parts:
        return None
    rows = [(_named(part), _float(part["contribution"])) for part in parts[:most]]
    rest = sum(_float(part["contribution"]) for part in parts[most:])
    if len(parts) > most:
        rows.append((f"{len(parts) - most} other columns", rest))
    said = f"From {number(item.get('baseline'))} to {number(item.get('prediction'))}; the largest part is {rows[0][0]}."
    return rows_of_bars(name, "Contributions of the columns", said, rows, signed=True)


def _named(part: Facts) -> str:
    return f"{visible(part['column'], 22)} = {value_of(part.get('value'), part.get('kind', ''))}"


def rows_of_bars(
    name: str,
    title: str,
    said: str,
    rows: Sequence[tuple[str, float]],
    signed: bool = False,
    written: Callable[[float], str] | None = None,
) -> Markup:
    """Horizontal bars from zero, names on the left, values at the ends as `written` says them."""
    written = written or _brief
    step, left, room = 22.0, 160.0, 52.0
    low, high = min(0.0, *(value for _, value in rows)), max(0.0, *(value for _, value in rows))
    scale = (400.0 - left - room * (1 + signed * (low < 0))) / ((high - low) or 1.0)
    zero = left + (room if low < 0 else 0.0) - low * scale
    marks = [svg.line(zero, 2.0, zero, step * len(rows) + 2, "axis")]
    for at, (label, value) in enumerate(rows):
        y, length = 4.0 + at * step, abs(value) * scale
        kind = "bar" if not signed else "bar plus" if value >= 0 else "bar minus"
        marks.append(svg.text(left - 8, y + 13, cut(label, 22), "tick", "end", note=label))
        marks.append(svg.rect(zero if value >= 0 else zero - length, y + 2, length, step - 8, kind))
        sign = "+" if signed and value > 0 else ""
        place = (zero + length + 5, "start") if value >= 0 else (zero - length - 5, "end")
        marks.append(svg.text(place[0], y + 13, sign + written(value), "tick", place[1]))
    return svg.drawing(name, title, said, 400.0, step * len(rows) + 8, svg.joined(marks))


def _brief(value: float) -> str:
    """A number that fits beside a bar."""
    full = number(value)
    return full if width(full) <= 6 else short(value)


def spark(histogram: Facts | None, kind: str) -> Markup | None:
    """A column's distribution in the size of a word: bins of numbers, or the most frequent levels."""
    names, counts = _bins(histogram)
    if not counts or not max(counts) > 0:
        return None
    wide, high = SPARK
    step = wide / max(len(counts), 8 if kind == "category" else 1)
    marks = []
    for at, (name, count) in enumerate(zip(names, counts, strict=False)):
        tall = max(1.0, (high - 1) * count / max(counts)) if count else 0.0
        note = svg.tag("title", f"{name}: {number(count)} rows")
        marks.append(svg.rect(at * step, high - tall, max(step - 1, 0.6), tall, "bar", note))
    said = f"Distribution over {len(counts)} {'levels' if kind == 'category' else 'bins'}"
    box = f"0 0 {wide:.0f} {high:.0f}"
    return svg.tag("svg", svg.joined(marks), viewBox=box, role="img", aria_label=said, class_="spark")


def _bins(histogram: Facts | None) -> tuple[list[str], list[float]]:
    """Names and counts of the bins between edges, or of the levels."""
    if not histogram or not histogram.get("counts"):
        return [], []
    counts, edges = [_float(count) for count in histogram["counts"]], histogram.get("edges")
    if edges:
        return [f"{number(low)} to {number(high)}" for low, high in pairwise(edges)], counts
    return [visible(level, 40) for level in histogram.get("levels", [])][:LEVELS], counts[:LEVELS]


def _float(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else math.nan
