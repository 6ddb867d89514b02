"""From a dataset to a job: what Train does with one DatasetReady."""

from __future__ import annotations

from typing import Any

from tidemill.core import clients
from tidemill.core.errors import Conflict
from tidemill.core.events import Bus
from tidemill.core.registry import Item, Registry
from tidemill.core.settings import Settings


def submit(model: str, run_id: str, registry: Registry, bus: Bus, settings: Settings, client: Any = None) -> Item:
    """Submit one batch job for a prepared run; the run as it is afterwards.

    SubmitJob takes no token, so a crash after it may start a second job for the run: the job's lease sees to it that
    one of them does the work. Data, recipe and code that have made a version already start no job at all.
    """
    run = registry.run(model, run_id)
    if run["state"] == "PREPARED":
        existing = registry.version_of(model, run["fingerprint"])
        run = _submit(run, registry, settings, client) if existing is None else registry.adopt(model, run_id, existing)
    if run["state"] == "READY" and "decision" not in run:
        bus.tell("VersionRegistered", {"model": model, "run": run_id, "version": run["version"]})
    return run


def queue_of(run: Item, settings: Settings) -> str:
    """Spot machines first; a run whose job was interrupted twice goes on where nobody takes machines away."""
    return settings.on_demand_queue if run.get("retries") and settings.on_demand_queue else settings.job_queue


def _submit(run: Item, registry: Registry, settings: Settings, client: Any) -> Item:
    model, run_id = run["model"], run["run"]
    client = client if client is not None else clients.client("batch")
    job = client.submit_job(
        jobName=f"{model}-{run_id}",
        jobQueue=queue_of(run, settings),
        jobDefinition=settings.job_definition,
        parameters={"model": model, "run": run_id},
        containerOverrides={
            "environment": [{"name": "TIDEMILL_MODEL", "value": model}, {"name": "TIDEMILL_RUN", "value": run_id}]
        },
        tags={"tidemill:model": model, "tidemill:run": run_id},
    )["jobId"]
    try:
        return registry.advance(model, run_id, "SUBMITTED", allowed=["PREPARED"], job=job)
    except Conflict:  # the job was quicker than this function, or another delivery was
        registry.name_job(model, run_id, job)
        return registry.run(model, run_id)
