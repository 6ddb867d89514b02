"""Predictions that say how far off they may be: an interval for a value, a set of labels for a class.

Axes: n rows, k labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tidemill.core import conformal
from tidemill.core.errors import BadBody, NotFound
from tidemill.serving.feeds import Inputs
from tidemill.serving.predictor import Predictor, Row, short

Item = dict[str, Any]


def predict(
    predictor: Predictor, rows: Sequence[Row], interval: float | None = None, label_set: float | None = None
) -> list[Item]:
    """Predictions of rows with "low" and "high", or with "set", that hold the truth in the asked share of rows.

    Raises BadBody for a level that was not fitted or of the wrong kind, NotFound for a version that has no levels.
    """
    asked = {"interval": interval, "set": label_set}
    found = [_found(predictor, name, level) for name, level in asked.items() if level is not None]
    x_n = predictor.read(rows)
    if not found:
        return predictor.answers(predictor.scores(x_n), rows, x_n)
    return (_intervals if predictor.task == "regression" else _sets)(predictor, rows, x_n, found[0])


def _found(predictor: Predictor, asked: str, level: float) -> float:
    """What was fitted for a level."""
    kind, given = ("interval", "values") if predictor.task == "regression" else ("set", "labels")
    if asked != kind:
        raise BadBody(
            f"{asked} is asked of a model that predicts {given}.",
            code="WRONG_KIND",
            remedy=f'Ask for "{kind}" instead.',
        )
    offered = predictor.outputs.offered if predictor.outputs else []
    if not predictor.outputs or not offered:
        why = f"too few rows were held out to learn {kind}s" if predictor.outputs else f"it learned no {kind}s"
        raise NotFound(f"This version gives no {kind}s: {why}.", code="NO_LEVELS", remedy="Train the model again.")
    found = predictor.outputs.levels.get(level)
    if found is None:
        raise BadBody(
            f"{asked} is {str(level)[:40]}, a level this version has not learned.",
            code="UNKNOWN_LEVEL",
            remedy=f"It is one of {', '.join(f'{item:g}' for item in offered)}.",
            levels=offered,
        )
    return found


def _intervals(predictor: Predictor, rows: Sequence[Row], x_n: Inputs, factor: float) -> list[Item]:
    """Values with both ends of their intervals."""
    learned = predictor.outputs
    names = ["value", "spread"] if learned and learned.normalised else ["value"]
    value_n1, *spread = predictor.run(names, x_n)
    least = learned.least if learned else None
    low_n, high_n = conformal.intervals(value_n1[:, 0], spread[0][:, 0] if spread else None, factor, least)
    ends = zip(low_n.tolist(), high_n.tolist(), strict=True)
    return [
        {**item, "low": short(low), "high": short(high)}
        for item, (low, high) in zip(predictor.answers(value_n1, rows, x_n), ends, strict=True)
    ]


def _sets(predictor: Predictor, rows: Sequence[Row], x_n: Inputs, threshold: float) -> list[Item]:
    """Labels with probabilities and the set they are in, the most probable first."""
    score_nk = predictor.scores(x_n)
    member_nk = conformal.sets(score_nk, threshold)
    order_nk = (-score_nk).argsort(axis=1, kind="stable")
    labels = predictor.labels
    return [
        {**item, "set": [labels[k] for k in order_k if member_k[k]]}
        for item, order_k, member_k in zip(
            predictor.answers(score_nk, rows, x_n), order_nk.tolist(), member_nk.tolist(), strict=True
        )
    ]
