"""What a column does to the answer: partial dependence on the columns that matter most, for the card.

The mean answer when every row gets the same value in one column and keeps its own in all others (Friedman 2001,
doi:10.1214/aos/1013203451). The band holds the middle of the single rows' curves, each moved to the mean curve's
height (Goldstein et al. 2015, doi:10.1080/10618600.2014.907095): where it is wide, the column does different things
to different rows.

Axes: r sampled rows, v values, n training rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.features import Category, Moment
from tidemill.training.dataset import Dataset
from tidemill.training.evaluate import Model, work

Array = NDArray[Any]

COLUMNS = 6
POINTS = 16  # values of a number or a moment: quantiles
LEVELS = 12  # of a category, the most frequent ones
LEAST_ROWS, MOST_ROWS = 40, 200  # sampled training rows
WORK = 15_000_000_000  # multiplications in all: less than a second of one core
EDGES = (0.01, 0.99)  # shares of the rows between which values are shown
BAND = (0.1, 0.9)  # shares of the rows' curves


def dependence(model: Model, data: Dataset, importance: Sequence[dict[str, Any]], seed: int) -> list[dict[str, Any]]:
    """The `dependence` a card takes, for the columns of most importance; those with a single value are left out."""
    columns = {column.name: column for column in data.program.inputs}
    matter = sorted((item for item in importance if item["importance"] > 0), key=lambda item: -item["importance"])
    affordable = WORK // (work(model) * POINTS * COLUMNS)
    rows = np.random.default_rng(seed).permutation(len(data.train.y_n))[
        : int(np.clip(affordable, LEAST_ROWS, MOST_ROWS))
    ]
    label = _label(data)
    found = []
    for name in [item["column"] for item in matter[:COLUMNS]]:
        column_n = data.train.columns[name]
        values, count_v = _levels(column_n) if isinstance(columns[name], Category) else _numbers(column_n)
        if len(values) < 2:
            continue
        kind = "category" if isinstance(columns[name], Category) else "number"
        found.append(
            {
                **{"column": name, "kind": "datetime" if isinstance(columns[name], Moment) else kind},
                "target": data.schema["labels"][label] if data.schema["labels"] else data.schema["target"],
                **{"values": values, "rows": count_v, **_curves(model, data, name, values, rows, label)},
            }
        )
    return found


def _label(data: Dataset) -> int:
    """The answer that is followed: of two classes the rarer one, of more the most frequent one, a number itself."""
    labels = data.schema["labels"]
    if not labels:
        return 0
    count_k = np.bincount(data.train.y_n, minlength=len(labels))
    return int(count_k[0] >= count_k[1]) if len(labels) == 2 else int(count_k.argmax())


def _curves(
    model: Model, data: Dataset, name: str, values: list[Any], rows: Array, label: int
) -> dict[str, list[float]]:
    """The mean answer at each value, and the band around it."""
    repeated = {key: np.tile(column_n[rows], len(values)) for key, column_n in data.train.columns.items()}
    kind = data.train.columns[name].dtype
    repeated[name] = np.repeat(np.array(values, dtype=kind), len(rows))
    answer_vr = model.answers(data.program.apply(repeated))[:, label].reshape(len(values), -1).astype(np.float64)
    answer_v = answer_vr.mean(1)
    moved_vr = answer_vr - answer_vr.mean(0) + answer_vr.mean()
    if data.schema["labels"]:
        moved_vr = np.clip(moved_vr, 0.0, 1.0)
    low_v, high_v = np.quantile(moved_vr, BAND, axis=1)
    band = {"low": np.minimum(low_v, answer_v).tolist(), "high": np.maximum(high_v, answer_v).tolist()}
    return {"answer": answer_v.tolist(), **band}


def _numbers(column_n: Array) -> tuple[list[float], list[int]]:
    """Values at even shares of the rows that have one, and how many rows are nearest to each.

    Where many rows have the same value, the others are shown too: at even shares of the distinct values.
    """
    known_n = column_n.astype(np.float64)
    known_n = known_n[np.isfinite(known_n)]
    distinct = np.unique(known_n)
    if len(distinct) > POINTS:
        value_v = np.unique(np.quantile(known_n, np.linspace(*EDGES, POINTS), method="nearest"))
        others = np.quantile(distinct, np.linspace(*EDGES, POINTS - len(value_v)), method="nearest")
        distinct = np.union1d(value_v, others)
    nearest_n = np.searchsorted((distinct[1:] + distinct[:-1]) / 2, known_n)
    return distinct.tolist(), np.bincount(nearest_n, minlength=len(distinct)).tolist()


def _levels(column_n: Array) -> tuple[list[str | None], list[int]]:
    """The most frequent levels, None for missing, and their rows."""
    counts: dict[str | None, int] = {}
    for level in column_n.tolist():
        counts[level] = counts.get(level, 0) + 1
    frequent = sorted(counts.items(), key=lambda item: (-item[1], item[0] or ""))[:LEVELS]
    return [level for level, _ in frequent], [count for _, count in frequent]
