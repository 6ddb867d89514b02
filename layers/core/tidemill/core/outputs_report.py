"""metrics.json["outputs"]: whether probabilities, intervals, sets and decisions kept their word on the test rows.

Axes: n rows, k classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core import conformal, decision
from tidemill.core.calibration import calibration_floor, expected_calibration_error
from tidemill.core.outputs import Outputs

Array = NDArray[Any]

OFF = 0.02  # how far above the floor a calibration error is told as a warning
SURE = 3.0  # standard errors beyond which a coverage below its level is no chance


def facts(
    outputs: Outputs,
    task: str,
    labels: Sequence[str],
    y_test: Array,
    answer_nk: Array,
    spread_n: Array | None,
    raw_answer_nk: Array,
    seed: int = 0,
) -> dict[str, Any]:
    """Calibration before and after, coverage by level, the cost of decisions, and warnings; every value is JSON.

    `raw_answer_nk` are the probabilities before calibration, `answer_nk` those after.
    """
    y_n, answer_nk = np.asarray(y_test), np.asarray(answer_nk)
    coverage: dict[str, Any]
    if task == "regression":
        calibration, rule = None, None
        coverage = _intervals(outputs, y_n.astype(np.float64), answer_nk.reshape(-1), spread_n)
    else:
        y_n = y_n.astype(np.int64)
        calibration = _calibration(outputs, y_n, np.asarray(raw_answer_nk), answer_nk, seed)
        coverage = _sets(outputs, y_n, answer_nk)
        rule = decision.report(outputs.decision, labels, y_n, answer_nk, seed) if outputs.decision else None
    found = {"rows": len(y_n), "calibration": calibration, "coverage": coverage, "decision": rule}
    return {**found, "warnings": _warnings(outputs, found)}


def _calibration(outputs: Outputs, y_n: Array, raw_nk: Array, answer_nk: Array, seed: int) -> dict[str, Any]:
    return {
        **outputs.calibration.to_json(),
        "before": expected_calibration_error(y_n, raw_nk),
        "after": expected_calibration_error(y_n, answer_nk),
        "floor": calibration_floor(answer_nk, seed=seed),
    }


def _intervals(outputs: Outputs, y_n: Array, value_n: Array, spread_n: Array | None) -> dict[str, Any]:
    told = []
    for level, factor in outputs.levels.items():
        if factor is None:
            continue
        low_n, high_n = conformal.intervals(value_n, spread_n, factor, outputs.least)
        inside_n, width_n = (low_n <= y_n) & (y_n <= high_n), high_n - low_n
        widths = {"width": float(width_n.mean()), "median_width": float(np.median(width_n))}
        told.append({"level": level, "coverage": float(inside_n.mean()), **widths})
    return {"kind": "interval", "normalised": outputs.normalised, "rows": outputs.rows, "levels": told}


def _sets(outputs: Outputs, y_n: Array, p_nk: Array) -> dict[str, Any]:
    told = []
    for level, threshold in outputs.levels.items():
        if threshold is None:
            continue
        member_nk = conformal.sets(p_nk, threshold)
        size_n = member_nk.sum(1)
        sizes = {"size": float(size_n.mean()), "single": float((size_n == 1).mean())}
        told.append({"level": level, "coverage": float(member_nk[np.arange(len(y_n)), y_n].mean()), **sizes})
    return {"kind": "set", "rows": outputs.rows, "levels": told}


def _warnings(outputs: Outputs, found: Mapping[str, Any]) -> list[dict[str, str]]:
    told = {
        "NOT_CALIBRATED": _off(found["calibration"]),
        "COVERAGE_LOW": _low(found["coverage"], found["rows"]),
        "DECISION_SAVES_NOTHING": _no_saving(found["decision"]),
        "COSTS_UNUSED": _unused(outputs),
    }
    return [{"code": code, "message": message} for code, message in told.items() if message]


def _off(calibration: Mapping[str, float] | None) -> str:
    if calibration is None or calibration["after"] <= calibration["floor"] + OFF:
        return ""
    return (
        f"Probabilities are off by {calibration['after']:.3f} on average, where {calibration['floor']:.3f} would be "
        "chance: take them as an order of rows, not as shares."
    )


def _low(coverage: Mapping[str, Any], rows: int) -> str:
    """A coverage so far below its level that neither the test rows nor the rows it was fitted on explain it."""
    for item in coverage["levels"]:
        level = item["level"]
        error = math.sqrt(level * (1 - level) * (1 / max(rows, 1) + 1 / max(coverage["rows"], 1)))
        if item["coverage"] < level - SURE * error:
            return (
                f"At {level:.0%}, {coverage['kind']}s hold only {item['coverage']:.1%} of the test rows' true answers."
            )
    return ""


def _no_saving(told: Mapping[str, Any] | None) -> str:
    if told is None or told["saving"]["low"] > 0:
        return ""
    simple = "acting on every row" if told["best_simple"] == "all" else "never acting"
    return f"At these costs the model's decisions are not clearly cheaper than {simple}."


def _unused(outputs: Outputs) -> str:
    if not outputs.costs_unused:
        return ""
    kind = "values, not two classes" if outputs.task == "regression" else "more than two classes"
    return f"[decision] costs were given, but the model predicts {kind}: they have no effect."
