"""Greedy ensemble selection: which configurations to average, and with what shares, by what held-out rows say.

Caruana et al., "Ensemble Selection from Libraries of Models" (ICML 2004): starting from nothing, the member whose
addition (with replacement) makes the average best is added, again and again; the best average on the way is taken.
Where held-out rows are few, the plain model (or the frozen network that a user gave) keeps its place unless another is
better by more than DOUBT standard errors of the rows' differences (after Breiman et al., "Classification and Regression
Trees", 1984, section 3.4.3, who take one for one rival; here there are a dozen).

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
DOUBTED_ROWS = 200  # below, what beats the plain model must do so beyond doubt
DOUBT = 2.0  # standard errors


def loss_of(task: str, y_n: Array, answer_nk: Array, loss: str = "auto", weight_n: Array | None = None) -> float:
    """What is watched (see losses.watched) on rows weighed as in training; infinite for answers that are no numbers."""
    if not np.isfinite(answer_nk).all():
        return float("inf")
    mean = float(np.average(_losses(task, y_n, answer_nk, loss), weights=weight_n))
    return mean**0.5 if watched(task, loss) == "RMSE" else mean


def _losses(task: str, y_n: Array, answer_nk: Array, loss: str) -> Array:
    if watched(task, loss) == "MAE":
        missed: Array = np.abs(answer_nk[:, 0] - y_n)
        return missed
    return row_losses(task, y_n, answer_nk)


def shares_of(
    task: str,
    y_n: Array,
    answers_p: Sequence[Array],
    loss: str = "auto",
    weight_n: Array | None = None,
    plain: Sequence[int] = (),
) -> list[float]:
    """The share of each configuration; they sum to one. Raises ValueError where no configuration gives numbers.

    `plain` names the configurations that keep their place on few rows.
    """
    share_p = _shares(task, y_n, answers_p, loss, weight_n)
    alone = [loss_of(task, y_n, answers_p[place], loss, weight_n) for place in plain]
    if len(y_n) < DOUBTED_ROWS and np.isfinite(alone).any() and share_p[list(plain)].sum() != 1:
        first = plain[int(np.argmin(alone))]
        blend_nk = sum(share * answer_nk for share, answer_nk in zip(share_p, answers_p, strict=True) if share)
        gain_n = _losses(task, y_n, answers_p[first], loss) - _losses(task, y_n, np.asarray(blend_nk), loss)
        gain_n = gain_n * (1 if weight_n is None else weight_n)
        if gain_n.sum() <= DOUBT * gain_n.std() * len(gain_n) ** 0.5:
            share_p = np.eye(len(answers_p))[first]
    return [float(share) for share in share_p]


def _shares(task: str, y_n: Array, answers_p: Sequence[Array], loss: str, weight_n: Array | None) -> Array:
    alone = [loss_of(task, y_n, answer_nk, loss, weight_n) for answer_nk in answers_p]
    best = int(np.argmin(alone))
    if not np.isfinite(alone[best]):
        raise ValueError("no configuration answers with numbers")
    only: Array = np.eye(len(alone))[best]
    if len(y_n) < FEW_ROWS:
        return only
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
    return only if kept_loss > alone[best] * (1 - LEAST_GAIN) else kept_p / kept_p.sum()
