"""What every column added to a prediction, from the gradient function that stands in the bundle beside the model.

The contributions of a row sum to its prediction minus the baseline. Axes: n rows, f features, c columns, k labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tidemill.core.errors import NotFound, SchemaMismatch
from tidemill.serving.predictor import Array, Predictor, Row, short

CHUNK_VALUES = 1 << 16  # features per run: the graph follows some 16 steps a row and keeps their activations


def explain(
    predictor: Predictor, rows: Sequence[Row], target: str | None = None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Predictions and explanations of rows, for one label or (None) for the label predicted for each row."""
    chosen = _position(predictor, target)
    x_nf = predictor.program.x_of_rows(rows)
    score_nk = predictor.scores(x_nf)
    target_n = score_nk.argmax(axis=1) if chosen is None else np.full(len(x_nf), chosen)
    contribution_nf, prediction_n, baseline_n = _run(
        predictor, x_nf, np.eye(score_nk.shape[1], dtype=np.float32)[target_n]
    )
    contribution_nc = by_column(contribution_nf, predictor.program.owner_f, len(predictor.program.columns))
    explanations = [
        {
            "target": predictor.labels[best] if predictor.labels else predictor.target,
            "baseline": short(baseline),
            "prediction": short(prediction),
            "contributions": _sorted(predictor.program.columns, row, contribution_c),
        }
        for row, best, baseline, prediction, contribution_c in zip(
            rows, target_n.tolist(), baseline_n.tolist(), prediction_n.tolist(), contribution_nc.tolist(), strict=True
        )
    ]
    return predictor.answers(score_nk), explanations


def by_column(contribution_nf: Array, owner_f: Array, columns: int) -> Array:
    """Sum the contributions of the features that one column owns; features of a column stand side by side."""
    contribution_nc = np.zeros((len(contribution_nf), columns))
    starts = np.flatnonzero(np.diff(owner_f, prepend=-1))
    contribution_nc[:, owner_f[starts]] = np.add.reduceat(contribution_nf.astype(np.float64), starts, axis=1)
    return contribution_nc


def _position(predictor: Predictor, target: str | None) -> int | None:
    if not predictor.explainable:
        raise NotFound("This version has no explanations.", code="NO_EXPLANATIONS", remedy="Train the model again.")
    if target is None:
        return None
    names = list(predictor.labels) or [predictor.target]
    if target not in names:
        raise SchemaMismatch(
            f"{target[:80]!r} is no label of the model.",
            code="UNKNOWN_LABEL",
            remedy=f"Labels are {', '.join(map(repr, names[:20]))}; leave target out for the predicted one.",
        )
    return names.index(target)


def _run(predictor: Predictor, x_nf: Array, target_nk: Array) -> tuple[Array, Array, Array]:
    step = max(1, CHUNK_VALUES // max(1, x_nf.shape[1]))
    wanted = ["contributions", "prediction", "baseline"]
    parts = [
        predictor.explain_session.run(wanted, {"x": x_nf[i : i + step], "target": target_nk[i : i + step]})
        for i in range(0, len(x_nf), step)
    ]
    contribution_nf, prediction_n, baseline_n = (np.concatenate(part) for part in zip(*parts, strict=True))
    return contribution_nf, prediction_n, baseline_n


def _sorted(columns: Sequence[str], row: Row, contribution_c: list[float]) -> list[dict[str, Any]]:
    told = [
        {"column": column, "value": row[column], "contribution": short(contribution)}
        for column, contribution in zip(columns, contribution_c, strict=True)
    ]
    return sorted(told, key=lambda item: -abs(item["contribution"]))
