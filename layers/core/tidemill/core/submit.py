"""From a dataset to a job: what Train does with one DatasetReady."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tidemill.core import clients, costs, monitored, prices
from tidemill.core.errors import Conflict
from tidemill.core.events import Bus
from tidemill.core.registry import Item, Registry
from tidemill.core.settings import Settings

# SubmitJob's own strategy replaces the job definition's as a whole, so these are infra/batch.yaml's rules again.
RETRY_RULES = (
    {"onStatusReason": "Host EC2*", "action": "RETRY"},
    {"onReason": "CannotPull*", "action": "RETRY"},
    {"onExitCode": "75", "action": "RETRY"},
    {"onExitCode": "13*", "action": "RETRY"},
    {"onStatusReason": "*", "action": "EXIT"},
)


def submit(model: str, run_id: str, registry: Registry, bus: Bus, settings: Settings, client: Any = None) -> Item:
    """Submit one batch job for a prepared run; the run as it is afterwards.

    SubmitJob takes no token, so a crash after it may start a second job for the run: the job's lease sees to it that
    one of them does the work. Data, recipe and code that have made a version already start no job at all.
    """
    run = registry.run(model, run_id)
    if run["state"] == "PREPARED":
        existing = registry.version_of(model, run["fingerprint"])
        if existing is None:
            run = _tried(run, registry, settings, client)
        else:
            monitored.settle(registry, model, existing, run.get("monitor"))
            run = registry.adopt(model, run_id, existing)
    if run["state"] == "REJECTED":
        bus.tell("RunFailed", {"model": model, "run": run_id, "reason": run["reason"]})
    if run["state"] == "READY" and "decision" not in run:
        bus.tell("VersionRegistered", {"model": model, "run": run_id, "version": run["version"]})
    return run


def queue_of(run: Item, settings: Settings) -> str:
    """Spot machines first; a run whose job was interrupted twice goes on where nobody takes machines away.

    Several machines at once are never Spot: Batch does not offer it, and each could take all the others down.
    """
    if costs.nodes(run) > 1:
        return settings.nodes
    return settings.on_demand_queue if run.get("retries") and settings.on_demand_queue else settings.job_queue


def _tried(run: Item, registry: Registry, settings: Settings, client: Any) -> Item:
    """The run submitted, or rejected where it would cost more than it may."""
    table = prices.load()
    estimated = costs.estimate(run, registry.runs(run["model"]), table)
    try:
        reserved = float((run.get("estimate") or {}).get("reserved_usd", 0.0))  # by jobs that were interrupted
        bounds = costs.within((run["spec"].get("budget") or {}).get("max_usd"), estimated, table, reserved)
    except costs.OverBudget as error:
        rejected = {"reason": error.reason(), "estimate": estimated}
        return registry.advance(run["model"], run["run"], "REJECTED", allowed=["PREPARED"], **rejected)
    if bounds is not None:
        estimated = {**estimated, "reserved_usd": round(bounds["reserved_usd"], 6)}
    return _submit(run, registry, settings, client, estimated, bounds)


def _bounded(bounds: Mapping[str, Any] | None) -> dict[str, Any]:
    """What SubmitJob is told of a budget."""
    if bounds is None:
        return {}
    return {
        "timeout": {"attemptDurationSeconds": bounds["timeout_s"]},
        "retryStrategy": {"attempts": bounds["attempts"], "evaluateOnExit": list(RETRY_RULES)},
    }


def _containers(run: Item, settings: Settings) -> dict[str, Any]:
    """The definition and what its containers are told: one, or one on each of several machines."""
    names = {"TIDEMILL_MODEL": run["model"], "TIDEMILL_RUN": run["run"]}
    told = {"environment": [{"name": name, "value": value} for name, value in names.items()]}
    count = costs.nodes(run)
    if count == 1:
        return {"jobDefinition": settings.job_definition, "containerOverrides": told}
    everywhere = {"targetNodes": "0:", "containerOverrides": told}
    return {
        "jobDefinition": settings.nodes,
        "nodeOverrides": {"numNodes": count, "nodePropertyOverrides": [everywhere]},
    }


def _submit(
    run: Item, registry: Registry, settings: Settings, client: Any, estimated: Item, bounds: Mapping[str, Any] | None
) -> Item:
    model, run_id = run["model"], run["run"]
    client = client if client is not None else clients.client("batch")
    job = client.submit_job(
        jobName=f"{model}-{run_id}",
        jobQueue=queue_of(run, settings),
        parameters={"model": model, "run": run_id},
        **_containers(run, settings),
        tags={"tidemill:model": model, "tidemill:run": run_id},
        **_bounded(bounds),
    )["jobId"]
    try:
        return registry.advance(model, run_id, "SUBMITTED", allowed=["PREPARED"], job=job, estimate=estimated)
    except Conflict:  # the job was quicker than this function, or another delivery was
        registry.name_job(model, run_id, job, estimated)
        return registry.run(model, run_id)
