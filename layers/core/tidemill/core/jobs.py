"""Batch jobs as others see them: which there are, how each stands, and why one waits, in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

ALIVE = ("SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING")
AT_ONCE = 100  # jobs that DescribeJobs takes
LOOKED_AT = 100  # jobs of a queue that are counted, to say how many are before one

Job = dict[str, Any]


def described(batch: Any, names: list[str]) -> dict[str, Job]:
    """The jobs that Batch still knows, by their id; it forgets ended ones after about a week."""
    found: dict[str, Job] = {}
    for start in range(0, len(names), AT_ONCE):
        answer = batch.describe_jobs(jobs=names[start : start + AT_ONCE])
        found |= {job["jobId"]: job for job in answer["jobs"]}
    return found


def alive(batch: Any, queue: str) -> Iterator[Job]:
    """A queue's jobs that have not ended, as ListJobs shows them."""
    for status in ALIVE:
        for page in batch.get_paginator("list_jobs").paginate(jobQueue=queue, jobStatus=status):
            yield from page["jobSummaryList"]


def wait_of(batch: Any, name: str) -> dict[str, Any] | None:
    """Why a job does not run yet: a code, a sentence, and since when; None where it runs, has ended or is unknown."""
    job = described(batch, [name]).get(name)
    if job is None or job.get("status") not in ALIVE[:-1]:
        return None
    before = _before(batch, job) if job["status"] == "RUNNABLE" and not job.get("statusReason") else 0
    code, sentence = wait_in_words(job, before)
    return {"code": code, "message": sentence, "since_ms": int(job.get("createdAt", 0)), "job": job["status"]}


def wait_in_words(job: Job, before: int = 0) -> tuple[str, str]:
    """A code and a sentence for a job that waits; `before` counts the jobs that came earlier and wait too."""
    reason = str(job.get("statusReason") or "")
    again = _again(job)
    if job["status"] == "STARTING":
        return (
            "IMAGE_PULL",
            f"{again}The machine is there; it fetches the training image, a few minutes the first time.",
        )
    if job["status"] in ("SUBMITTED", "PENDING"):
        return "ACCEPTED", f"{again}Batch has taken the job and has not put it in line yet."
    if "INSUFFICIENT_INSTANCE_CAPACITY" in reason:
        text = "No machine of the kinds asked for is free in this region; Batch keeps asking, for a day at most."
        return "NO_CAPACITY", again + text
    if "MISCONFIGURATION" in reason:
        text = f"No machine of this deployment is large enough for the job ({reason}); it is ended within the hour."
        return "MISCONFIGURED", again + text
    if "one at a time" in reason or before:
        count = f"{before} jobs are" if before > 1 else "one job is" if before else "other jobs are"
        return "QUEUE_ORDER", f"{again}{count.capitalize()} before it in the queue."
    return "MACHINE_STARTING", f"{again}A machine is being started for it; that takes two to five minutes."


def _again(job: Job) -> str:
    """What became of the attempts before."""
    attempts = job.get("attempts") or []
    if not attempts:
        return ""
    reason = str(attempts[-1].get("statusReason") or "").rstrip(".")
    return f"Attempt {len(attempts) + 1}, after: {reason}. " if reason else f"Attempt {len(attempts) + 1}. "


def _before(batch: Any, job: Job) -> int:
    listed = batch.list_jobs(jobQueue=job["jobQueue"], jobStatus="RUNNABLE", maxResults=LOOKED_AT)["jobSummaryList"]
    return sum(1 for item in listed if item["createdAt"] < job["createdAt"])
