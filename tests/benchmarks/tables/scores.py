"""What an answer to the test rows is worth, by the error measures of TabArena (arXiv 2506.16791).

Written here, not taken from Tidemill, so that the judge is not a party. Axes: n rows, k classes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
BINS, DRAWS = 15, 200
EPSILON = float(np.finfo(np.float32).eps)  # probabilities are kept this far from 0, whoever gave them


def scores(task: str, y_n: Array, answers: Array) -> dict[str, float]:
    """Every measure, and as `error` the one a set is judged by: 1 - AUC, log loss, or RMSE."""
    if not np.isfinite(answers).all():
        raise ValueError("an answer is no number")
    if task == "regression":
        rmse = float(np.sqrt(np.mean(np.square(answers - y_n))))
        return {"error": rmse, "rmse": rmse}
    found = {"log_loss": log_loss(y_n, answers), "accuracy": float((answers.argmax(1) == y_n).mean())}
    if task == "multiclass":
        return {"error": found["log_loss"], **found}
    auc = area(y_n == 1, answers[:, 1])
    return {"error": 1 - auc, **found, "auc": auc}


def log_loss(y_n: Array, p_nk: Array) -> float:
    """Mean of -log p of the true class, each row's probabilities made to sum to 1."""
    p_nk = np.clip(p_nk, EPSILON, 1.0)
    p_nk = p_nk / p_nk.sum(1, keepdims=True)
    return float(-np.log(p_nk[np.arange(len(y_n)), y_n]).mean())


def area(truth_n: Array, score_n: Array) -> float:
    """The area under the ROC curve: the chance that a true row outranks another, ties counting half."""
    levels, place_n, count = np.unique(score_n, return_inverse=True, return_counts=True)
    rank = np.cumsum(count) - (count - 1) / 2  # the mean rank of equal scores, from 1
    positives = int(truth_n.sum())
    others = len(truth_n) - positives
    if not positives or not others or not len(levels):
        raise ValueError("the test rows have one class only")
    return float((rank[place_n][truth_n].sum() - positives * (positives + 1) / 2) / (positives * others))


def calibration(y_n: Array, p_nk: Array, seed: int) -> dict[str, float]:
    """`ece`, the expected calibration error, and `ece_floor`, what probabilities that are right show by chance.

    Bins of equally many rows; of the second of two classes, of the most probable of many (arXiv 1706.04599).
    """
    two = p_nk.shape[1] == 2
    score_n = p_nk[:, 1] if two else p_nk.max(1)
    hit_n = y_n == 1 if two else p_nk.argmax(1) == y_n
    bins = np.array_split(np.argsort(score_n, kind="stable"), BINS)
    rng = np.random.default_rng(seed)

    def error(came_n: Array) -> float:
        return float(sum(abs((came_n[rows] - score_n[rows]).sum()) for rows in bins) / len(y_n))

    chance = [error(rng.random(len(y_n)) < score_n) for _ in range(DRAWS)]
    return {"ece": error(hit_n), "ece_floor": float(np.mean(chance))}
