"""The job table of local Batch and its rules: what a job is, what may follow an attempt, how it is kept."""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.local.definitions import Definition
from tidemill.local.state import read_json, write_json

Job = dict[str, Any]  # the answer of DescribeJobs; keys that begin with "_" are ours and never shown
ENDED = ("SUCCEEDED", "FAILED")
ACTIVE = ("STARTING", "RUNNING")
HOST_LOST = "Host EC2 (instance local) terminated."
CONTAINER_EXITED = "Essential container in task exited"
TIMED_OUT = "Job attempt duration exceeded timeout"
DAY_MS = 86_400_000
KEPT_MS = 7 * DAY_MS  # AWS Batch forgets ended jobs after about a week


@dataclass(frozen=True)
class Ending:
    """How an attempt ended: an exit code where the command ran to its end, and Batch's words."""

    exit_code: int | None
    status_reason: str
    reason: str = ""
    final: bool = False  # a timeout or a termination is never retried


def now_ms() -> int:
    """The time as Batch counts it."""
    return int(time.time() * 1000)


def new_job(request: Mapping[str, Any], definition: Definition, queue_arn: str, definition_arn: str) -> Job:
    """A job as SubmitJob leaves it: the definition with the request's overrides."""
    job_id = str(uuid.uuid4())
    nodes = request.get("nodeOverrides") or {}
    ranges = nodes.get("nodePropertyOverrides") or [{}]
    overrides = request.get("containerOverrides") or ranges[0].get("containerOverrides") or {}
    environment = dict(definition.environment)
    environment.update({item["name"]: item["value"] for item in overrides.get("environment", [])})
    parameters = {**definition.parameters, **(request.get("parameters") or {})}
    command = [substituted(word, parameters) for word in overrides.get("command") or definition.command]
    retry = request.get("retryStrategy") or {}
    timeout_s = (request.get("timeout") or {}).get("attemptDurationSeconds", definition.timeout_s)
    job: Job = {
        "jobArn": f"{queue_arn.rpartition(':')[0]}:job/{job_id}",
        "jobId": job_id,
        "jobName": request["jobName"],
        "jobQueue": queue_arn,
        "jobDefinition": definition_arn,
        "status": "SUBMITTED",
        "attempts": [],
        "createdAt": now_ms(),
        "dependsOn": [],
        "parameters": parameters,
        "retryStrategy": {
            "attempts": int(retry.get("attempts", definition.attempts)),
            "evaluateOnExit": list(retry.get("evaluateOnExit", definition.rules)),
        },
        "container": {
            "image": definition.image,
            "command": command,
            "jobRoleArn": definition.role_arn,
            "environment": [{"name": name, "value": value} for name, value in environment.items()],
            "volumes": [],
            "mountPoints": [],
            "ulimits": [],
            "resourceRequirements": overrides.get("resourceRequirements", []),
        },
        "tags": dict(request.get("tags") or {}),
        "propagateTags": bool(request.get("propagateTags", False)),
        "platformCapabilities": ["EC2"],
        "_mounts": list(definition.mounts),
        "_order": time.time_ns(),
    }
    if definition.nodes > 1:
        job["nodeProperties"] = {"numNodes": int(nodes.get("numNodes", definition.nodes)), "mainNode": 0}
    if timeout_s is not None:
        job["timeout"] = {"attemptDurationSeconds": int(timeout_s)}
    return job


def substituted(word: str, parameters: Mapping[str, str]) -> str:
    """`Ref::name` in a command becomes the job's parameter; one without a value stays, as on AWS."""
    if not word.startswith("Ref::"):
        return word
    return str(parameters.get(word[len("Ref::") :], word))


def shown(job: Job) -> Job:
    """A job without what is ours."""
    return {key: value for key, value in job.items() if not key.startswith("_")}


def retried(ending: Ending, retry: Mapping[str, Any], made: int) -> bool:
    """Whether another attempt follows: the first rule that fits decides, and where none fits the answer is yes."""
    if ending.final or ending.exit_code == 0 or made >= int(retry["attempts"]):
        return False
    for rule in retry.get("evaluateOnExit", []):
        if _fits(rule, ending):
            return bool(rule["action"].upper() == "RETRY")
    return True


def _fits(rule: Mapping[str, str], ending: Ending) -> bool:
    """All conditions of a rule must hold; an exit code that does not exist fits no pattern."""
    found = {"onStatusReason": ending.status_reason, "onReason": ending.reason, "onExitCode": ending.exit_code}
    return all(
        found[name] is not None and _matches(pattern, str(found[name]))
        for name, pattern in rule.items()
        if name != "action"
    )


def _matches(pattern: str, text: str) -> bool:
    """AWS's pattern: equal, or the same start where it ends with an asterisk."""
    return text.startswith(pattern[:-1]) if pattern.endswith("*") else text == pattern


def attempt_of(job: Job, ending: Ending) -> dict[str, Any]:
    """What is kept of an attempt."""
    container = {"logStreamName": job["container"].get("logStreamName", ""), "networkInterfaces": []}
    if ending.exit_code is not None:
        container["exitCode"] = ending.exit_code
    if ending.reason:
        container["reason"] = ending.reason
    times = {key: job[key] for key in ("startedAt",) if key in job}
    return {"container": container, **times, "stoppedAt": now_ms(), "statusReason": ending.status_reason}


class Table:
    """The jobs, each in a file of its own that is replaced whole."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.jobs: dict[str, Job] = {}
        for path in folder.glob("*.json"):
            job = read_json(path)
            if job is None or (job["status"] in ENDED and job.get("stoppedAt", 0) < now_ms() - KEPT_MS):
                path.unlink()
            else:
                self.jobs[job["jobId"]] = job

    def save(self, job: Job) -> None:
        """Keep a job as it is now."""
        self.jobs[job["jobId"]] = job
        write_json(self.folder / f"{job['jobId']}.json", job, mode=0o600)

    def waiting(self) -> Sequence[Job]:
        """The jobs that could start, the oldest first."""
        ready = [job for job in self.jobs.values() if job["status"] == "RUNNABLE"]
        return sorted(ready, key=lambda job: int(job["_order"]))
