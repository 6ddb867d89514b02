"""Every trial's validation loss in one picture: thin lines for those that lost, strong and named ones for the model."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from markupsafe import Markup

from tidemill.training.card import svg
from tidemill.training.card.svg import Frame
from tidemill.training.card.text import cut, number, visible, width

Facts = dict[str, Any]
Place = tuple[float, float]  # epoch and loss
Drawn = tuple[Facts, list[Place]]
LABELLED = 14  # curves with a name at their end
GAP = 13.0  # between two names, in units of the picture
REACH, LEAST = 3.0, 0.35  # see _top


def curves(search: Facts | None) -> Markup | None:
    """Every trial's validation loss by epoch: faint where it was stopped, strong and named where it is in the model."""
    drawn = [(trial, found) for trial in (search or {}).get("trials", []) if (found := _finite(trial))]
    if not search or not drawn:
        return None
    top = _top(drawn)
    named = _named(drawn, top)
    values = [min(loss, top) for _, found in drawn for _, loss in found]
    last = max(epoch for _, found in drawn for epoch, _ in found)
    wide = svg.is_wide(values)
    labels = {name: cut(visible(name), 20) for name in named}
    right = 26.0 + 6.4 * max((width(label) for label in labels.values()), default=0)
    ends = svg.log_span(values) if wide else svg.span(values)
    frame = Frame((0.0, max(last, 1.0)), ends, 800.0, 400.0, right=right, log_y=wide)
    score = visible(search["score"], 40)
    marks = [frame.axes("epoch", f"{score}, logarithmic" if wide else score, 7)]
    families = list(dict.fromkeys(trial["family"] for trial, _ in drawn if trial["id"] in named))
    drawn = [(trial, found) for trial, found in drawn if min(loss for _, loss in found) <= top]
    for trial, found in reversed(drawn):  # the best last, above the others
        marks.append(_line(frame, trial, _below(found, top), _kind(trial, named, families)))
    marks.append(_names(frame, drawn, labels, families))
    return frame.drawing("trials", "Validation loss of every trial", _words(search, drawn, score, top), marks)


def _finite(trial: Facts) -> list[Place]:
    """The points of a trial that can be drawn; of one that diverged, none."""
    if trial["state"] == "diverged":
        return []
    pairs = [(_float(point["epoch"]), _float(point["loss"])) for point in trial["curve"]]
    return [(epoch, loss) for epoch, loss in pairs if math.isfinite(epoch) and math.isfinite(loss)]


def _top(drawn: Sequence[Drawn]) -> float:
    """Where the picture ends: the ends of the model's curves, and thrice as far above the best as the finished ones.

    The first epochs and a few hopeless starts would otherwise press what matters into a line.
    """
    ends = sorted(found[-1][1] for trial, found in drawn if trial["state"] in ("blended", "kept"))
    ends = ends or sorted(found[-1][1] for _, found in drawn)
    starts = sorted(found[0][1] for _, found in drawn)
    best = min(loss for _, found in drawn for _, loss in found)
    whole = starts[int(0.9 * (len(starts) - 1))] - best
    reach = ends[int(0.9 * (len(ends) - 1))] - best
    first = max((found[0][1] - best for trial, found in drawn if trial["state"] == "blended"), default=whole)
    strong = [found[-1][1] for trial, found in drawn if trial["state"] == "blended"]
    return max([*strong, best + min(whole, max(REACH * reach, LEAST * min(whole, first)))])


def _named(drawn: Sequence[Drawn], top: float) -> list[str]:
    """Trials with a name in the picture: the parts of the model, and the best of every family beside them."""
    found = [trial["id"] for trial, _ in drawn if trial["state"] == "blended"][:LABELLED]
    seen = {trial["family"] for trial, _ in drawn if trial["id"] in found}
    for trial, losses in drawn:
        if trial["family"] not in seen and len(found) < LABELLED and losses[-1][1] <= top:
            seen.add(trial["family"])
            found.append(trial["id"])
    return found


def _below(found: Sequence[Place], top: float) -> list[Place]:
    """The curve from where it comes below the top; later points above it are drawn at the top."""
    first = next((at for at, (_, loss) in enumerate(found) if loss <= top), len(found) - 1)
    kept = [(epoch, min(loss, top)) for epoch, loss in found[first:]]
    if first == 0 or found[first][1] > top:
        return kept
    (x0, y0), (x1, y1) = found[first - 1], found[first]
    return [(x0 + (x1 - x0) * (y0 - top) / (y0 - y1), top), *kept]


def _kind(trial: Facts, named: Sequence[str], families: Sequence[str]) -> str:
    if trial["id"] in named:
        return f"line family-{families.index(trial['family']) % 4}"
    return "line trial kept" if trial["state"] == "kept" else "line trial"


def _line(frame: Frame, trial: Facts, found: Sequence[Place], kind: str) -> Markup:
    note = f"{visible(trial['id'], 40)}: {number(found[-1][1])} after {number(found[-1][0])} epochs"
    places = frame.points([x for x, _ in found], [y for _, y in found])
    if len(places) == 1:
        return svg.dot(*places[0], 2.5, kind.replace("line", "dot", 1), note)
    return svg.path(places, kind, note)


def _names(frame: Frame, drawn: Sequence[Drawn], labels: Mapping[str, str], families: Sequence[str]) -> Markup:
    """The names in a column on the right, moved apart, each with a thin line to the end of its curve."""
    named = [(trial, found[-1]) for trial, found in drawn if trial["id"] in labels]
    lowest = frame.height - frame.bottom - 2
    places = svg.spread([frame.y(loss) for _, (_, loss) in named], GAP, frame.top + 4, lowest)
    edge, marks = frame.width - frame.right, []
    for (trial, (epoch, loss)), y in zip(named, places, strict=True):
        marks.append(svg.path([(frame.x(epoch), frame.y(loss)), (edge + 4, y), (edge + 14, y)], "leader"))
        kind = f"tick family-{families.index(trial['family']) % 4}"
        marks.append(svg.text(edge + 18, y + 4, labels[trial["id"]], kind, note=visible(trial["id"])))
    return svg.joined(marks)


def _words(search: Facts, drawn: Sequence[Any], score: str, top: float) -> str:
    """What the picture shows, for those who do not see it."""
    losses = [loss for trial in search["trials"] if math.isfinite(loss := _float(trial["loss"]))]
    best = f" The best reached {number(min(losses))}." if losses else ""
    above = sum(found[0][1] > top for _, found in drawn)
    beyond = f" {above} begin above the picture." if above else ""
    left = search["count"] - len(drawn)
    without = f" {left} that diverged, stayed above it or kept no losses are left out." if left else ""
    return f"The {score} of {len(drawn)} trials by epoch.{best}{beyond}{without}"


def _float(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan
