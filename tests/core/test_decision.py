"""Costs make a threshold; on calibrated probabilities no other one is cheaper; half a specification is refused."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core import decision
from tidemill.core.decision import Rule
from tidemill.core.errors import BadBundle, BadSpec
from tidemill.core.spec import Decision

LABELS = ("no", "yes")
BINARY = {"task": "binary", "target": "churn", "labels": list(LABELS)}


def world(rows: int, seed: int) -> tuple[Any, Any]:
    """Labels and the true probabilities they were drawn from."""
    random = np.random.default_rng(seed)
    p_n = random.beta(0.7, 2, rows)
    return (random.random(rows) < p_n).astype(int), np.stack([1 - p_n, p_n], 1)


@given(fp=st.floats(0.01, 100), fn=st.floats(0.01, 100), seed=st.integers(0, 100))
@settings(max_examples=30, deadline=None)
def test_with_true_probabilities_no_policy_is_expected_to_be_cheaper(fp: float, fn: float, seed: int) -> None:
    _, p_nk = world(300, seed)
    rule = Rule("yes", fp, fn)
    p_n = p_nk[:, 1]

    def expected(act_n: Any) -> float:
        return float(np.where(act_n, (1 - p_n) * fp, p_n * fn).mean())

    own = expected(p_n >= rule.threshold)
    assert all(own <= expected(p_n >= threshold) + 1e-12 for threshold in np.linspace(0, 1.01, 40))


@given(fp=st.floats(0.01, 100), fn=st.floats(0.01, 100), seed=st.integers(0, 50))
@settings(max_examples=20, deadline=None)
def test_the_curve_counts_what_the_policies_cost(fp: float, fn: float, seed: int) -> None:
    y_n, p_nk = world(200, seed)
    rule = Rule("yes", fp, fn)
    told = decision.curve(rule, y_n == 1, p_nk[:, 1])
    for threshold, cost in zip(told["threshold"][::7], told["cost"][::7], strict=True):
        slow = decision.row_costs(rule, y_n == 1, p_nk[:, 1] >= threshold).mean()
        assert cost == pytest.approx(slow, abs=1e-9)


def test_the_report_adds_up() -> None:
    y_n, p_nk = world(4_000, 1)
    told = decision.report(Rule("yes", 1.0, 5.0), LABELS, y_n, p_nk)
    assert told["threshold"] == pytest.approx(1 / 6) and told["rows"] == 4_000
    assert told["cost"]["none"] == pytest.approx(5 * y_n.mean()) and told["acted"]["none"] == 0
    assert told["cost"]["all"] == pytest.approx(1 - y_n.mean()) and told["acted"]["all"] == 1
    best = min(told["cost"]["all"], told["cost"]["none"])
    assert told["saving"]["value"] == pytest.approx(best - told["cost"]["rule"])
    assert 0 < told["saving"]["low"] < told["saving"]["value"] < told["saving"]["high"]
    assert told["cost"]["rule"] < told["cost"]["half"]
    assert told == decision.report(Rule("yes", 1.0, 5.0), LABELS, y_n, p_nk) and json.dumps(told)


def test_the_interval_of_a_useless_models_saving_does_not_promise_anything() -> None:
    y_n, _ = world(2_000, 2)
    noise_n = np.random.default_rng(3).random(2_000)
    told = decision.report(Rule("yes", 1.0, 5.0), LABELS, y_n, np.stack([1 - noise_n, noise_n], 1))
    assert told["saving"]["low"] <= 0


def test_either_label_can_be_the_one_to_act_on() -> None:
    y_n, p_nk = world(500, 4)
    one = decision.report(Rule("yes", 2.0, 3.0), LABELS, y_n, p_nk)
    other = decision.report(Rule("yes", 2.0, 3.0), ("yes", "no"), 1 - y_n, p_nk[:, ::-1])
    assert one == other


def test_the_rarer_label_is_acted_on_unless_another_is_named() -> None:
    costs = {"false_positive": 1.0, "false_negative": 2.0}
    few_n, many_n = np.array([0, 0, 0, 1]), np.array([0, 1, 1, 1])
    assert decision.rule(Decision(**costs), LABELS, few_n) == Rule("yes", 1.0, 2.0)
    assert decision.rule(Decision(**costs), LABELS, many_n) == Rule("no", 1.0, 2.0)
    assert decision.rule(Decision(**costs), LABELS, np.array([0, 1])) == Rule("yes", 1.0, 2.0)
    assert decision.rule(Decision(**costs, positive="no"), LABELS, few_n) == Rule("no", 1.0, 2.0)
    assert decision.rule(Decision(), LABELS, few_n) is None
    assert decision.rule(Decision(**costs), ("a", "b", "c"), few_n) is None


@pytest.mark.parametrize(
    ("given", "missing"), [("false_positive", "false_negative"), ("false_negative", "false_positive")]
)
def test_one_cost_alone_is_refused_and_the_other_one_named(given: str, missing: str) -> None:
    with pytest.raises(BadSpec, match=f"{missing} is not given") as caught:
        decision.check(Decision(**{given: 3.0}))
    assert missing in caught.value.remedy


def test_costs_that_weigh_nothing_and_labels_that_do_not_exist_are_refused() -> None:
    with pytest.raises(BadSpec, match="both costs are 0"):
        decision.check(Decision(0.0, 0.0))
    with pytest.raises(BadSpec, match="'maybe', which is no label of 'churn'") as caught:
        decision.check(Decision(1.0, 2.0, "maybe"), BINARY)
    assert "'no', 'yes'" in caught.value.remedy
    decision.check(Decision(1.0, 0.0, "yes"), BINARY)
    decision.check(Decision(), BINARY)


def test_costs_for_another_task_are_told_not_refused() -> None:
    for task in ("regression", "multiclass"):
        decision.check(Decision(1.0, 2.0), {"task": task, "target": "t", "labels": []})
        assert decision.unused(Decision(1.0, 2.0), task) and not decision.unused(Decision(), task)
    assert not decision.unused(Decision(1.0, 2.0), "binary")


def test_a_rule_survives_its_json_and_nothing_else_passes_for_one() -> None:
    rule = Rule("是", 0.0, 2.5)
    assert Rule.from_json(json.loads(json.dumps(rule.to_json()))) == rule
    assert rule.threshold == 0 and Rule("a", 1.0, 0.0).threshold == 1
    for broken in (
        {},
        {"positive": "a", "false_positive": 0, "false_negative": 0},
        {**rule.to_json(), "false_positive": "x"},
    ):
        with pytest.raises(BadBundle):
            Rule.from_json(broken)
