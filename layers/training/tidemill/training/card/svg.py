"""Drawing: a few SVG marks, axes, ticks. Colours are the style sheet's, so one drawing serves light and dark."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

from tidemill.training.card.text import short

Point = tuple[float, float]
NARROW = 480.0  # pictures up to this width stand side by side
DECADES = 1.0  # powers of ten between least and greatest beyond which an axis is logarithmic


def tag(element: str, content: str | Markup = "", /, **attributes: object) -> Markup:
    """One element; `class_` is class, other underscores are hyphens, None is left out, text is escaped."""
    parts = [
        f' {name.rstrip("_").replace("_", "-")}="{escape(_plain(value))}"'
        for name, value in attributes.items()
        if value is not None
    ]
    return Markup(f"<{element}{''.join(parts)}>{escape(content)}</{element}>")  # noqa: S704 - every part is escaped


def _plain(value: object) -> object:
    return f"{value:.2f}".rstrip("0").rstrip(".") if isinstance(value, float) else value


def joined(parts: Iterable[Markup]) -> Markup:
    """Marks one after the other."""
    return Markup("").join(parts)


def text(
    x: float, y: float, said: str, kind: str = "", anchor: str = "start", note: str = "", **more: object
) -> Markup:
    """A piece of text; `anchor` is start, middle or end, `note` what it says in full."""
    where = None if anchor == "start" else anchor
    content = tag("title", note) + escape(said) if note and note != said else said
    return tag("text", content, x=float(x), y=float(y), class_=kind or None, text_anchor=where, **more)


def dot(x: float, y: float, size: float, kind: str, note: str = "") -> Markup:
    """A point."""
    return tag("circle", tag("title", note) if note else "", cx=float(x), cy=float(y), r=float(size), class_=kind)


def rect(
    x: float, y: float, width: float, height: float, kind: str, content: Markup | str = "", **more: object
) -> Markup:
    """A rectangle; `content` may be its title."""
    sizes = {"width": max(0.0, float(width)), "height": max(0.0, float(height))}
    return tag("rect", content, x=float(x), y=float(y), **sizes, class_=kind, **more)


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line."""
    return tag("line", x1=float(x1), y1=float(y1), x2=float(x2), y2=float(y2), class_=kind)


def path(points: Sequence[Point], kind: str, note: str = "") -> Markup:
    """A line through points."""
    steps = " ".join(f"{'L' if at else 'M'}{_plain(float(x))} {_plain(float(y))}" for at, (x, y) in enumerate(points))
    return tag("path", tag("title", note) if note else "", d=steps, class_=kind)


def drawing(name: str, title: str, description: str, width: float, height: float, body: Markup) -> Markup:
    """A whole picture with the title and description a screen reader speaks."""
    heads = tag("title", title, id=f"{name}-title") + tag("desc", description, id=f"{name}-desc")
    box = f"0 0 {_plain(float(width))} {_plain(float(height))}"
    kind = "plot" if width <= NARROW else "plot wide"
    return tag("svg", heads + body, viewBox=box, role="img", aria_labelledby=f"{name}-title {name}-desc", class_=kind)


def ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Round values between low and high, about as many as wanted (steps of 1, 2 or 5 times a power of ten)."""
    if not (math.isfinite(low) and math.isfinite(high)) or high <= low:
        return [low]
    rough = (high - low) / max(1, wanted)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * unit for unit, most in ((1, 1.5), (2, 3.5), (5, 7.5), (10, 11)) if rough < most * power)
    first = math.ceil(low / step - 1e-9)
    return [round(at * step, 12) for at in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float, wanted: int = 6) -> list[float]:
    """Round values between low and high, both above zero, about evenly apart in their logarithms."""
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    for units in ((1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [unit * 10.0**power for power in range(first, last + 1) for unit in units]
        found = [value for value in found if low * (1 - 1e-9) <= value <= high * (1 + 1e-9)]
        if len(found) <= wanted:
            return found
    return found[:: -(-len(found) // wanted)]


def is_wide(values: Sequence[float]) -> bool:
    """Whether positive values span so much that only a logarithmic axis shows them all."""
    return bool(values) and min(values) > 0 and math.log10(max(values) / min(values)) > DECADES


def log_span(values: Sequence[float], room: float = 0.05) -> tuple[float, float]:
    """The range of positive values with a little room on a logarithmic axis."""
    low, high = math.log10(min(values)), math.log10(max(values))
    extra = (high - low) * room or 0.1
    return 10 ** (low - extra), 10 ** (high + extra)


def spread(places: Sequence[float], gap: float, low: float, high: float) -> list[float]:
    """Places moved as little as needed to stand `gap` apart within low and high, in the order given.

    Where there is no room for all, they stand evenly from low to high.
    """
    order = sorted(range(len(places)), key=lambda at: places[at])
    gap = min(gap, (high - low) / max(1, len(places) - 1))
    moved = list(places)
    floor = low
    for at in order:
        moved[at] = floor = max(floor, moved[at])
        floor += gap
    ceiling = high
    for at in reversed(order):
        moved[at] = ceiling = min(ceiling, moved[at])
        ceiling -= gap
    return moved


def span(values: Sequence[float], room: float = 0.05) -> tuple[float, float]:
    """The range of the values with a little room, never empty."""
    finite = [value for value in values if math.isfinite(value)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    extra = (high - low) * room or abs(high) * room or 1.0
    return low - extra, high + extra


@dataclass(frozen=True)
class Frame:
    """A plotting area: the picture's size, its margins and the ranges of both axes."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    width: float = 400.0
    height: float = 280.0
    left: float = 56.0
    right: float = 14.0
    top: float = 12.0
    bottom: float = 42.0
    log_y: bool = False

    def x(self, value: float) -> float:
        """A value as a place from the left."""
        low, high = self.x_range
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def y(self, value: float) -> float:
        """A value as a place from the top."""
        low, high = self.y_range
        if self.log_y:
            low, high, value = math.log(low), math.log(high), math.log(value)
        return self.height - self.bottom - (value - low) / (high - low) * (self.height - self.top - self.bottom)

    def points(self, xs: Sequence[float], ys: Sequence[float]) -> list[Point]:
        """Pairs of values as places, those that are not numbers left out."""
        pairs = zip(xs, ys, strict=False)
        return [(self.x(x), self.y(y)) for x, y in pairs if math.isfinite(x) and math.isfinite(y)]

    def axes(
        self, x_label: str, y_label: str, wanted: int = 5, named: Sequence[tuple[float, str]] | None = None
    ) -> Markup:
        """Grid, ticks and the names of both axes; `named` are ticks of the x axis that have names of their own."""
        right, floor = self.width - self.right, self.height - self.bottom
        rungs = log_ticks(*self.y_range, wanted + 1) if self.log_y else ticks(*self.y_range, wanted)
        below = [(at, short(at)) for at in ticks(*self.x_range, wanted)] if named is None else named
        marks = [line(self.left, self.y(at), right, self.y(at), "grid-line") for at in rungs]
        marks += [text(self.left - 6, self.y(at) + 4, short(at), "tick", "end") for at in rungs]
        marks += [text(self.x(at), floor + 15, said, "tick", "middle") for at, said in below]
        marks.append(line(self.left, floor, right, floor, "axis"))
        marks.append(text((self.left + right) / 2, self.height - 8, x_label, "label", "middle"))
        middle = (self.top + floor) / 2
        marks.append(text(11, middle, y_label, "label", "middle", transform=f"rotate(-90 11 {_plain(middle)})"))
        return joined(marks)

    def drawing(self, name: str, title: str, said: str, marks: Iterable[Markup]) -> Markup:
        """The picture in this frame's size."""
        return drawing(name, title, said, self.width, self.height, joined(marks))


def legend(frame: Frame, items: Sequence[tuple[str, str]], *, low: bool = False) -> Markup:
    """What each kind of line means, in the upper or the lower right corner."""
    start = frame.height - frame.bottom - 16.0 * len(items) if low else frame.top + 8.0
    x, marks = frame.width - frame.right - 96.0, []
    for at, (kind, name) in enumerate(items):
        y = start + 16.0 * at
        marks += [line(x, y, x + 20, y, kind), text(x + 26, y + 4, name, "tick")]
    return joined(marks)
