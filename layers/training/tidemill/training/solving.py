"""Convex models, solved instead of trained by steps, on sparse or dense inputs: SciPy's L-BFGS (Liu and Nocedal 1989).

What is minimised is the mean loss over the rows by their weights, plus strength / 2 times the sum of squared weights
(not of the biases): softmax cross entropy for classes, squared error of the standardised target for numbers.

Axes: n rows, v columns, k outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, sparse, special

from tidemill.training.devices import cores

Array = NDArray[Any]
ROUNDS = 200
SMALLEST = 1e-6  # deviation, of a column's largest value: below it is rounding
ENOUGH = 1e-6  # of the slope's largest entry


def table_of(bag_nm: Array, weight_nm: Array, columns: int) -> Any:
    """Padded bags as a sparse table [n, v]; column 0 is padding and stays empty."""
    real_nm = (bag_nm > 0) & (weight_nm != 0)
    ends = np.concatenate([[0], np.cumsum(real_nm.sum(1))])
    return sparse.csr_matrix((weight_nm[real_nm].astype(np.float64), bag_nm[real_nm], ends), (len(bag_nm), columns))


def solved(x_nv: Any, target_nk: Array, weight_n: Array, strength: float, classes: bool) -> tuple[Array, Array]:
    """Weights [v, k] and biases [k] at the minimum.

    `target` holds the share of each class, or standardised values [n, 1]. Two classes are solved as one output: their
    weights are each other's negatives at the minimum, so that half of their difference is all there is to find.
    """
    share_n = (weight_n / weight_n.sum())[:, None]
    if not classes:
        return _minimum(x_nv, partial(_squared, target_nk, share_n), target_nk.shape[1], strength)
    if target_nk.shape[1] != 2:
        return _minimum(x_nv, partial(_softmax, target_nk, share_n), target_nk.shape[1], strength)
    w_v1, b_1 = _minimum(x_nv, partial(_logistic, target_nk[:, 1:], share_n), 1, strength / 2)
    return np.hstack([-w_v1, w_v1]) / 2, np.concatenate([-b_1, b_1]) / 2


def _minimum(
    x_nv: Any, loss_of: Callable[[Array], tuple[float, Array]], outputs: int, strength: float
) -> tuple[Array, Array]:
    """Weights [v, k] and biases [k] where loss and pull are least; `loss_of` outputs [n, k] tells its slope, too."""
    columns = x_nv.shape[1]
    with ThreadPoolExecutor(cores()) as threads:
        forward, back = _products(x_nv, threads)

        def told(flat: Array) -> tuple[float, Array]:
            w_vk, b_k = flat[:-outputs].reshape(columns, outputs), flat[-outputs:]
            loss, slope_nk = loss_of(forward(w_vk) + b_k)
            slope_vk = back(slope_nk) + strength * w_vk
            return float(loss + strength / 2 * np.vdot(w_vk, w_vk)), np.append(slope_vk, slope_nk.sum(0))

        start, options = np.zeros((columns + 1) * outputs), {"maxiter": ROUNDS, "gtol": ENOUGH}
        end = optimize.minimize(told, start, jac=True, method="L-BFGS-B", options=options).x
    return end[:-outputs].reshape(columns, outputs), end[-outputs:]


def _products(x_nv: Any, threads: ThreadPoolExecutor) -> tuple[Callable[[Array], Array], Callable[[Array], Array]]:
    """x @ w [n, k] and x.T @ s [v, k]; of a sparse x in parts, one for each core, with the same bits for any number."""
    if not sparse.issparse(x_nv):
        return (lambda w_vk: x_nv @ w_vk), (lambda slope_nk: x_nv.T @ slope_nk)

    def product(table: Any) -> Callable[[Array], Array]:
        ends = np.linspace(0, table.shape[0], cores() + 1).astype(int)
        parts = [table[begin:end] for begin, end in pairwise(ends)]
        return lambda by: np.concatenate(list(threads.map(lambda part: part @ by, parts)))

    return product(x_nv), product(x_nv.T.tocsr())


def _squared(target_nk: Array, share_n: Array, out_nk: Array) -> tuple[float, Array]:
    apart_nk = out_nk - target_nk
    return float((share_n * np.square(apart_nk)).sum() / 2), share_n * apart_nk


def _softmax(target_nk: Array, share_n: Array, out_nk: Array) -> tuple[float, Array]:
    log_nk = special.log_softmax(out_nk, axis=1)
    return -float((share_n * target_nk * log_nk).sum()), share_n * (np.exp(log_nk) - target_nk)


def _logistic(target_n1: Array, share_n: Array, out_n1: Array) -> tuple[float, Array]:
    """Of one output, the logarithm of how much likelier the second class is."""
    loss = (share_n * (np.logaddexp(0, out_n1) - target_n1 * out_n1)).sum()
    return float(loss), share_n * (special.expit(out_n1) - target_n1)


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
