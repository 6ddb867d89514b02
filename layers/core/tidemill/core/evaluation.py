"""metrics.json: every metric with its bootstrap interval and the trivial baseline, curves, and what to be warned of.

Axes: n rows, k classes, r resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.metrics import Metric, confusion, metrics_of, resamples, row_losses

Array = NDArray[Any]

INTERVAL = (2.5, 97.5)  # percentiles of the 95 % bootstrap interval
FEW_TRAIN_ROWS = 500  # training rows below which another sample of rows would give a noticeably other model
FEW_ROWS = 200  # test rows below which intervals are too wide to choose models by
RARE = 0.10  # share of rows below which a class is rare
CURVE_POINTS = 101
CALIBRATION_BINS = 10
RESIDUALS = 500  # rows kept for the residual plot


def evaluate(
    task: str,
    labels: Sequence[str],
    y_true: Array,
    scores: Array,
    *,
    baseline: Array,
    seed: int = 0,
    train_value: float | None = None,
    train_rows: int | None = None,
    history: Sequence[Mapping[str, float]] = (),
    split: str = "test",
) -> dict[str, Any]:
    """Judge scores against the truth; the result is metrics.json.

    `y_true` holds class numbers (or label strings) or values, `scores` [n, k] probabilities or [n] values,
    `baseline` what baseline_of gave for the training rows, `train_value` the primary metric on those,
    `train_rows` their number.
    """
    y_n, scores = _truth(task, labels, y_true), _scores(task, scores)
    trivial = _trivial(task, baseline, len(y_n))
    measured = _measured(task, y_n, scores, trivial, seed)
    report: dict[str, Any] = {
        "task": task,
        "split": split,
        "rows": len(y_n),
        "primary": metrics_of(task)[0].name,
        "metrics": measured,
        "confusion": None,
        "per_class": [],
        "curves": {},
        "residuals": {},
        "history": [dict(entry) for entry in history],
    }
    report |= _residuals(y_n, scores, seed) if task == "regression" else _class_report(labels, y_n, scores)
    report["warnings"] = [
        *_warnings(task, labels, y_n, scores, trivial, baseline, measured, train_value, seed),
        *few_train_rows(train_rows),
    ]
    return report


def _truth(task: str, labels: Sequence[str], y_true: Array) -> Array:
    values_n = np.asarray(y_true)
    if task == "regression":
        return values_n.astype(np.float64)
    if values_n.dtype.kind in "OUS":
        place = {label: index for index, label in enumerate(labels)}
        return np.array([place[str(value)] for value in values_n], np.int64)
    return values_n.astype(np.int64)


def _scores(task: str, scores: Array) -> Array:
    values_nk = np.asarray(scores, np.float64)
    return values_nk.reshape(-1) if task == "regression" else values_nk


def _trivial(task: str, baseline: Array, rows: int) -> dict[str, Array]:
    """Constant answers by metric name; "" is the one for all others: the median suits MAE, the mean the rest."""
    if task == "regression":
        return {"": np.full(rows, baseline[0]), "mae": np.full(rows, baseline[1])}
    return {"": np.tile(np.asarray(baseline, np.float64), (rows, 1))}


def _measured(task: str, y_n: Array, scores: Array, trivial: Mapping[str, Array], seed: int) -> dict[str, Any]:
    once = np.ones((1, len(y_n)))
    drawn: dict[str, list[Array]] = {metric.name: [] for metric in metrics_of(task)}
    columns = scores.shape[1] if scores.ndim == 2 else 1
    for w_rn in resamples(len(y_n), seed, columns):
        for metric in metrics_of(task):
            drawn[metric.name].append(metric.formula(y_n, scores, w_rn))
    result = {}
    for metric in metrics_of(task):
        value = float(metric.formula(y_n, scores, once)[0])
        simple = float(metric.formula(y_n, trivial.get(metric.name, trivial[""]), once)[0])
        low, high = _interval(np.concatenate(drawn[metric.name]), value)
        numbers = {"value": value, "low": low, "high": high, "baseline": simple}
        result[metric.name] = {
            **{name: number if np.isfinite(number) else None for name, number in numbers.items()},
            "better": metric.better,
            "label": metric.label,
        }
    return result


def _interval(drawn_r: Array, value: float) -> tuple[float, float]:
    finite = drawn_r[np.isfinite(drawn_r)]
    if not len(finite) or not np.isfinite(value):
        return float("nan"), float("nan")
    low, high = np.percentile(finite, INTERVAL)
    return min(float(low), value), max(float(high), value)


def _class_report(labels: Sequence[str], y_n: Array, p_nk: Array) -> dict[str, Any]:
    matrix = confusion(y_n, p_nk.argmax(1), len(labels))
    hits, truth, guessed = np.diag(matrix), matrix.sum(1), matrix.sum(0)
    rates = hits / np.maximum(guessed, 1), hits / np.maximum(truth, 1), 2 * hits / np.maximum(truth + guessed, 1)
    return {
        "confusion": {"labels": list(labels), "matrix": matrix.tolist()},
        "per_class": [
            {"label": label, "precision": float(p), "recall": float(r), "f1": float(f), "rows": int(rows)}
            for label, p, r, f, rows in zip(labels, *rates, truth, strict=True)
        ],
        "curves": curves(y_n, p_nk),
    }


def curves(y_n: Array, p_nk: Array) -> dict[str, Any]:
    """ROC of two classes, and calibration: of the positive class, or of the most probable of many."""
    if p_nk.shape[1] > 2:
        return {"calibration": calibration(p_nk.argmax(1) == y_n, p_nk.max(1))}
    return {"roc": roc(y_n == 1, p_nk[:, 1]), "calibration": calibration(y_n == 1, p_nk[:, 1])}


def roc(positive_n: Array, score_n: Array) -> dict[str, list[float]]:
    """False and true positive rates as the threshold falls, from (0, 0) to (1, 1)."""
    order = np.argsort(-score_n, kind="stable")
    ends = np.flatnonzero(np.r_[np.diff(score_n[order]) < 0, True])
    tpr, fpr = (np.r_[0.0, np.cumsum(hit[order])[ends] / max(hit.sum(), 1)] for hit in (positive_n, ~positive_n))
    keep = np.unique(np.linspace(0, len(ends), CURVE_POINTS).round().astype(int))
    return {"fpr": fpr[keep].tolist(), "tpr": tpr[keep].tolist()}


def calibration(hit_n: Array, score_n: Array) -> dict[str, list[float]]:
    """Mean score and observed share in bins of equally many rows."""
    order = np.argsort(score_n, kind="stable")
    bins = [part for part in np.array_split(order, CALIBRATION_BINS) if len(part)]
    return {
        "predicted": [float(score_n[part].mean()) for part in bins],
        "observed": [float(hit_n[part].mean()) for part in bins],
        "rows": [len(part) for part in bins],
    }


def _residuals(y_n: Array, value_n: Array, seed: int) -> dict[str, Any]:
    rows = np.sort(np.random.default_rng(seed).permutation(len(y_n))[:RESIDUALS])
    return {"residuals": {"actual": y_n[rows].tolist(), "predicted": value_n[rows].tolist()}}


def _warnings(
    task: str,
    labels: Sequence[str],
    y_n: Array,
    scores: Array,
    trivial: Mapping[str, Array],
    baseline: Array,
    measured: Mapping[str, Any],
    train_value: float | None,
    seed: int,
) -> list[dict[str, str]]:
    primary = metrics_of(task)[0]
    gain_n = row_losses(task, y_n, trivial[""]) - row_losses(task, y_n, scores)
    found = {
        "FEW_TEST_ROWS": _few_rows(len(y_n)),
        "RARE_CLASS": "" if task == "regression" else _rare_class(labels, baseline),
        "NOT_BETTER_THAN_BASELINE": _no_gain(primary, measured[primary.name], gain_n, seed),
        "OVERFIT": _overfit(primary, measured[primary.name], train_value),
    }
    return [{"code": code, "message": message} for code, message in found.items() if message]


def few_train_rows(rows: int | None) -> list[dict[str, str]]:
    """The warning that there are too few training rows, if there are."""
    if rows is None or rows >= FEW_TRAIN_ROWS:
        return []
    message = f"Only {rows} training rows: another sample of rows would give a noticeably other model."
    return [{"code": "FEW_TRAIN_ROWS", "message": message}]


def _few_rows(rows: int) -> str:
    if rows >= FEW_ROWS:
        return ""
    return f"Only {rows} test rows: the intervals are wide, do not choose between models by small differences."


def _rare_class(labels: Sequence[str], share_k: Array) -> str:
    """A class below a tenth of the rows, and below half its even share where there are many classes."""
    below = RARE if len(labels) == 2 else min(RARE, 0.5 / len(labels))
    rare = [int(k) for k in np.flatnonzero(share_k < below)]
    if not rare:
        return ""
    named = ", ".join(f"{labels[k]!r} ({share_k[k]:.1%})" for k in sorted(rare, key=lambda k: share_k[k])[:5])
    more = f" and {len(rare) - 5} more" if len(rare) > 5 else ""
    top = int(np.argmax(share_k))
    return (
        f"Rare: {named}{more}. Accuracy misleads: a model that always answers {labels[top]!r} scores "
        f"{share_k[top]:.2f}; look at AUC and recall."
    )


def _no_gain(primary: Metric, numbers: Mapping[str, Any], gain_n: Array, seed: int) -> str:
    """Row by row against the trivial model, so that the spread common to both does not hide a real gain."""
    gains = np.concatenate([w_rn @ gain_n / len(gain_n) for w_rn in resamples(len(gain_n), seed)])
    if np.percentile(gains, INTERVAL[0]) > 0:
        return ""
    return (
        f"{primary.label} {_short(numbers['value'])} is not clearly better than {_short(numbers['baseline'])}, "
        "which a model that looks at nothing reaches."
    )


def _overfit(primary: Metric, numbers: Mapping[str, Any], train_value: float | None) -> str:
    """Half the loss on training rows: a gap beyond the interval, half the value, and a fiftieth of the baseline."""
    if train_value is None or numbers["low"] is None:
        return ""
    gap = numbers["value"] - train_value
    if numbers["low"] <= train_value or gap < 0.5 * numbers["value"] or gap < 0.02 * numbers["baseline"]:
        return ""
    return (
        f"{primary.label} is {_short(train_value)} on the training rows and {_short(numbers['value'])} on the test "
        "rows: the model has learned rows by heart. More rows, more dropout or more weight decay help."
    )


def _short(value: float | None) -> str:
    """Four significant digits as people write them: 0.3512, 11,210."""
    return "undefined" if value is None else f"{float(f'{value:.4g}'):,.10g}"
