"""The rows that explanations start from: few, and together as much like all training rows as few rows can be.

Contributions compare a row with the mean over a background, so what a background must get right is the mean of what
the columns do to the answer. A ridge regression says roughly what that is; rows are then exchanged until the means of
its terms, and of their squares, are as near to those of all rows as exchanges bring them (herding: Chen, Welling and
Smola, arXiv 1203.3472, by exchange instead of in a row).

Axes: n rows, f features, k outputs, t terms to be matched, B background rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

BACKGROUND = 32  # rows
LOOKED = 1_000  # training rows to choose from
SWEEPS = 3  # exchanges of every row
RIDGE = 0.01  # of the rows, in squared standard deviations of the features
SQUARES = 0.5  # how much the mean of a term's square counts beside its mean


def background(x_nf: Array, answer_nk: Array, seed: int) -> Array:
    """Training rows, lowest answer first; all of them where they are few."""
    rng = np.random.default_rng(seed)
    if len(x_nf) > LOOKED:
        at = np.sort(rng.choice(len(x_nf), LOOKED, replace=False))
        x_nf, answer_nk = x_nf[at], answer_nk[at]
    term_nt = terms(x_nf.astype(np.float64), answer_nk.astype(np.float64))
    chosen = alike(term_nt, min(BACKGROUND, len(x_nf)), rng)
    from_lowest_bf: Array = x_nf[sorted(chosen, key=lambda row: (answer_nk[row, -1], row))]
    return from_lowest_bf


def terms(x_nf: Array, answer_nk: Array) -> Array:
    """What a background is matched in: terms of a linear model of the answer, their squares, and the answer itself."""
    apart_nf, apart_nk = x_nf - x_nf.mean(0), answer_nk - answer_nk.mean(0)
    apart_nk = apart_nk / (apart_nk.std(0) + 1e-9)
    gram_nn = apart_nf @ apart_nf.T + RIDGE * len(x_nf) * np.eye(len(x_nf))
    slope_fk = apart_nf.T @ np.linalg.solve(gram_nn, apart_nk)
    term_nt = np.concatenate([apart_nf * np.linalg.norm(slope_fk, axis=1), apart_nk], axis=1)
    return np.concatenate([term_nt, SQUARES * np.square(term_nt) / (term_nt.std(0) + 1e-9)], axis=1)


def alike(term_nt: Array, count: int, rng: np.random.Generator) -> list[int]:
    """Rows whose mean is near the mean of all: drawn, then each exchanged for the best other one, a few times over."""
    mean_t = term_nt.mean(0)
    chosen: list[int] = rng.choice(len(term_nt), count, replace=False).tolist()
    for turn in range(SWEEPS * count):
        kept = chosen[: turn % count] + chosen[turn % count + 1 :]
        missing_t = count * mean_t - term_nt[kept].sum(0)
        distance_n = np.square(term_nt - missing_t).sum(1)
        distance_n[kept] = np.inf
        chosen[turn % count] = int(distance_n.argmin())
    return chosen
