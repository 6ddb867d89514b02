"""When to act on a probability, given what wrong answers cost, and what that saves.

Axes: n rows, k classes (two), r resamples.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tidemill.core.errors import BadBundle, BadSpec

if TYPE_CHECKING:  # what answers requests reads rules, and no specifications
    from tidemill.core.spec import Decision

Array = np.ndarray[Any, Any]

INTERVAL = (2.5, 97.5)  # percentiles of the 95 % bootstrap interval
POINTS = 101  # thresholds of the cost curve


@dataclass(frozen=True)
class Rule:
    """Act on a row whose probability of `positive` reaches the threshold; costs in the user's unit."""

    positive: str
    false_positive: float
    false_negative: float

    @property
    def threshold(self) -> float:
        """Where acting and not acting are expected to cost the same: fp / (fp + fn) (Elkan 2001)."""
        return self.false_positive / (self.false_positive + self.false_negative)

    def to_json(self) -> dict[str, Any]:
        """The rule as plain values, the threshold among them for readers."""
        return {**asdict(self), "threshold": self.threshold}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rule:
        """Read what to_json wrote; raises BadBundle for anything else."""
        try:
            rule = cls(str(value["positive"]), float(value["false_positive"]), float(value["false_negative"]))
            if not 0 <= rule.threshold <= 1:
                raise ValueError(f"a threshold of {rule.threshold}")
        except (LookupError, TypeError, ValueError, ZeroDivisionError) as error:
            raise BadBundle(f"The decision rule cannot be read: {error}.", remedy="Train the model again.") from error
        return rule


def check(spec: Decision, schema: Mapping[str, Any] | None = None) -> None:
    """Raise BadSpec where costs cannot be followed; without a schema, only what the specification alone can tell.

    Costs for a model of another task are no error: see unused.
    """
    given = {name: getattr(spec, name) for name in ("false_positive", "false_negative")}
    missing = [name for name, cost in given.items() if cost is None]
    if len(missing) == 1:
        other = next(name for name in given if name not in missing)
        raise BadSpec(
            f"[decision] {other} is {given[other]:g}, but {missing[0]} is not given.",
            remedy=f"Give [decision] {missing[0]} too: a threshold weighs one cost against the other.",
        )
    if not missing and not any(given.values()):
        raise BadSpec("[decision] both costs are 0.", remedy="Give at least one wrong answer a cost above 0.")
    if schema is not None and schema["task"] == "binary" and spec.positive and spec.positive not in schema["labels"]:
        raise BadSpec(
            f"[decision] positive is {spec.positive[:80]!r}, which is no label of {schema['target']!r}.",
            remedy=f"It is one of {', '.join(map(repr, schema['labels']))}.",
        )


def unused(spec: Decision, task: str) -> bool:
    """Whether costs were given for a model that makes no decision between two classes."""
    return task != "binary" and spec.false_positive is not None


def rule(spec: Decision, labels: Sequence[str], y_n: Array) -> Rule | None:
    """The rule that a specification asks for; None where it gives no costs or the task is another.

    The positive class, where it is not named, is the rarer one of the rows; of equally many, the second.
    """
    if spec.false_positive is None or spec.false_negative is None or len(labels) != 2:
        return None
    counts = np.bincount(np.asarray(y_n, np.int64), minlength=2)
    positive = spec.positive or labels[0 if counts[0] < counts[1] else 1]
    return Rule(positive, spec.false_positive, spec.false_negative)


def report(found: Rule, labels: Sequence[str], y_n: Array, p_nk: Array, seed: int = 0) -> dict[str, Any]:
    """What following the rule costs a row, beside other policies, on rows the model has not seen.

    `best_simple` is the cheaper one of acting on all rows and on none; `saving` is what the rule costs less than that,
    with its 95 % bootstrap interval: rows are drawn, every policy is judged on the same ones.
    """
    place = list(labels).index(found.positive)
    positive_n, p_n = np.asarray(y_n) == place, np.asarray(p_nk, np.float64)[:, place]
    acts = {
        "rule": p_n >= found.threshold,
        "half": p_n >= 0.5,
        "all": np.ones(len(p_n), bool),
        "none": np.zeros(len(p_n), bool),
    }
    cost = {name: row_costs(found, positive_n, act_n) for name, act_n in acts.items()}
    mean = {name: float(cost_n.mean()) for name, cost_n in cost.items()}
    best = "all" if mean["all"] < mean["none"] else "none"
    return {
        **found.to_json(),
        "rows": len(p_n),
        "cost": mean,
        "acted": {name: float(act_n.mean()) for name, act_n in acts.items()},
        "best_simple": best,
        "saving": _saving(cost[best] - cost["rule"], seed),
        "saving_over_half": _saving(cost["half"] - cost["rule"], seed),
        "curve": curve(found, positive_n, p_n),
    }


def row_costs(found: Rule, positive_n: Array, act_n: Array) -> Array:
    """What each row costs: nothing where the action fits, else the cost of that mistake."""
    wrong_n = np.where(act_n, found.false_positive, found.false_negative)
    return np.where(act_n == positive_n, 0.0, wrong_n)


def curve(found: Rule, positive_n: Array, p_n: Array) -> dict[str, list[float]]:
    """Mean cost a row by threshold, from acting on all (0) to acting on the certain only (1)."""
    threshold = np.linspace(0, 1, POINTS)
    order = np.argsort(p_n, kind="stable")
    left_out = np.searchsorted(p_n[order], threshold, side="left")  # rows below each threshold
    missed = np.r_[0, np.cumsum(positive_n[order])][left_out]
    spared = left_out - missed
    cost = (found.false_negative * missed + found.false_positive * ((~positive_n).sum() - spared)) / max(len(p_n), 1)
    return {"threshold": threshold.tolist(), "cost": cost.tolist()}


def _saving(gain_n: Array, seed: int) -> dict[str, float]:
    from tidemill.core.metrics import resamples  # what answers requests reads rules and never resamples

    value = float(gain_n.mean())
    drawn = np.concatenate([w_rn @ gain_n / len(gain_n) for w_rn in resamples(len(gain_n), seed)])
    low, high = np.percentile(drawn, INTERVAL)
    return {"value": value, "low": min(float(low), value), "high": max(float(high), value)}
