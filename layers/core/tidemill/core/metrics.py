"""What a model is judged by: formulas over rows, in NumPy, and the resamples their intervals come from.

Every formula takes a weight matrix: one row of ones gives the value, rows of resampling counts give its bootstrap.

Axes: n rows, k classes, r resamples, g groups of equal scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Formula = Callable[[Array, Array, Array], Array]

RESAMPLES = 500
EPSILON = float(np.finfo(np.float32).eps)  # probabilities leave the model as float32
WORK = 20_000_000  # resamples * rows * columns beyond which fewer resamples are drawn, never below 100
BLOCK = 4_000_000  # resamples * rows held in memory at once


@dataclass(frozen=True)
class Metric:
    """One number a model is judged by: its name, its words, the better direction and the formula."""

    name: str
    label: str
    better: Literal["higher", "lower"]
    formula: Formula


def row_losses(task: str, y_n: Array, scores: Array) -> Array:
    """The loss of each row in the task's primary measure: -log p of the true class, or the squared error."""
    if task == "regression":
        return np.square(np.asarray(scores, np.float64).reshape(-1) - y_n)
    p_n = np.asarray(scores, np.float64)[np.arange(len(y_n)), y_n]
    return -np.log(np.clip(p_n, EPSILON, 1.0))


def log_loss(y_n: Array, p_nk: Array, w_rn: Array) -> Array:
    """Mean of -log p of the true class."""
    return _mean(row_losses("multiclass", y_n, p_nk), w_rn)


def accuracy(y_n: Array, p_nk: Array, w_rn: Array) -> Array:
    """Share of rows whose most probable class is the true one."""
    return _mean((p_nk.argmax(1) == y_n).astype(float), w_rn)


def precision(y_n: Array, p_nk: Array, w_rn: Array) -> Array:
    """Of the rows given a class, the share that have it: of the positive class, or the mean over classes."""
    hits, truth, guessed = _counts(y_n, p_nk, w_rn)
    return _over_classes(_ratio(hits, guessed), truth + guessed)


def recall(y_n: Array, p_nk: Array, w_rn: Array) -> Array:
    """Of the rows that have a class, the share given it: of the positive class, or the mean over classes."""
    hits, truth, guessed = _counts(y_n, p_nk, w_rn)
    return _over_classes(_ratio(hits, truth), truth + guessed)


def f1(y_n: Array, p_nk: Array, w_rn: Array) -> Array:
    """Harmonic mean of precision and recall: of the positive class, or the mean over classes."""
    hits, truth, guessed = _counts(y_n, p_nk, w_rn)
    return _over_classes(_ratio(2 * hits, truth + guessed), truth + guessed)


def roc_auc(y_n: Array, p_nk: Array, w_rn: Array) -> Array:
    """Chance that a row of the class outranks one without it, ties counting half; over many classes, the mean."""
    classes = [1] if p_nk.shape[1] == 2 else list(range(p_nk.shape[1]))
    areas = [_area(y_n == k, p_nk[:, k], w_rn) for k in classes]
    return _mean_of_finite(np.stack(areas, 1))


def mse(y_n: Array, value_n: Array, w_rn: Array) -> Array:
    """Mean squared error."""
    return _mean(row_losses("regression", y_n, value_n), w_rn)


def rmse(y_n: Array, value_n: Array, w_rn: Array) -> Array:
    """Root of the mean squared error, in the unit of the target."""
    return np.sqrt(mse(y_n, value_n, w_rn))


def mae(y_n: Array, value_n: Array, w_rn: Array) -> Array:
    """Mean absolute error, in the unit of the target."""
    return _mean(np.abs(value_n - y_n), w_rn)


def r2(y_n: Array, value_n: Array, w_rn: Array) -> Array:
    """Share of the variance explained; not a number where the target does not vary."""
    total = w_rn.sum(1)
    centred_n = y_n - y_n.mean()
    variance = w_rn @ np.square(centred_n) / total - np.square(w_rn @ centred_n / total)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(variance > 0, 1 - mse(y_n, value_n, w_rn) / variance, np.nan)


