"""A few test rows with their answers and what the columns did to them: the examples on a model's card."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.features import Columns, Moment, Program
from tidemill.training.evaluate import Model
from tidemill.training.explain import EXPLAIN_ROWS, Explainer, explained_in_blocks, spread, targets_of

Array = NDArray[Any]
SHOWN = 3


def examples_of(
    model: Model,
    explainer: Explainer,
    program: Program,
    schema: Mapping[str, Any],
    columns: Columns,
    x_nf: Array,
    target: Array,
) -> dict[str, Any]:
    """The `examples` a card takes: a request, and explanations of the lowest, the middle and the highest answer."""
    answer_nk = model.answers(x_nf[: EXPLAIN_ROWS * 8])
    at = _spread_out(answer_nk[:, -1])
    chosen_nk = targets_of(answer_nk[at])
    explained = spread(explained_in_blocks(explainer, x_nf[at], chosen_nk))
    contribution_nf, prediction_n, baseline_n = (np.asarray(part) for part in explained)
    labels = list(schema["labels"])
    explanations = []
    for place, row in enumerate(at.tolist()):
        best = int(chosen_nk[place].argmax())
        values = row_of(program, columns, row)
        sums = np.bincount(program.owner_f, contribution_nf[place], minlength=len(program.columns))
        parts = zip(program.columns, values.values(), sums.tolist(), strict=True)
        explanations.append(
            {
                "row": row + 1,
                "actual": target[row],
                "answer": labels[best] if labels else float(answer_nk[row, 0]),
                "target": labels[best] if labels else schema["target"],
                "baseline": float(baseline_n[place]),
                "prediction": float(prediction_n[place]),
                "contributions": [{"column": c, "value": v, "contribution": s} for c, v, s in parts],
            }
        )
    return {"request": row_of(program, columns, 0), "explanations": explanations}


def _spread_out(score_n: Array) -> Array:
    """The lowest, the middle and the highest, of as many rows as there are."""
    order = np.argsort(score_n, kind="stable")
    chosen: Array = order[np.unique(np.linspace(0, len(order) - 1, SHOWN).round().astype(int))]
    return chosen


def row_of(program: Program, columns: Columns, row: int) -> dict[str, Any]:
    """One row as a client sends it."""
    return {column.name: _value(columns[column.name][row], isinstance(column, Moment)) for column in program.inputs}


def _value(value: Any, moment: bool) -> Any:
    if value is None or isinstance(value, str):
        return value
    number = float(value)
    if not np.isfinite(number):
        return None
    if moment:
        return datetime.fromtimestamp(number, UTC).isoformat()
    return int(number) if number.is_integer() and abs(number) < 2**53 else number
