"""A world that can end at any AWS call: the handlers in this process, S3 and DynamoDB of the local stack, and events
and jobs kept in lists so that a test decides when and how often they are delivered.
"""

from __future__ import annotations

import json
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3

from tidemill.core import clients
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage


class Crash(BaseException):
    """The process is gone. Not an Exception: nothing in the code may survive it."""


@dataclass
class Calls:
    """Counts the AWS calls of one handler and ends the process at one of them."""

    crash_at: int | None = None
    after: bool = False
    seen: list[str] = field(default_factory=list)
    here: int | None = field(default_factory=threading.get_ident)  # the thread whose calls count; None: all

    def before_call(self, name: str) -> None:
        if self.here not in (None, threading.get_ident()):
            return
        self.seen.append(name)
        if self.crash_at == len(self.seen) and not self.after:
            raise Crash(f"before {name}")

    def after_call(self, name: str) -> None:
        counted = self.here in (None, threading.get_ident())
        if counted and self.crash_at == len(self.seen) and self.after:
            raise Crash(f"after {name}")


@dataclass
class World:
    """What is on its way (uploads, events, jobs) and what answers for AWS where no AWS is."""

    registry: Registry
    uploads: Storage
    artifacts: Storage
    events: list[dict[str, Any]] = field(default_factory=list)
    jobs: list[dict[str, str]] = field(default_factory=list)
    messages: list[dict[str, str]] = field(default_factory=list)  # sent to queues by name, by the sweep
    batch: dict[str, dict[str, Any]] = field(default_factory=dict)  # what Batch knows of each job
    calls: Calls = field(default_factory=Calls)

    def answer(self, operation: str, request: dict[str, Any]) -> dict[str, Any] | None:
        """EventBridge, Batch and the queue's visibility, in memory; None: let S3 and DynamoDB answer."""
        if operation == "PutEvents":
            for entry in request["Entries"]:
                self.events.append({"detail-type": entry["DetailType"], "detail": json.loads(entry["Detail"])})
            return {"FailedEntryCount": 0, "Entries": []}
        if operation == "SubmitJob":
            job = f"job-{uuid.uuid4().hex[:8]}"
            self.jobs.append({"job": job, **request["parameters"]})
            about = {"jobId": job, "jobName": request["jobName"], "jobQueue": request["jobQueue"]}
            made = {"createdAt": int(time.time() * 1000), "parameters": request["parameters"]}
            self.batch[job] = {**about, **made, "status": "RUNNABLE"}
            return {"jobId": job, "jobName": request["jobName"]}
        if operation == "DescribeJobs":
            return {"jobs": [self.batch[name] for name in request["jobs"] if name in self.batch]}
        if operation == "ListJobs":
            wanted = (request["jobQueue"], request["jobStatus"])
            found = [job for job in self.batch.values() if (job["jobQueue"], job["status"]) == wanted]
            return {"jobSummaryList": found}
        if operation == "TerminateJob":
            ended = {"status": "FAILED", "statusReason": request["reason"], "isTerminated": True}
            self.batch[request["jobId"]].update(ended)
            return {}
        if operation == "SendMessage":
            self.messages.append({"stage": request["QueueUrl"].rpartition("/")[2], "body": request["MessageBody"]})
            return {"MessageId": "1", "MD5OfMessageBody": ""}
        if operation == "ChangeMessageVisibility":
            return {}
        return None

    @contextmanager
    def crashing(self, at: int | None, after: bool) -> Iterator[Calls]:
        """Run a handler that ends at its AWS call number `at` (None: it lives)."""
        self.calls = Calls(at, after)
        try:
            yield self.calls
        finally:
            done, self.calls = self.calls, Calls()
            done.crash_at = None


@contextmanager
def connected(world: World, environment: dict[str, str], set_environment: Callable[[str, str], None]) -> Iterator[None]:
    """Point every boto3 client made in this process at the world."""
    for name, value in environment.items():
        set_environment(name, value)
    clients.forget()
    boto3.setup_default_session()
    emitter = boto3.DEFAULT_SESSION._session.get_component("event_emitter")  # type: ignore[attr-defined]

    def remember(params: dict[str, Any], model: Any, context: dict[str, Any], **_: Any) -> None:
        context["tidemill_request"] = dict(params)

    def before(model: Any, params: Any, request_signer: Any, context: dict[str, Any], **_: Any) -> Any:
        world.calls.before_call(model.name)
        answer = world.answer(model.name, context.get("tidemill_request", {}))
        if answer is None:
            return None
        world.calls.after_call(model.name)
        return Reply(), answer

    def after(model: Any, **_: Any) -> None:
        world.calls.after_call(model.name)

    emitter.register("provide-client-params", remember)
    emitter.register("before-call", before)
    emitter.register("after-call", after)
    try:
        yield
    finally:
        boto3.DEFAULT_SESSION = None
        clients.forget()


class Reply:
    """The HTTP side of an answer made in memory."""

    status_code = 200
