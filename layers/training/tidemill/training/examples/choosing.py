"""Which test rows are shown: some that each class is typical of, and those the model was most wrong about.

Axes: n rows, k outputs, c classes, e rows explained, p places of a row (pixels, or n-grams and then tokens).
"""

from __future__ import annotations

from itertools import chain, zip_longest
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tidemill.core.metrics import row_losses
from tidemill.training import inputs
from tidemill.training.dataset import Dataset
from tidemill.training.evaluate import Model
from tidemill.training.explain import Explainer, explained_in_blocks, spread, targets_of

Array = NDArray[Any]
MOST = 12  # rows of each kind: what a person looks through
OF_A_CLASS = 3  # the surest right answer, a middling and the least sure one
OF_NUMBERS = 6  # from the lowest answer to the highest


class Shown(NamedTuple):
    """A row to show: its place in the test split, the facts of its answer, and what its places added to that."""

    row: int
    facts: dict[str, Any]
    contribution_p: Array


def shown(model: Model, explainer: Explainer, data: Dataset) -> tuple[list[Shown], list[Shown]]:
    """Typical test rows and the worst mistakes, explained together; equal rows are shown once."""
    test, task = data.test, model.task
    answer_nk = model.answers(test.x_n)
    first = [
        unequal(rows_n, test.hashes)[:MOST]
        for rows_n in (typical(task, test.y_n, answer_nk), worst(task, test.y_n, answer_nk))
    ]
    found = _explained(model, explainer, data, np.concatenate(first), answer_nk)
    return found[: len(first[0])], found[len(first[0]) :]


def typical(task: str, y_n: Array, answer_nk: Array) -> Array:
    """Rows from the lowest to the highest value; of classes right answers, from sure to unsure, where there are any.

    One of each class comes first, then the next of each, so that any number of them tells of many classes.
    """
    if task == "regression":
        return _evenly(np.argsort(answer_nk[:, 0], kind="stable"), OF_NUMBERS)
    right = np.flatnonzero(answer_nk.argmax(1) == y_n)
    count_c = np.bincount(y_n[right], minlength=answer_nk.shape[1])
    classes = np.sort(np.argsort(-count_c, kind="stable")[: min(MOST, int((count_c > 0).sum()))])
    each = min(OF_A_CLASS, MOST // max(1, len(classes)))
    surest = right[np.argsort(-answer_nk[right].max(1), kind="stable")]
    by_class = [_evenly(surest[y_n[surest] == label], each).tolist() for label in classes.tolist()]
    turns = chain.from_iterable(zip_longest(*by_class))
    return np.array([row for row in turns if row is not None], np.int64)


def worst(task: str, y_n: Array, answer_nk: Array) -> Array:
    """Rows answered wrong, the greatest loss first; of numbers all rows."""
    wrong = np.arange(len(y_n)) if task == "regression" else np.flatnonzero(answer_nk.argmax(1) != y_n)
    found: Array = wrong[np.argsort(-row_losses(task, y_n, answer_nk)[wrong], kind="stable")]
    return found


def unequal(rows_n: Array, hash_n: Array) -> Array:
    """The rows without those that equal an earlier one."""
    _, first = np.unique(hash_n[rows_n], return_index=True)
    found: Array = rows_n[np.sort(first)]
    return found


def _evenly(order: Array, count: int) -> Array:
    """As many as wanted from first to last; all where they are fewer."""
    found: Array = order[np.unique(np.linspace(0, len(order) - 1, count).round().astype(int))]
    return found


def _explained(model: Model, explainer: Explainer, data: Dataset, row_e: Array, answer_nk: Array) -> list[Shown]:
    """The rows with their facts and contributions to the answered class, or to the value."""
    target_ek = targets_of(answer_nk[row_e])
    parts = spread(explained_in_blocks(explainer, inputs.taken(data.test.x_n, row_e), target_ek))
    contribution_ep, prediction_e, baseline_e = (np.asarray(part) for part in parts)
    told = zip(row_e.tolist(), prediction_e.tolist(), baseline_e.tolist(), contribution_ep, strict=True)
    return [
        Shown(row, {**_answered(data, row, answer_nk[row]), "baseline": before, "prediction": after}, contribution_p)
        for row, after, before, contribution_p in told
    ]


def _answered(data: Dataset, row: int, answer_k: Array) -> dict[str, Any]:
    """What was answered and what is true, with the probabilities of both."""
    labels = list(data.schema["labels"])
    actual: dict[str, Any] = {"row": row + 1, "actual": data.test.target[row]}
    if not labels:
        return {**actual, "answer": float(answer_k[0]), "target": data.schema["target"], "probability": None}
    label = labels[int(answer_k.argmax())]
    chances = {"probability": float(answer_k.max()), "of_actual": float(answer_k[int(data.test.y_n[row])])}
    return {**actual, "answer": label, "target": label, **chances}
