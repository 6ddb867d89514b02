"""How good are the answers now? Estimated without labels where they are probabilities, measured where labels came.

Axes: n rows, k labels.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tidemill.core import pvalues

Array = np.ndarray[Any, Any]

Z = 1.96  # both sides of 95 %
LEAST_LABELS = 50  # fewer are shown and alarm nobody

BLIND_SPOT = (
    "The estimate takes the model's probabilities at their word. It sees that rows have become harder. It does not see "
    "that the same rows now have other answers, nor that the model is sure and wrong in a region it never learned. "
    "Only labels show that: send them to POST /models/{model}/feedback."
)
NO_ESTIMATE = (
    "Of values nothing says how sure each one is in a way that could be added up, so without labels nothing is "
    "estimated. Send labels to POST /models/{model}/feedback."
)

Told = dict[str, Any]


def held_out(task: str, score_n: Array, truth_n: Array) -> Told:
    """What the version reached on test rows it had not seen: the value, its interval, and what each row lost."""
    return _measured(task, score_n, truth_n)


def estimated(p_nk: Array, test_nk: Array, truth_n: Array) -> Told:
    """Accuracy expected from the probabilities alone, corrected by how far they were off on the test rows.

    Confidence-based performance estimation (NannyML's CBPE): a calibrated probability of 0.8 is right in eight rows of
    ten. The interval holds the luck of these rows and what the test rows leave open of the calibration.
    """
    best_n, test_n = p_nk.max(1), test_nk.max(1)
    gap_n = (test_nk.argmax(1) == truth_n) - test_n
    error = math.sqrt(float((best_n * (1 - best_n)).sum()) / len(best_n) ** 2 + float(gap_n.var()) / len(gap_n))
    value = float(best_n.mean() + gap_n.mean())
    return {"value": _share(value), "low": _share(value - Z * error), "high": _share(value + Z * error)}


def realised(task: str, score_n: Array, truth_n: Array, test: Told) -> Told:
    """What the labelled rows say, and the chance of losing so much more than on the test rows by luck alone."""
    found = _measured(task, score_n, truth_n)
    ours, theirs = found["losses"], test["losses"]
    worse = float(ours.mean() - theirs.mean())
    error = math.sqrt(float(ours.var()) / len(ours) + float(theirs.var()) / max(1, len(theirs)))
    enough = len(ours) >= LEAST_LABELS and error > 0
    return {**found, "worse_by": worse, "p": pvalues.normal(worse / error) if enough else 1.0}


def _measured(task: str, score_n: Array, truth_n: Array) -> Told:
    """Accuracy, or the root of the mean squared error, with its interval; and the losses of the rows."""
    if task == "regression":
        losses = np.square(np.asarray(score_n, np.float64) - truth_n)
        mean, error = float(losses.mean()), Z * float(losses.std()) / math.sqrt(len(losses))
        value, low, high = (math.sqrt(max(0.0, part)) for part in (mean, mean - error, mean + error))
        name = "root mean squared error"
    else:
        hit_n = score_n.argmax(1) == truth_n
        losses = -np.log(np.clip(score_n[np.arange(len(truth_n)), truth_n].astype(np.float64), 1e-7, 1))
        value = float(hit_n.mean())
        low, high = _wilson(int(hit_n.sum()), len(hit_n))
        name = "accuracy"
    found = {"measure": name, "value": value, "low": low, "high": high, "rows": len(truth_n)}
    return {**found, "loss": float(losses.mean()), "losses": losses}


def _wilson(hits: int, rows: int) -> tuple[float, float]:
    """Wilson's interval of a share (JASA 22, 1927)."""
    share, square = hits / rows, Z * Z / rows
    middle = (share + square / 2) / (1 + square)
    half = Z * math.sqrt(share * (1 - share) / rows + square / rows / 4) / (1 + square)
    return max(0.0, middle - half), min(1.0, middle + half)


def _share(value: float) -> float:
    return min(1.0, max(0.0, value))


def shown(told: Told | None) -> Told | None:
    """What a report keeps of it."""
    return None if told is None else {name: value for name, value in told.items() if name != "losses"}
