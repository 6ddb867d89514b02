"""A run whose job was interrupted, lost or forgotten goes back to PREPARED, so that another job goes on with it."""

from __future__ import annotations

from tidemill.core.clock import now, seconds
from tidemill.core.limits import limit
from tidemill.core.registry import Item, Registry

JOB_STATES = ("SUBMITTED", "RUNNING")


def job_of(run: Item) -> str | None:
    """The job a run depends on: the one that holds the lease, else the one submitted."""
    return run.get("holder") or run.get("job")


def is_its_job(run: Item, job: str) -> bool:
    """Whether the run depends on this job, or on none that is known."""
    return job_of(run) in (None, job)


def was_interrupted(run: Item, job: str) -> bool:
    """Whether the run waits for another job because this one was interrupted."""
    return run["state"] == "PREPARED" and (run.get("interrupted") or {}).get("job") == job


def may_retry(run: Item) -> bool:
    """Whether the run has not used up its jobs."""
    return int(run.get("retries", 0)) < limit("retries")


def reopen(registry: Registry, run: Item, why: str) -> Item | None:
    """Free a run from its job; the run as it is now, None where it went on otherwise meanwhile.

    The next lease has a higher epoch and the state is PREPARED until then, so that whatever the former job still does
    is refused.
    """
    job, count = job_of(run), int(run.get("retries", 0))
    interrupted = {"job": job or "", "why": why, "at": now()}
    names = {"#state": "state"}
    values = {":prepared": "PREPARED", ":one": count + 1, ":count": count, ":interrupted": interrupted}
    states = {f":s{index}": state for index, state in enumerate(JOB_STATES)}
    changed = registry.table.update(
        f"MODEL#{run['model']}",
        f"RUN#{run['run']}",
        "SET #state = :prepared, retries = :one, interrupted = :interrupted REMOVE holder, attempt, lease_until, job",
        {**values, **states, **({":job": job} if job else {})},
        condition=f"#state IN ({', '.join(states)}) AND (attribute_not_exists(retries) OR retries = :count) AND "
        + _depends(run, job),
        names=names,
    )
    current = registry.run(run["model"], run["run"]) if changed is None else changed
    if changed is None and not was_interrupted(current, job or ""):
        return None
    registry._journal_run(current)
    return current


def is_held(run: Item, at_s: float | None = None) -> bool:
    """Whether a job reported so lately, before a time (now), that it counts as alive."""
    return int(run.get("lease_until", 0)) >= (seconds() if at_s is None else at_s)


def _depends(run: Item, job: str | None) -> str:
    if run.get("holder"):
        return "holder = :job"
    return "attribute_not_exists(holder)" + (" AND job = :job" if job else " AND attribute_not_exists(job)")
