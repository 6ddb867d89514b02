"""A run whose job waits says why, to the API and to the command."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.cli.conftest import Command
from tests.doubles.plane import Plane, with_income

RUN = "r-0123456789ab"
JOB = {"jobId": "job-9", "status": "STARTING", "jobQueue": "q", "createdAt": 5}


def plane_with(job: dict[str, Any] | Exception, **fields: Any) -> Plane:
    """A model whose newest run depends on a job that Batch describes like this."""

    def describe_jobs(*, jobs: list[str]) -> dict[str, Any]:
        if isinstance(job, Exception):
            raise job
        return {"jobs": [job] if job["jobId"] in jobs else []}

    plane = with_income(Plane(batch=SimpleNamespace(describe_jobs=describe_jobs)))
    upload = {"key": "uploads/income/u9/adult.csv", "size_bytes": 1}
    run = {"run": RUN, "model": "income", "state": "SUBMITTED", "order": "2026-02", "upload": upload, "job": "job-9"}
    plane.registry.rows["income"]["runs"].insert(0, {**run, "times": {}, "swept": {"state": "x"}, **fields})
    return plane


def test_a_run_that_waits_for_its_machine_says_why() -> None:
    client = plane_with(JOB).client()
    shown = client.get(f"/models/income/runs/{RUN}").json()
    assert (shown["wait"]["code"], shown["wait"]["job"]) == ("IMAGE_PULL", "STARTING")
    assert "swept" not in shown, "the table's own business"
    (listed,) = client.get("/models/income/runs", params={"upload": "u9"}).json()["runs"]
    assert listed["wait"] == shown["wait"]


@pytest.mark.parametrize(
    "plane",
    [
        plane_with({**JOB, "status": "RUNNING"}),
        plane_with(JOB, state="RUNNING", holder="job-9", lease_until=9_999_999_999),
        plane_with(JOB, state="READY", decision={"promoted": False, "code": "X", "message": "x"}),
        plane_with({**JOB, "jobId": "another"}),
        plane_with(ClientError({"Error": {"Code": "TooManyRequests", "Message": ""}}, "DescribeJobs")),
    ],
)
def test_a_run_that_does_not_wait_or_cannot_be_asked_after_is_shown_as_it_is(plane: Plane) -> None:
    answer = plane.client().get(f"/models/income/runs/{RUN}")
    assert answer.status_code == 200 and "wait" not in answer.json()


def test_the_command_says_why_a_run_waits(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    again = {"job": "job-8", "why": "The job's machine was taken away.", "at": "x"}
    run = Command(plane_with(JOB, retries=1, interrupted=again), tmp_path, monkeypatch)
    said = run("runs", RUN).output
    assert "fetches the training image" in " ".join(said.split())
    assert "Begun again 1 times, last because: The job's machine was taken away." in " ".join(said.split())
    assert "fetches the training image" in run.json("status")["waits"]["income"]
