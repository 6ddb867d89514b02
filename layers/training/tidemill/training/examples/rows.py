"""Examples of a table: a few test rows with their answers and what the columns did to them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.features import Columns, Moment, Program
from tidemill.training import inputs
from tidemill.training.dataset import Dataset
from tidemill.training.evaluate import Model
from tidemill.training.explain import Explainer, explained_in_blocks, spread, targets_of

Array = NDArray[Any]
SHOWN = 3
LOOKED = 200  # test rows to choose from


def examples_of(model: Model, explainer: Explainer, data: Dataset) -> dict[str, Any]:
    """The `examples` a card takes: a request, and explanations of the lowest, the middle and the highest answer."""
    rows, labels = data.test, list(data.schema["labels"])
    answer_nk = model.answers(inputs.taken(rows.x_n, slice(LOOKED)))
    at = _spread_out(answer_nk[:, -1])
    chosen_nk = targets_of(answer_nk[at])
    explained = [
        np.asarray(part) for part in spread(explained_in_blocks(explainer, inputs.taken(rows.x_n, at), chosen_nk))
    ]
    told = []
    for row, chosen_k, *parts in zip(at.tolist(), chosen_nk, *explained, strict=True):
        best = int(chosen_k.argmax())
        answer = labels[best] if labels else float(answer_nk[row, 0])
        told.append(
            {
                **{"row": row + 1, "actual": rows.target[row], "answer": answer},
                "target": labels[best] if labels else data.schema["target"],
                **_explanation(data.program, row_of(data.program, rows.columns, row), *parts),
            }
        )
    return {"request": row_of(data.program, rows.columns, 0), "explanations": told}


def _explanation(
    program: Program, row: dict[str, Any], contribution_f: Array, prediction: float, baseline: float
) -> dict[str, Any]:
    """Contributions summed by input column."""
    sums = np.bincount(program.owner_f, contribution_f, minlength=len(program.columns)).tolist()
    parts = zip(program.columns, row.values(), sums, strict=True)
    return {
        "baseline": float(baseline),
        "prediction": float(prediction),
        "contributions": [{"column": name, "value": value, "contribution": part} for name, value, part in parts],
    }


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
