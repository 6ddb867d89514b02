"""outputs.json: how a model's raw answers become honest ones: its calibration, its levels of doubt, its decision rule.

Axes: n rows, k classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from tidemill.core import conformal, decision
from tidemill.core.calibration import Calibration
from tidemill.core.decision import Rule
from tidemill.core.errors import BadBundle

if TYPE_CHECKING:  # what answers requests reads outputs, and no specifications
    from tidemill.core.spec import Decision

Array = np.ndarray[Any, Any]

NAME = "outputs.json"
FORMAT = 1


@dataclass(frozen=True)
class Outputs:
    """What held-out rows taught about the answers of one model.

    `levels` by share of rows: how many spreads an interval reaches to either side (regression), or the probability a
    label needs to be in the set (classes); None where the rows were too few. `least` is what the target was never
    below, given for targets that are never negative.
    """

    task: str
    rows: int = 0
    calibration: Calibration = field(default_factory=Calibration)
    levels: Mapping[float, float | None] = field(default_factory=dict)
    normalised: bool = False  # intervals are as wide as the model's own spread says, not all alike
    least: float | None = None
    decision: Rule | None = None
    costs_unused: bool = False

    @property
    def offered(self) -> list[float]:
        """The levels that can be asked for."""
        return conformal.offered(self.levels)

    def to_json(self) -> dict[str, Any]:
        """The content of outputs.json."""
        return {
            "format": FORMAT,
            "task": self.task,
            "rows": self.rows,
            "calibration": self.calibration.to_json(),
            "kind": "interval" if self.task == "regression" else "set",
            "levels": {f"{level:g}": found for level, found in self.levels.items()},
            "normalised": self.normalised,
            "least": self.least,
            "decision": self.decision.to_json() if self.decision else None,
            "costs_unused": self.costs_unused,
        }

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Outputs:
        """Read what to_json wrote; raises BadBundle for anything else."""
        try:
            if value["format"] != FORMAT:
                raise ValueError(f"format {value['format']!r}")
            return cls(
                task=str(value["task"]),
                rows=int(value["rows"]),
                calibration=Calibration.from_json(value["calibration"]),
                levels={float(level): _number(found) for level, found in value["levels"].items()},
                normalised=bool(value["normalised"]),
                least=_number(value["least"]),
                decision=Rule.from_json(value["decision"]) if value["decision"] else None,
                costs_unused=bool(value["costs_unused"]),
            )
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise BadBundle(f"{NAME} cannot be read: {error!r:.200}.", remedy="Train the model again.") from error


def fit_outputs(
    task: str,
    labels: Sequence[str],
    y_n: Array,
    answer_nk: Array,
    spread_n: Array | None,
    calibration: Calibration,
    decision_spec: Decision,
) -> Outputs:
    """Learn levels and rule from held-out rows.

    `y_n` holds class numbers or values, `answer_nk` what users get: calibrated probabilities [n, k], values [n, 1] or
    [n]; `spread_n` the estimated size of the error in the target's unit, None for intervals of one width.
    """
    if task == "regression":
        value_n = np.asarray(answer_nk, np.float64).reshape(-1)
        return Outputs(
            task,
            len(value_n),
            levels=conformal.interval_factors(y_n, value_n, spread_n),
            normalised=spread_n is not None,
            least=0.0 if len(value_n) and np.min(y_n) >= 0 else None,
            costs_unused=decision.unused(decision_spec, task),
        )
    return Outputs(
        task,
        len(answer_nk),
        calibration,
        levels=conformal.set_thresholds(y_n, answer_nk),
        decision=decision.rule(decision_spec, labels, y_n),
        costs_unused=decision.unused(decision_spec, task),
    )


def report(
    outputs: Outputs,
    task: str,
    labels: Sequence[str],
    y_test: Array,
    answer_nk: Array,
    spread_n: Array | None,
    raw_answer_nk: Array,
    seed: int = 0,
) -> dict[str, Any]:
    """What the outputs are worth on test rows: metrics.json["outputs"]; see core/outputs_report.py."""
    from tidemill.core.outputs_report import facts  # requests need no bootstrap

    return facts(outputs, task, labels, y_test, answer_nk, spread_n, raw_answer_nk, seed)


def _number(value: Any) -> float | None:
    if value is None:
        return None
    number = float(value)
    if not math.isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number
