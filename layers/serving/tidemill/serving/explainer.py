"""What every column, pixel or word added to a prediction, from the gradient function in the bundle beside the model.

The contributions of a row sum to its prediction minus the baseline.

Axes: n rows, f features, c columns, k labels, p places of a row (pixels; or n-grams, then tokens).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tidemill.core.errors import NotFound, SchemaMismatch
from tidemill.serving.feeds import Feed, Inputs, feeds, text_feeds
from tidemill.serving.predictor import Array, Predictor, Row, short

CHUNK_VALUES = 1 << 16  # features per run: the graph follows some 16 steps a row and keeps their activations
WANTED = ["contributions", "prediction", "baseline"]

Told = dict[str, Any]
Explained = tuple[list[Told], Array, Array]  # what is told of each row, predictions and baselines


def explain(predictor: Predictor, rows: Sequence[Row], target: str | None = None) -> tuple[list[Told], list[Told]]:
    """Predictions and explanations of rows, for one label or (None) for the label predicted for each row."""
    chosen = _position(predictor, target)
    x_n = predictor.read(rows)
    score_nk = predictor.scores(x_n)
    target_n = score_nk.argmax(axis=1) if chosen is None else np.full(len(score_nk), chosen)
    target_nk = np.eye(score_nk.shape[1], dtype=np.float32)[target_n]
    told_n, prediction_n, baseline_n = _WAYS[predictor.modality](predictor, rows, x_n, target_nk)
    explanations = [
        {
            "target": predictor.labels[best] if predictor.labels else predictor.target,
            "baseline": short(baseline),
            "prediction": short(prediction),
            **told,
        }
        for best, baseline, prediction, told in zip(
            target_n.tolist(), baseline_n.tolist(), prediction_n.tolist(), told_n, strict=True
        )
    ]
    return predictor.answers(score_nk, rows, x_n), explanations


def _columns(predictor: Predictor, rows: Sequence[Row], x_nf: Inputs, target_nk: Array) -> Explained:
    """Contributions by column, the largest first."""
    program = predictor.program
    found, prediction_n, baseline_n = _run(predictor, feeds(x_nf, _inputs(predictor), CHUNK_VALUES), target_nk)
    contribution_nc = by_column(np.concatenate(found), program.owner_f, len(program.columns))
    told = [
        {"contributions": _sorted(program.columns, row, contribution_c)}
        for row, contribution_c in zip(rows, contribution_nc.tolist(), strict=True)
    ]
    return told, prediction_n, baseline_n


def _pictures(predictor: Predictor, rows: Sequence[Row], x_nhwc: Inputs, target_nk: Array) -> Explained:
    """A heat-map over each picture, as base64 of a PNG, with its height and width."""
    from tidemill.core import heatmap  # tables and texts are explained without a library for pictures

    found, prediction_n, baseline_n = _run(predictor, feeds(x_nhwc, _inputs(predictor), CHUNK_VALUES), target_nk)
    height, width = x_nhwc.shape[1:3]
    shown = list(reversed(heatmap.shown_size(height, width)))
    told = [
        {"heatmap": base64.b64encode(heatmap.heat_png(x_hwc, value_p.reshape(height, width))).decode(), "size": shown}
        for x_hwc, value_p in zip(x_nhwc, np.concatenate(found), strict=True)
    ]
    return told, prediction_n, baseline_n


def _texts(predictor: Predictor, rows: Sequence[Row], texts: Inputs, target_nk: Array) -> Explained:
    """Contributions by token in the order of the text; each text is run alone, so that it is as wide as it needs."""
    from tidemill.core import highlight  # of no use to tables

    program, names = predictor.program, _inputs(predictor)
    alone = (feed for row in range(len(texts)) for feed in text_feeds(texts, np.array([row]), names))
    found, prediction_n, baseline_n = _run(predictor, alone, target_nk)
    told = []
    for row, value_1p in enumerate(found):
        text = str(rows[row][program.column])
        alone_1 = texts.padded(np.array([row]))
        marks, rest = highlight.marks(program, text, alone_1.bag_nm[0], value_1p[0], alone_1.seq_nt.shape[1])
        told.append({"contributions": [_shown(text, *mark) for mark in marks], "rest": short(rest)})
    return told, prediction_n, baseline_n


_WAYS = {"table": _columns, "picture": _pictures, "text": _texts}


def _shown(text: str, start: int, end: int, contribution: float) -> Told:
    """Start and end count characters as Unicode does, from 0."""
    return {"text": text[start:end], "start": start, "end": end, "contribution": short(contribution)}


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


def _inputs(predictor: Predictor) -> list[str]:
    """What the explanation graph reads of a row."""
    return [given.name for given in predictor.explain_session.get_inputs() if given.name != "target"]


def _run(predictor: Predictor, pieces: Iterable[Feed], target_nk: Array) -> tuple[list[Array], Array, Array]:
    """Contributions by piece, and predictions and baselines of all rows."""
    parts, first = [], 0
    for feed in pieces:
        last = first + len(next(iter(feed.values())))
        parts.append(predictor.explain_session.run(WANTED, {**feed, "target": target_nk[first:last]}))
        first = last
    found, predictions, baselines = zip(*parts, strict=True)
    return list(found), np.concatenate(predictions), np.concatenate(baselines)


def _sorted(columns: Sequence[str], row: Row, contribution_c: list[float]) -> list[Told]:
    told = [
        {"column": column, "value": row[column], "contribution": short(contribution)}
        for column, contribution in zip(columns, contribution_c, strict=True)
    ]
    return sorted(told, key=lambda item: -abs(item["contribution"]))
