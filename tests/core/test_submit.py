"""A run over its budget never becomes a job, and a job with a budget is bounded by it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from tidemill.core.costs import estimate
from tidemill.core.prices import load
from tidemill.core.spec import Spec
from tidemill.core.submit import submit

SETTINGS: Any = SimpleNamespace(
    job_queue="training", job_definition="training", on_demand_queue="", nodes="training-nodes"
)


class Desk:
    """One run, the jobs that were submitted for it, and what the bus was told."""

    def __init__(self, nodes: int = 1, **budget: float) -> None:
        self.row: dict[str, Any] = {
            **{"model": "churn", "run": "r-1", "state": "PREPARED", "fingerprint": "f", "rows": {"used": 2_000}},
            **{"spec": Spec.from_json({"budget": budget, "job": {"nodes": nodes}}).to_json(), "modality": "table"},
        }
        self.jobs: list[dict[str, Any]] = []
        self.told: list[tuple[str, Any]] = []

    def submit(self) -> dict[str, Any]:
        registry: Any = SimpleNamespace(
            run=lambda *_: self.row, runs=lambda *_: [self.row], version_of=lambda *_: None, advance=self.advance
        )
        bus: Any = SimpleNamespace(tell=lambda name, detail: self.told.append((name, detail)))
        return submit("churn", "r-1", registry, bus, SETTINGS, SimpleNamespace(submit_job=self.take))

    def take(self, **job: Any) -> dict[str, str]:
        self.jobs.append(job)
        return {"jobId": "j-1"}

    def advance(self, _model: str, _run: str, state: str, *, allowed: list[str], **fields: Any) -> dict[str, Any]:
        assert self.row["state"] in allowed
        self.row |= {"state": state, **fields}
        return self.row


def test_a_run_over_its_budget_is_rejected_before_a_job_exists() -> None:
    desk = Desk(max_usd=0.01)
    run = desk.submit()
    assert (run["state"], run["reason"]["code"]) == ("REJECTED", "OVER_BUDGET")
    assert run["reason"]["remedy"] and run["reason"]["max_usd"] == 0.01
    assert not desk.jobs
    assert [name for name, _ in desk.told] == ["RunFailed"]


def test_what_it_will_cost_stands_in_the_run_and_without_a_budget_the_job_definition_bounds_it() -> None:
    desk = Desk()
    run = desk.submit()
    assert run["state"] == "SUBMITTED"
    assert run["estimate"] == estimate({**desk.row, "state": "PREPARED"}, [], load())
    assert not {"timeout", "retryStrategy"} & set(desk.jobs[0])


@pytest.mark.parametrize("budget", [0.3, 1.0, 5.0])
def test_a_job_with_a_budget_cannot_spend_more_however_long_it_takes(budget: float) -> None:
    desk = Desk(max_usd=budget)
    desk.submit()
    job = desk.jobs[0]
    seconds, attempts = job["timeout"]["attemptDurationSeconds"], job["retryStrategy"]["attempts"]
    assert attempts * load().job(seconds, spot=False) <= budget
    assert job["retryStrategy"]["evaluateOnExit"][-1] == {"onStatusReason": "*", "action": "EXIT"}


def test_a_run_on_several_machines_is_a_multi_node_job_and_never_spot() -> None:
    alone, together = Desk(), Desk(nodes=4)
    one, four = alone.submit()["estimate"], together.submit()["estimate"]
    (job,) = together.jobs
    assert (job["jobQueue"], job["jobDefinition"]) == ("training-nodes", "training-nodes")
    assert job["nodeOverrides"]["numNodes"] == 4 and "containerOverrides" not in job
    (everywhere,) = job["nodeOverrides"]["nodePropertyOverrides"]
    assert everywhere["targetNodes"] == "0:"
    assert everywhere["containerOverrides"] == alone.jobs[0]["containerOverrides"]
    assert four["usd"] == four["most_usd"] == pytest.approx(4 * one["most_usd"], rel=0.01)


@pytest.mark.parametrize("budget", [2.0, 20.0])
def test_a_budget_bounds_all_machines_together(budget: float) -> None:
    desk = Desk(nodes=4, max_usd=budget)
    desk.submit()
    job = desk.jobs[0]
    seconds, attempts = job["timeout"]["attemptDurationSeconds"], job["retryStrategy"]["attempts"]
    assert 4 * attempts * load().job(seconds, spot=False) <= budget
