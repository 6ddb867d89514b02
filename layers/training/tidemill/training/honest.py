"""From what a search found to a model with honest answers: calibrated, with sizes of error, levels and a decision rule.

Everything is learned on held-out rows. Where each fold's members hold out other rows, the average of all folds errs
less than any of them did; for numbers that gain is estimated and taken off (see `_shrink`).

Axes: n rows, g groups (folds), k outputs.
"""

from __future__ import annotations

import math
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from tidemill.core import calibration, decision
from tidemill.core import outputs as core_outputs
from tidemill.core.outputs import Outputs
from tidemill.core.spec import Spec
from tidemill.training import losses, spread
from tidemill.training.dataset import Dataset
from tidemill.training.evaluate import Model, in_blocks
from tidemill.training.search import Found, Pool

Array = NDArray[Any]
LEAST_SHRINK = 0.7  # of the error's size: an average is never believed to be better than this


def complete(found: Found, pool: Pool, data: Dataset, spec: Spec) -> tuple[Model, Outputs]:
    """The model with its calibration and spread, and outputs.json."""
    task, labels = str(data.schema["task"]), list(data.schema["labels"])
    y_n, answer_nk = pool.y_n[found.held_n], found.answer_nk
    if task == "regression":
        unit = float(pool.y_n.std()) or 1.0
        model = Model(found.parts, found.scale, unit)
        value_n = answer_nk[:, 0]
        error_n = (y_n - value_n) * _shrink(model, pool, data.test.x_n, float(np.square(y_n - value_n).mean()))
        sizes = spread.fit(value_n, error_n)
        model = Model(found.parts, found.scale, unit, spread=sizes)
        honest = core_outputs.fit_outputs(
            task, labels, value_n + error_n, value_n, sizes.of(value_n), model.calibration, spec.decision
        )
        return model, honest
    corrected = calibration.fit(y_n, answer_nk, _balance(pool, spec, labels)[y_n])
    model = Model(found.parts, found.scale, 1.0, corrected)
    fitted = core_outputs.fit_outputs(task, labels, y_n, corrected.apply(answer_nk), None, corrected, spec.decision)
    return model, fitted


def _balance(pool: Pool, spec: Spec, labels: list[str]) -> Array:
    """What a row of each class weighs in calibration [k]: as in training, else calibration takes back the balancing.

    Where costs are given they decide, on probabilities that are honest.
    """
    name = "none" if decision.rule(spec.decision, labels, pool.y_n) else spec.train.class_weights
    return losses.class_weights(name, pool.y_n, len(labels))


def _shrink(model: Model, pool: Pool, unseen_nf: Array, squared: float) -> float:
    """By how much the average of the folds errs less than each on its own.

    With folds' answers f_g = f + e_g, e_g independent of variance V, one fold errs by E + V and their mean by
    E + V / G. V is measured on rows no fold has seen: the features of the test rows, never their targets.
    """
    folds = len(pool.folds)
    if folds == 1 or squared <= 0:
        return 1.0
    answers = []
    for fold in range(folds):
        shared = [
            part.share
            * in_blocks(
                part.kind,
                jax.tree.map(lambda leaf, fold=fold: leaf[fold : fold + 1], part.weights),
                model.scale,
                unseen_nf,
            )
            for part in model.parts
        ]
        answers.append(np.sum(shared, axis=0))
    variance = float(np.var(answers, axis=0, ddof=1).mean())
    return max(LEAST_SHRINK, math.sqrt(max(0.0, 1 - (1 - 1 / folds) * variance / squared)))
