"""Examples of texts: the part of a text that weighs most, with what each token added to the answer.

Axes: m n-grams of a text.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from tidemill.core.features.texts import TextProgram
from tidemill.core.highlight import Mark, marks
from tidemill.training.dataset import Dataset
from tidemill.training.evaluate import Model
from tidemill.training.examples.choosing import Shown, shown
from tidemill.training.explain import Explainer

LONGEST = 2_000  # characters of a text on the card: a page of a book
BEFORE = 100  # characters before the first mark, so that it is read in its place
MARKED = 200  # strongest tokens of a text; the others are told as one sum
DIGITS = 6  # significant ones of a contribution
SAYING = 20  # characters from which on a text is worth sending as an example


def examples_of(model: Model, explainer: Explainer, data: Dataset) -> dict[str, Any]:
    """The `examples` of a card: a short test text as a request, explanations, and the worst mistakes."""
    column = cast(TextProgram, cast(Any, data.program)).column
    request = min(data.test.columns[column].tolist(), key=lambda text: (len(text) < SAYING, len(text)))
    explanations, mistakes = ([_entry(one, data) for one in some] for some in shown(model, explainer, data))
    return {"request": {column: request}, "explanations": explanations, "mistakes": mistakes}


def _entry(one: Shown, data: Dataset) -> dict[str, Any]:
    """One text with its answer; marks stand as [start, end, contribution], `rest` is what is not marked."""
    program: TextProgram = cast(Any, data.program)
    text = str(data.test.columns[program.column][one.row])
    x_n = data.test.x_n
    found, rest = marks(program, text, x_n.bag_nm[one.row], one.contribution_p, x_n.seq_nt.shape[1])
    return {**one.facts, **excerpt(text, found, float(rest))}


def excerpt(text: str, found: Sequence[Mark], rest: float) -> dict[str, Any]:
    """At most LONGEST characters around what weighs most; contributions and the rest have the same sum as before."""
    found = sorted(found)
    start, end = window(found, len(text))
    inside = [mark for mark in found if start <= mark.start and mark.end <= end and mark.contribution]
    strongest = sorted(inside, key=lambda mark: -abs(mark.contribution))[:MARKED]
    kept = [[mark.start - start, mark.end - start, _brief(mark.contribution)] for mark in sorted(strongest)]
    total = sum(mark.contribution for mark in found) + rest
    cut = {"part": [start, end, len(text)]} if end - start < len(text) else {}
    return {"text": text[start:end], "marks": kept, "rest": float(total - sum(part for *_, part in kept)), **cut}


def window(found: Sequence[Mark], length: int) -> tuple[int, int]:
    """The part of a text that the most weight of marks lies in, from a little before the first of them."""
    if length <= LONGEST:
        return 0, length
    if not found:
        return 0, LONGEST
    start_m = np.array([mark.start for mark in found])
    end_m = np.maximum.accumulate([mark.end for mark in found])
    weight_m = np.concatenate([[0.0], np.cumsum([abs(mark.contribution) for mark in found])])
    from_m = np.clip(start_m - BEFORE, 0, length - LONGEST)
    first_m = np.searchsorted(start_m, from_m)
    last_m = np.maximum(np.searchsorted(end_m, from_m + LONGEST, side="right"), first_m)
    best = int((weight_m[last_m] - weight_m[first_m]).argmax())
    return int(from_m[best]), int(from_m[best]) + LONGEST


def _brief(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")
