"""Why a batch job ended badly, and whether another job may go on from its checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

HOST_LOST, NO_IMAGE, NO_MEMORY = "Host EC2", "CannotPull", "OutOfMemory"
KILLED = 137

# What a job's exit code means; training/job.py returns the first three. The flag: another job may go on.
EXITS: dict[int, tuple[str, str, bool]] = {
    64: ("TRAINING_DATA", "The data could not be trained on.", False),
    70: ("TRAINING_BUG", "The training code failed.", False),
    75: ("INTERRUPTED", "The job was interrupted more often than it may be retried.", True),
    KILLED: ("OUT_OF_MEMORY", "The job was killed, most likely because it ran out of memory.", False),
    143: ("INTERRUPTED", "The job was stopped from outside.", True),
}


@dataclass(frozen=True)
class Ending:
    """How a job ended badly: a code, a sentence, and whether the work can go on in another job."""

    code: str
    sentence: str
    again: bool = False


def ending_of(job: dict[str, Any]) -> Ending:
    """What a FAILED job, as DescribeJobs and its events show it, died of."""
    attempts = job.get("attempts") or [{}]  # a job on several nodes has its container there
    container = job.get("container") or attempts[-1].get("container") or {}
    reason, status = str(container.get("reason") or ""), str(job.get("statusReason") or "")
    if job.get("isTerminated") or job.get("isCancelled"):
        return Ending("STOPPED", "The job was stopped by hand.")
    if "timeout" in status.lower() or "attempt duration" in status.lower():
        return Ending("TIME_LIMIT", "The job took longer than it may.")
    if reason.startswith(NO_MEMORY):
        return Ending("OUT_OF_MEMORY", "The job needs more memory than its machine has.")
    if reason.startswith(NO_IMAGE):
        return Ending("NO_IMAGE", "The training image could not be fetched.", again=True)
    if "CAPACITY" in status:
        return Ending("NO_CAPACITY", "No machine was free for the job, for a day.")
    if "MISCONFIGURATION" in status:
        return Ending("MISCONFIGURED", "No machine of this deployment is large enough for the job.")
    if status.startswith(HOST_LOST) or _killed_once(job):
        return Ending("INTERRUPTED", "The job's machine was taken away.", again=True)
    code, sentence, again = EXITS.get(container.get("exitCode", -1), ("JOB_FAILED", "The job failed.", False))
    return Ending(code, sentence, again)


def _killed_once(job: dict[str, Any]) -> bool:
    """Killed without a reason, but not in every attempt: a lack of memory would have killed them all."""
    codes = [(attempt.get("container") or {}).get("exitCode") for attempt in job.get("attempts") or []]
    return len(codes) > 1 and codes[-1] == KILLED and any(code != KILLED for code in codes)