def _mean(value_n: Array, w_rn: Array) -> Array:
    mean_r: Array = w_rn @ value_n / w_rn.sum(1)
    return mean_r


def _counts(y_n: Array, p_nk: Array, w_rn: Array) -> tuple[Array, Array, Array]:
    k = p_nk.shape[1]
    truth_nk, guess_nk = np.eye(k)[y_n], np.eye(k)[p_nk.argmax(1)]
    return w_rn @ (truth_nk * guess_nk), w_rn @ truth_nk, w_rn @ guess_nk


def _ratio(above: Array, below: Array) -> Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def _over_classes(value_rk: Array, rows_rk: Array) -> Array:
    """The positive class of two; the mean over the classes that occur, as truth or as answer, of more."""
    if value_rk.shape[1] == 2:
        return value_rk[:, 1]
    return _mean_of_finite(np.where(rows_rk > 0, value_rk, np.nan))


def _mean_of_finite(value_rk: Array) -> Array:
    seen = np.isfinite(value_rk)
    count = seen.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(count > 0, np.where(seen, value_rk, 0).sum(1) / count, np.nan)


def _area(positive_n: Array, score_n: Array, w_rn: Array) -> Array:
    order = np.argsort(score_n, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score_n[order]) > 0])
    w_rn, positive_n = w_rn[:, order], positive_n[order]
    yes_rg, no_rg = w_rn * positive_n, w_rn * ~positive_n
    if len(starts) < len(order):
        yes_rg, no_rg = (np.add.reduceat(rows, starts, axis=1) for rows in (yes_rg, no_rg))
    below_rg = np.cumsum(no_rg, axis=1)
    below_rg -= no_rg / 2
    pairs = yes_rg.sum(1) * no_rg.sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(pairs > 0, np.einsum("rg,rg->r", yes_rg, below_rg) / pairs, np.nan)


_CLASSIFICATION = (
    Metric("log_loss", "Log loss", "lower", log_loss),
    Metric("accuracy", "Accuracy", "higher", accuracy),
    Metric("roc_auc", "ROC AUC", "higher", roc_auc),
    Metric("precision", "Precision", "higher", precision),
    Metric("recall", "Recall", "higher", recall),
    Metric("f1", "F1", "higher", f1),
)
_REGRESSION = (
    Metric("rmse", "RMSE", "lower", rmse),
    Metric("mse", "MSE", "lower", mse),
    Metric("mae", "MAE", "lower", mae),
    Metric("r2", "R²", "higher", r2),
)


def metrics_of(task: str) -> tuple[Metric, ...]:
    """The metrics of a task, the primary one first."""
    return _REGRESSION if task == "regression" else _CLASSIFICATION


def values(task: str, y_n: Array, scores: Array) -> dict[str, float]:
    """Every metric of a task by name; NaN where it is not defined, as AUC is with one class only."""
    once = np.ones((1, len(y_n)))
    return {metric.name: float(metric.formula(y_n, scores, once)[0]) for metric in metrics_of(task)}


def confusion(y_n: Array, guess_n: Array, k: int) -> Array:
    """Counts of rows by true class (row) and answered class (column)."""
    return np.bincount(y_n * k + guess_n, minlength=k * k).reshape(k, k)


def baseline_of(task: str, y_n: Array, k: int) -> Array:
    """What the trivial model knows of the training rows: the share of each class; or the mean and the median."""
    if task == "regression":
        return np.array([np.mean(y_n), np.median(y_n)])
    return np.bincount(y_n, minlength=k) / len(y_n)


def resamples(rows: int, seed: int, columns: int = 1) -> Iterator[Array]:
    """Blocks of bootstrap weights [r, n]: how often each row is drawn."""
    count = int(np.clip(WORK // max(rows * columns, 1), 100, RESAMPLES))
    rng = np.random.default_rng(seed)
    step = max(1, BLOCK // max(rows, 1))
    for start in range(0, count, step):
        size = min(step, count - start)
        drawn = rng.integers(0, rows, (size, rows)) + np.arange(size)[:, None] * rows
        yield np.bincount(drawn.ravel(), minlength=size * rows).reshape(size, rows).astype(np.float64)
