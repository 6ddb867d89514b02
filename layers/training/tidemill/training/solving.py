"""Convex models, solved instead of trained by steps, on sparse or dense inputs: SciPy's L-BFGS (Liu and Nocedal 1989).

What is minimised is the mean loss over the rows by their weights, plus strength / 2 times the sum of squared weights
(not of the biases): softmax cross entropy for classes, squared error of the standardised target for numbers.

Axes: n rows, v columns, k outputs.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse, special

Array = NDArray[Any]
ROUNDS = 200
SMALLEST = 1e-6  # deviation, of a column's largest value: below it is rounding
ENOUGH = 1e-5  # of the gradient's largest entry


def table_of(bag_nm: Array, weight_nm: Array, columns: int) -> Any:
    """Padded bags as a sparse table [n, v]; column 0 is padding and stays empty."""
    real_nm = (bag_nm > 0) & (weight_nm != 0)
    ends = np.concatenate([[0], np.cumsum(real_nm.sum(1))])
    return sparse.csr_matrix((weight_nm[real_nm].astype(np.float64), bag_nm[real_nm], ends), (len(bag_nm), columns))


def solved(
    x_nv: Any,
    target_nk: Array,
    weight_n: Array,
    strength: float,
    classes: bool,
    begin: tuple[Array, Array] | None = None,
) -> tuple[Array, Array]:
    """Weights [v, k] and biases [k] at the minimum; `begin` is where to start, such as a neighbouring strength's end.

    `target` holds the share of each class, or standardised values [n, 1].
    """
    columns, outputs = x_nv.shape[1], target_nk.shape[1]
    share_n = (weight_n / weight_n.sum())[:, None]
    x_vn = x_nv.T.tocsr() if sparse.issparse(x_nv) else x_nv.T

    def told(flat: Array) -> tuple[float, Array]:
        w_vk, b_k = flat[:-outputs].reshape(columns, outputs), flat[-outputs:]
        out_nk = x_nv @ w_vk + b_k
        if classes:
            log_nk = out_nk - special.logsumexp(out_nk, axis=1, keepdims=True)
            loss, slope_nk = -(share_n * target_nk * log_nk).sum(), share_n * (np.exp(log_nk) - target_nk)
        else:
            loss, slope_nk = (share_n * np.square(out_nk - target_nk)).sum() / 2, share_n * (out_nk - target_nk)
        slope_vk = x_vn @ slope_nk + strength * w_vk
        return float(loss + strength / 2 * np.square(w_vk).sum()), np.concatenate([slope_vk.ravel(), slope_nk.sum(0)])

    start = np.zeros((columns + 1) * outputs) if begin is None else np.concatenate([begin[0].ravel(), begin[1]])
    options = {"maxiter": ROUNDS, "gtol": ENOUGH / 10}
    end = optimize.minimize(told, start, jac=True, method="L-BFGS-B", options=options).x
    return end[:-outputs].reshape(columns, outputs), end[-outputs:]


def on_standardised(
    x_nv: Array, target_nk: Array, weight_n: Array, strength: float, classes: bool
) -> tuple[Array, Array]:
    """What `solved` gives for columns of mean 0 and deviation 1, told for the columns as they are."""
    mean_v, unit_v = standard(x_nv)
    w_vk, b_k = solved((x_nv - mean_v) / unit_v, target_nk, weight_n, strength, classes)
    w_vk = w_vk / unit_v[:, None]
    return w_vk, b_k - mean_v @ w_vk


def standard(x_nv: Array) -> tuple[Array, Array]:
    """The mean and the deviation of each column [v]; infinite for a column that says nothing."""
    unit_v = x_nv.std(0, dtype=np.float64)
    unit_v = np.where(unit_v > SMALLEST * np.abs(x_nv).max(0, initial=0), unit_v, np.inf)
    return x_nv.mean(0, dtype=np.float64), unit_v


def log_ratios(x_nv: Any, class_n: Array, outputs: int, smooth: float = 1.0) -> Array:
    """How much more often a class has each column than others do, as logarithms [v, k] (Wang and Manning 2012)."""
    in_vk = np.stack([np.asarray(x_nv[class_n == k].sum(0)).ravel() for k in range(outputs)], 1) + smooth
    out_vk = in_vk.sum(1, keepdims=True) - in_vk + smooth
    ratio: Array = np.log((in_vk / in_vk.sum(0)) / (out_vk / out_vk.sum(0)))
    return ratio
