"""Why a job waits, in words."""

from __future__ import annotations

from typing import Any

import pytest

from tidemill.core.jobs import AT_ONCE, described, wait_in_words, wait_of

HOST = [{"statusReason": "Host EC2 (instance i-0) terminated."}]


class Batch:
    """Batch with these jobs, the oldest first."""

    def __init__(self, *jobs: dict[str, Any]) -> None:
        self.jobs = [{"createdAt": at, "jobQueue": "q", **job} for at, job in enumerate(jobs)]
        self.asked: list[int] = []

    def describe_jobs(self, *, jobs: list[str]) -> dict[str, Any]:
        self.asked.append(len(jobs))
        return {"jobs": [job for job in self.jobs if job["jobId"] in jobs]}

    def list_jobs(self, *, jobQueue: str, jobStatus: str, maxResults: int) -> dict[str, Any]:  # noqa: N803
        return {"jobSummaryList": [job for job in self.jobs if job["status"] == jobStatus]}


def runnable(name: str, **more: Any) -> dict[str, Any]:
    return {"jobId": name, "status": "RUNNABLE", **more}


@pytest.mark.parametrize(
    ("job", "code", "words"),
    [
        ({"status": "STARTING"}, "IMAGE_PULL", "fetches the training image"),
        ({"status": "SUBMITTED"}, "ACCEPTED", "not put it in line yet"),
        (runnable("a"), "MACHINE_STARTING", "two to five minutes"),
        (runnable("a", statusReason="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY - x"), "NO_CAPACITY", "in this region"),
        (runnable("a", statusReason="MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT - x"), "MISCONFIGURED", "large enough"),
        (runnable("a", statusReason="Waiting: the local stack runs one at a time."), "QUEUE_ORDER", "before it"),
        (runnable("a", attempts=HOST), "MACHINE_STARTING", "Attempt 2, after: Host EC2 (instance i-0) terminated."),
    ],
)
def test_a_wait_is_said_in_words(job: dict[str, Any], code: str, words: str) -> None:
    found, sentence = wait_in_words(job)
    assert found == code and words in sentence and sentence.endswith(".")


def test_the_jobs_before_one_are_counted() -> None:
    batch = Batch(runnable("first"), runnable("second"), runnable("third"))
    third, first = wait_of(batch, "third"), wait_of(batch, "first")
    assert third and (third["code"], third["message"]) == ("QUEUE_ORDER", "2 jobs are before it in the queue.")
    assert first and first["code"] == "MACHINE_STARTING"


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "FAILED"])
def test_a_job_that_runs_or_ended_waits_for_nothing(status: str) -> None:
    assert wait_of(Batch({"jobId": "a", "status": status}), "a") is None
    assert wait_of(Batch(), "a") is None


def test_many_jobs_are_asked_for_in_pages() -> None:
    batch = Batch(runnable("j-1"))
    assert list(described(batch, [f"j-{at}" for at in range(AT_ONCE + 1)])) == ["j-1"]
    assert batch.asked == [AT_ONCE, 1]
