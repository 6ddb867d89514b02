"""Greedy ensemble selection: which configurations to average, and with what shares, by what held-out rows say.

Caruana et al., "Ensemble Selection from Libraries of Models" (ICML 2004): starting from nothing, the member whose
addition (with replacement) makes the average best is added, again and again; the best average on the way is taken.

Axes: p configurations, n held-out rows, k outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core.metrics import row_losses
from tidemill.training.losses import watched

Array = NDArray[Any]

TURNS = 24
LEAST_GAIN = 1e-3  # of the loss: a larger blend must earn its place
FEW_ROWS = 100  # below, held-out rows cannot tell blends apart


def loss_of(task: str, y_n: Array, answer_nk: Array, loss: str = "auto", weight_n: Array | None = None) -> float:
    """What is watched (see losses.watched) on rows weighed as in training; infinite for answers that are no numbers."""
    if not np.isfinite(answer_nk).all():
        return float("inf")
    measure = watched(task, loss)
    loss_n = np.abs(answer_nk[:, 0] - y_n) if measure == "MAE" else row_losses(task, y_n, answer_nk)
    mean = float(np.average(loss_n, weights=weight_n))
    return mean**0.5 if measure == "RMSE" else mean


def shares_of(
    task: str, y_n: Array, answers_p: Sequence[Array], loss: str = "auto", weight_n: Array | None = None
) -> list[float]:
    """The share of each configuration; they sum to one. Raises ValueError where no configuration gives numbers."""
    alone = [loss_of(task, y_n, answer_nk, loss, weight_n) for answer_nk in answers_p]
    best = int(np.argmin(alone))
    if not np.isfinite(alone[best]):
        raise ValueError("no configuration answers with numbers")
    only = np.eye(len(alone))[best]
    if len(y_n) < FEW_ROWS:
        return [float(share) for share in only]
    usable = [p for p, loss in enumerate(alone) if np.isfinite(loss)]
    count_p, kept_p, kept_loss = only.copy(), only.copy(), alone[best]
    total_nk = np.asarray(answers_p[best], np.float64).copy()
    for turn in range(2, TURNS + 1):
        losses = [loss_of(task, y_n, (total_nk + answers_p[p]) / turn, loss, weight_n) for p in usable]
        chosen = usable[int(np.argmin(losses))]
        count_p[chosen] += 1
        total_nk += answers_p[chosen]
        if min(losses) < kept_loss * (1 - LEAST_GAIN / TURNS):
            kept_p, kept_loss = count_p.copy(), min(losses)
    if kept_loss > alone[best] * (1 - LEAST_GAIN):
        kept_p = only
    return [float(share) for share in kept_p / kept_p.sum()]
