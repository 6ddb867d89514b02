"""Probabilities that mean what they say: a correction of one or two numbers, fitted on rows the model has not seen.

Axes: n rows, k classes, t parameters.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from tidemill.core.errors import BadBundle

Array = np.ndarray[Any, Any]
Method = Literal["none", "platt", "temperature"]
Derivatives = Callable[[Array], tuple[float, Array, Array]]

EPSILON = 2.0**-23  # of float32, as which probabilities leave the model; below it a logarithm means little
FEW = 10  # rows of a class (of all wrong answers, for many classes) below which nothing is fitted
STEEPEST = 20.0  # a larger factor than this is no correction but a separation
NEWTON_STEPS = 50
BINS = 15
DRAWS = 50


@dataclass(frozen=True)
class Calibration:
    """What turns a model's probabilities into honest ones.

    platt: p(positive) = 1 / (1 + exp(-(a z + b))) with z its logit (Platt 1999).
    temperature: softmax of a log p, which is Guo's temperature 1 / a (arXiv 1706.04599); b is unused.
    """

    method: Method = "none"
    a: float = 1.0
    b: float = 0.0

    def apply(self, p_nk: Array) -> Array:
        """Corrected probabilities, float64 [n, k]; with "none" the given ones. The order of two classes is kept."""
        given_nk = np.asarray(p_nk, np.float64)
        if self.method == "none":
            return given_nk
        if self.method == "platt":
            return _two(self.a * logits(given_nk) + self.b)
        return _softmax(self.a * _logs(given_nk))

    def to_json(self) -> dict[str, Any]:
        """The correction as plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Calibration:
        """Read what to_json wrote; raises BadBundle for anything else."""
        method, numbers = value.get("method"), [value.get("a"), value.get("b")]
        known = method in ("none", "platt", "temperature")
        if not known or not all(isinstance(item, (int, float)) and math.isfinite(item) for item in numbers):
            raise BadBundle(f"{dict(value)!r:.200} is no calibration.", remedy="Train the model again.")
        return cls(method, float(numbers[0]), float(numbers[1]))  # type: ignore[arg-type]


def fit(y_n: Array, p_nk: Array, weight_n: Array | None = None) -> Calibration:
    """The correction that lowers the log loss of held-out rows; y_n holds class numbers.

    "none" where rows are few, one class is missing, the classes are separated, or the gain is no more than that many
    parameters reach on any rows (Akaike 1974): never worse than none on its own rows.
    """
    y_n, p_nk = np.asarray(y_n, np.int64), np.asarray(p_nk, np.float64)
    w_n = np.ones(len(y_n)) if weight_n is None else np.asarray(weight_n, np.float64)
    if p_nk.ndim != 2 or p_nk.shape[1] < 2 or not _enough(y_n, p_nk, w_n):
        return Calibration()
    w_n = w_n * (np.count_nonzero(w_n) / w_n.sum())
    found = _platt(y_n, p_nk, w_n) if p_nk.shape[1] == 2 else _temperature(y_n, p_nk, w_n)
    gain = _loss(y_n, p_nk, w_n) - _loss(y_n, found.apply(p_nk), w_n)
    parameters = 2 if found.method == "platt" else 1
    return found if 0 < found.a <= STEEPEST and gain > parameters else Calibration()


def expected_calibration_error(y_n: Array, p_nk: Array, bins: int = BINS) -> float:
    """Mean gap between probability and observed share over bins of equally many rows (Naeini 2015, Nguyen 2015).

    Of the second of two classes; of the most probable of many. 0 is best; see calibration_floor for what is reachable.
    """
    hit_n, score_n = _event(np.asarray(y_n), np.asarray(p_nk, np.float64))
    order = np.argsort(score_n, kind="stable")
    return _gap(hit_n[order].astype(np.float64), score_n[order], bins)


def calibration_floor(p_nk: Array, *, seed: int = 0, bins: int = BINS, draws: int = DRAWS) -> float:
    """The error that a perfectly calibrated model with these probabilities shows on as many rows, by chance alone."""
    p_nk = np.asarray(p_nk, np.float64)
    score_n = np.sort(p_nk[:, 1] if p_nk.shape[1] == 2 else p_nk.max(1), kind="stable")
    rng = np.random.default_rng(seed)
    return float(np.mean([_gap(rng.random(len(score_n)) < score_n, score_n, bins) for _ in range(draws)]))


def logits(p_nk: Array) -> Array:
    """log p(positive) - log p(negative), each held above EPSILON, float64 [n]."""
    log_nk = _logs(p_nk)
    return np.asarray(log_nk[:, 1] - log_nk[:, 0])


def _logs(p_nk: Array) -> Array:
    return np.asarray(np.log(np.clip(p_nk, EPSILON, 1.0)))


