"""Estimates follow the data, budgets bound what can be spent whatever the estimate was, and bills follow the clock."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.cloud.expand import ROOT, read
from tidemill.core import costs, prices
from tidemill.core.costs import OverBudget, estimate, spent, thousand, within
from tidemill.core.spec import Spec
from tidemill.core.submit import RETRY_RULES

TABLE = prices.load()
TIMES = {"running": "2026-11-22T10:00:00+00:00", "ended": "2026-11-22T10:20:00+00:00"}


def run_of(rows: int = 10_000, **fields: Any) -> dict[str, Any]:
    return {"state": "PREPARED", "rows": {"used": rows}, "spec": Spec().to_json(), "modality": "table", **fields}


def test_more_rows_are_expected_to_take_longer_and_no_job_longer_than_an_attempt() -> None:
    few, many, far = (estimate(run_of(rows), [], TABLE) for rows in (1_000, 100_000, 10**9))
    assert few["seconds"] < many["seconds"] < far["seconds"] == costs.LONGEST_S
    assert few["usd"] < few["most_usd"]
    assert few["prices"] == TABLE.date


def test_the_models_own_last_run_is_believed_before_the_table() -> None:
    before = run_of(5_000, state="READY", times=TIMES)
    found = estimate(run_of(10_000), [before], TABLE)
    assert found["seconds"] == 2 * 20 * 60
    assert "last run" in found["basis"]


@pytest.mark.parametrize(
    "other",
    [
        {"state": "FAILED"},
        {"reused": True},
        {"spec": Spec.from_json({"search": {"configurations": 1}}).to_json()},
        {"times": {}},
    ],
)
def test_runs_that_tell_nothing_about_this_one_are_not_believed(other: dict[str, Any]) -> None:
    before = {**run_of(5_000, state="READY", times=TIMES), **other}
    assert estimate(run_of(), [before], TABLE) == estimate(run_of(), [], TABLE)


@given(budget=st.floats(0, 50), rows=st.integers(50, 10_000_000))
def test_what_a_budget_lets_through_cannot_cost_more_than_it(budget: float, rows: int) -> None:
    estimated = estimate(run_of(rows), [], TABLE)
    try:
        bounds = within(budget, estimated, TABLE)
    except OverBudget as refused:
        assert refused.details["max_usd"] == budget
        return
    assert bounds is not None
    most = bounds["attempts"] * TABLE.job(bounds["timeout_s"], spot=False)
    assert most == pytest.approx(bounds["reserved_usd"])
    assert most <= budget * (1 + 1e-9)
    assert bounds["timeout_s"] >= costs.LEAST_TIMEOUT_S
    assert 1 <= bounds["attempts"] <= costs.MOST_ATTEMPTS


def test_a_run_over_its_budget_is_refused_with_both_sums() -> None:
    with pytest.raises(OverBudget, match=r"up to 0\.\d\d USD .* max_usd is 0\.01") as refused:
        within(0.01, estimate(run_of(), [], TABLE), TABLE)
    assert refused.value.details["estimate_usd"] > 0.01


def test_without_a_budget_the_job_definition_decides() -> None:
    assert within(None, estimate(run_of(), [], TABLE), TABLE) is None


def test_a_generous_budget_leaves_every_attempt() -> None:
    bounds = within(1000, estimate(run_of(), [], TABLE), TABLE)
    assert bounds is not None
    assert (bounds["attempts"], bounds["timeout_s"]) == (costs.MOST_ATTEMPTS, int(costs.LONGEST_S))


@given(budget=st.floats(0.1, 50), rows=st.integers(50, 1_000_000))
def test_all_jobs_of_an_interrupted_run_together_stay_in_its_budget(budget: float, rows: int) -> None:
    estimated, reserved = estimate(run_of(rows), [], TABLE), 0.0
    for _ in range(costs.MOST_JOBS):
        try:
            bounds = within(budget, estimated, TABLE, reserved)
        except OverBudget:
            break
        assert bounds is not None and bounds["reserved_usd"] > reserved
        reserved = bounds["reserved_usd"]
    assert reserved <= budget * (1 + 1e-9)


def test_the_rules_of_a_bounded_job_are_those_of_the_job_definition() -> None:
    definition = read(ROOT / "infra" / "batch.yaml")["Resources"]["JobDefinition"]["Properties"]
    rules = [{key[0].lower() + key[1:]: value for key, value in rule.items()}
             for rule in definition["RetryStrategy"]["EvaluateOnExit"]]  # fmt: skip
    assert list(RETRY_RULES) == rules
    assert definition["RetryStrategy"]["Attempts"] == costs.MOST_ATTEMPTS
    assert definition["Timeout"]["AttemptDurationSeconds"] == costs.LONGEST_S


def test_the_memory_of_predict_is_that_of_the_template() -> None:
    predict = read(ROOT / "template.yaml")["Resources"]["Predict"]["Properties"]
    assert predict["MemorySize"] == costs.PREDICT_MEMORY_MB


def test_a_job_is_billed_on_the_machine_it_named() -> None:
    on_demand = run_of(times=TIMES, machine={"type": "g4dn.xlarge", "spot": False})
    assert spent(on_demand, TABLE) == {
        **{"seconds": 1200.0, "usd": round(TABLE.job(1200, "g4dn.xlarge", spot=False), 4), "currency": "USD"},
        **{"machine": "g4dn.xlarge", "prices": TABLE.date},
    }
    unnamed = spent(run_of(times=TIMES), TABLE)
    assert unnamed is not None and "named none" in unnamed["machine"]


def test_nothing_is_billed_before_the_job_runs_or_for_a_version_that_was_there_already() -> None:
    assert spent(run_of(times={"received": TIMES["running"]}), TABLE) is None
    assert spent(run_of(times=TIMES, reused=True), TABLE) is None


def test_a_running_job_is_billed_up_to_its_last_word() -> None:
    running = run_of(times={"running": TIMES["running"]}, progress={"at": "2026-11-22T10:05:00+00:00"})
    found = spent(running, TABLE)
    assert found is not None and found["seconds"] == 300


def test_a_thousand_predictions_cost_requests_and_the_time_they_take() -> None:
    quick, slow = (thousand({"predict_ms": ms}, TABLE) for ms in (0.1, 100.0))
    assert quick and slow
    floor = 1000 * (TABLE.of("http_api.million_requests") + TABLE.of("lambda.million_requests")) / 1e6
    assert floor < quick["usd"] < slow["usd"]
    assert (quick["billed_ms"], slow["billed_ms"]) == (4, 103)
    assert thousand({}, TABLE) is None
