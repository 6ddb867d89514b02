"""What a failed job died of, and whether another job may go on."""

from __future__ import annotations

from typing import Any

import pytest

from tidemill.core.endings import ending_of


def failed(
    code: int | None = None, *, status: str = "Essential container in task exited", **more: Any
) -> dict[str, Any]:
    container = {"exitCode": code} if code is not None else {}
    return {"status": "FAILED", "statusReason": status, "container": {**container, **more.pop("container", {})}, **more}


def attempts(*codes: int) -> list[dict[str, Any]]:
    return [{"container": {"exitCode": code}} for code in codes]


@pytest.mark.parametrize(
    ("job", "code", "again"),
    [
        (failed(64), "TRAINING_DATA", False),
        (failed(70), "TRAINING_BUG", False),
        (failed(75), "INTERRUPTED", True),
        (failed(143), "INTERRUPTED", True),
        (failed(1), "JOB_FAILED", False),
        (failed(137), "OUT_OF_MEMORY", False),
        (failed(137, attempts=attempts(137, 137)), "OUT_OF_MEMORY", False),
        (failed(137, attempts=attempts(75, 137)), "INTERRUPTED", True),
        (failed(75, attempts=attempts(137, 75)), "INTERRUPTED", True),
        (failed(137, container={"reason": "OutOfMemoryError: Container killed"}), "OUT_OF_MEMORY", False),
        (failed(status="Host EC2 (instance i-0) terminated."), "INTERRUPTED", True),
        (failed(137, status="Host EC2 (instance i-0) terminated."), "INTERRUPTED", True),
        (failed(container={"reason": "CannotPullContainerError: timeout"}), "NO_IMAGE", True),
        (failed(status="Job attempt duration exceeded timeout"), "TIME_LIMIT", False),
        (failed(75, status="not wanted any more", isTerminated=True), "STOPPED", False),
        (failed(status="CAPACITY:INSUFFICIENT_INSTANCE_CAPACITY"), "NO_CAPACITY", False),
        (failed(status="MISCONFIGURATION:JOB_RESOURCE_REQUIREMENT"), "MISCONFIGURED", False),
        ({"status": "FAILED"}, "JOB_FAILED", False),
        ({"status": "FAILED", "attempts": attempts(64)}, "TRAINING_DATA", False),  # of nodes: no container of its own
    ],
)
def test_every_ending_has_a_code_and_says_whether_another_job_may_go_on(job: Any, code: str, again: bool) -> None:
    ending = ending_of(job)
    assert (ending.code, ending.again) == (code, again)
    assert ending.sentence.endswith(".")