def _two(z_n: Array) -> Array:
    return _softmax(np.stack([np.zeros_like(z_n), z_n], 1))


def _softmax(z_nk: Array) -> Array:
    e_nk = np.exp(z_nk - z_nk.max(1, keepdims=True))
    return np.asarray(e_nk / e_nk.sum(1, keepdims=True))


def _loss(y_n: Array, p_nk: Array, w_n: Array) -> float:
    """Total of -log p of the true class, in nats."""
    return float(-(w_n @ _logs(p_nk)[np.arange(len(y_n)), y_n]))


def _enough(y_n: Array, p_nk: Array, w_n: Array) -> bool:
    """Whether the rows can tell a correction: enough of both sides, and no threshold that parts them."""
    used_n = w_n > 0
    y_n, p_nk = y_n[used_n], p_nk[used_n]
    if p_nk.shape[1] > 2:
        wrong_n = p_nk.argmax(1) != y_n
        return bool(min(wrong_n.sum(), (~wrong_n).sum()) >= FEW)
    counts, z_n = np.bincount(y_n, minlength=2), logits(p_nk)
    return bool(counts.min() >= FEW and z_n[y_n == 0].max() >= z_n[y_n == 1].min())


def _platt(y_n: Array, p_nk: Array, w_n: Array) -> Calibration:
    """Logistic regression on the logit, with Platt's targets: as if each class had been seen once more."""
    z_n = logits(p_nk)
    many = np.array([w_n[y_n == 0].sum(), w_n[y_n == 1].sum()])
    goal_n = np.where(y_n == 1, (many[1] + 1) / (many[1] + 2), 1 / (many[0] + 2))
    x_nt = np.stack([z_n, np.ones_like(z_n)], 1)

    def derivatives(theta_t: Array) -> tuple[float, Array, Array]:
        s_n = x_nt @ theta_t
        p_n = _two(s_n)[:, 1]
        value = float(w_n @ (np.logaddexp(0.0, s_n) - goal_n * s_n))
        return value, x_nt.T @ (w_n * (p_n - goal_n)), (x_nt.T * (w_n * p_n * (1 - p_n))) @ x_nt

    a, b = _newton(np.array([1.0, 0.0]), derivatives).tolist()
    return Calibration("platt", a, b)


def _temperature(y_n: Array, p_nk: Array, w_n: Array) -> Calibration:
    log_nk = _logs(p_nk)
    true_n = log_nk[np.arange(len(y_n)), y_n]

    def derivatives(theta_t: Array) -> tuple[float, Array, Array]:
        q_nk = _softmax(theta_t[0] * log_nk)
        mean_n = (q_nk * log_nk).sum(1)
        spread_n = (q_nk * np.square(log_nk)).sum(1) - np.square(mean_n)
        top_n = (theta_t[0] * log_nk).max(1)
        total_n = top_n + np.log(np.exp(theta_t[0] * log_nk - top_n[:, None]).sum(1))
        value = float(w_n @ (total_n - theta_t[0] * true_n))
        return value, np.array([w_n @ (mean_n - true_n)]), np.array([[w_n @ spread_n]])

    return Calibration("temperature", float(_newton(np.array([1.0]), derivatives)[0]))


def _newton(theta_t: Array, derivatives: Derivatives) -> Array:
    """Newton's method with halved steps on a convex function (Lin, Lin and Weng 2007)."""
    value, slope_t, bend_tt = derivatives(theta_t)
    for _ in range(NEWTON_STEPS):
        step_t = np.linalg.solve(bend_tt + 1e-9 * np.eye(len(theta_t)), slope_t)
        length = 1.0
        while length > 1e-6:
            tried_t = theta_t - length * step_t
            found = derivatives(tried_t)
            if found[0] <= value - 1e-4 * length * float(slope_t @ step_t):
                break
            length /= 2
        else:
            break
        moved = float(np.abs(tried_t - theta_t).max())
        theta_t, (value, slope_t, bend_tt) = tried_t, found
        if moved < 1e-9:
            break
    return theta_t


def _event(y_n: Array, p_nk: Array) -> tuple[Array, Array]:
    """What is judged: whether the positive class came, or whether the most probable one did, and its probability."""
    if p_nk.shape[1] == 2:
        return y_n == 1, p_nk[:, 1]
    return p_nk.argmax(1) == y_n, p_nk.max(1)


def _gap(hit_n: Array, score_n: Array, bins: int) -> float:
    """Rows sorted by score; the share-weighted gap over bins."""
    if not len(score_n):
        return 0.0
    ends = np.linspace(0, len(score_n), min(bins, len(score_n)) + 1).round().astype(int)[:-1]
    return float(np.abs(np.add.reduceat(hit_n - score_n, ends)).sum() / len(score_n))
