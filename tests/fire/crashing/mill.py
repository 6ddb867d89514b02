"""The whole loop in one process and in memory: every AWS call is counted, may be the last, and is looked at afterwards.

Handlers and job are the product's; S3 and DynamoDB are tests/doubles/memory_aws.py behind the real clients; events,
queues and jobs are one list of messages, delivered in an order that the run chooses. Time is counted, not measured.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.doubles.memory_aws import Answer, MemoryAws, Place, refused
from tests.fire.checker import Log

from tidemill.core.uploads import Upload, notification_of

DATA, ARTIFACTS, TABLE, MODEL = "data", "artifacts", "registry", "m"
EPOCH = datetime(2026, 11, 1, tzinfo=UTC)
MOST_DELIVERIES = 21  # of one message, before its queue gives it up
ROUTES = {
    **{"DatasetReady": "train", "RunInterrupted": "train", "VersionRegistered": "promote"},
    **{"HealthBroken": "promote", "CanaryEnded": "promote"},
}
Message = dict[str, Any]

ONE_AT_A_TIME = threading.RLock()


class Crash(BaseException):
    """The process is gone. Not an Exception: nothing in the code may survive it."""


@dataclass(frozen=True)
class Fault:
    """What happens at one AWS call: the process ends before or after it, the client sends it twice because the answer
    was lost, or the process stands still while its message is given to another and everything else goes on."""

    at: int
    kind: str  # before, after, repeat, pause


@dataclass(frozen=True)
class Orders:
    """How messages and jobs come: once, doubled, reversed or delayed; in order, reversed or twice."""

    messages: str = "once"
    jobs: str = "in order"


@dataclass
class Mill:
    """One run of the loop. `script` is what people do, one step whenever nothing is on its way."""

    script: list[Callable[[Mill], None]]
    handle: Callable[[Mill, Message], bool]  # whether the message is done with
    orders: Orders = field(default_factory=Orders)
    aws: MemoryAws = field(default_factory=MemoryAws)
    pending: list[Message] = field(default_factory=list)
    batch: dict[str, dict[str, Any]] = field(default_factory=dict)
    log: Log = field(default_factory=Log)
    clock_ms: int = 0
    skew_ms: int = 0  # how wrong the clock of the process at work is
    step: int = 0
    calls: int = 0
    serial: int = 0
    fault: Fault | None = None
    seen: list[str] = field(default_factory=list)  # the calls by name
    nested: int = 0
    at_work: Message = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.aws.now = lambda: EPOCH + timedelta(milliseconds=self.clock_ms)

    # ------------------------------------------------------------------ time
    def now(self) -> datetime:
        """What the clock of the process at work shows."""
        return EPOCH + timedelta(milliseconds=self.clock_ms + self.skew_ms)

    def wait(self, seconds: int) -> None:
        """Let time go by."""
        self.clock_ms += 1000 * seconds

    # ------------------------------------------------------------------ going on
    def run(self, before: Callable[[], None] = lambda: None) -> None:
        """Go on until nothing is on its way and the script is at its end; `before` each step and message."""
        while self.pending or self.step < len(self.script):
            before()
            if self.pending:
                self.deliver(self._next())
            else:
                self.step += 1
                self.script[self.step - 1](self)

    def deliver(self, message: Message) -> None:
        """Give a message to its handler; one that failed or whose process died comes back."""
        if self.orders.messages == "doubled" and message["stage"] != "job" and "copy" not in message:
            self.pending.append({**message, "copy": True})
        self.log.record("delivered", stage=message["stage"], tries=message["tries"])
        try:
            done = self.handle(self, message)
        except Crash:
            self.wait(60)  # until the message is seen again
            self.pending.insert(0, {**message, "copy": True})
            return
        if not done and message["tries"] < MOST_DELIVERIES:
            self.wait(30)
            self.pending.append({**message, "tries": message["tries"] + 1, "copy": True})
        elif not done:
            self.log.record("given up", stage=message["stage"], body=message.get("body"))

    def _next(self) -> Message:
        jobs = [message for message in self.pending if message["stage"] == "job"]
        others = [message for message in self.pending if message["stage"] != "job"]
        chosen = self.pending[0]
        if self.orders.jobs == "reversed" and jobs:
            chosen = others[0] if others else jobs[-1]
        if self.orders.messages == "reversed" and chosen["stage"] != "job":
            chosen = others[-1]
        if self.orders.messages == "delayed" and len(self.pending) > 1:
            prompt = [message for message in self.pending if message["serial"] % 2]
            chosen = prompt[0] if prompt else chosen
        if self.orders.messages == "delayed" and chosen["serial"] % 2 == 0:
            self.wait(600)
        self.pending = [message for message in self.pending if message is not chosen]
        return chosen

    def send(self, stage: str, **more: Any) -> None:
        """Put a message on its way."""
        self.serial += 1
        self.pending.append({"stage": stage, "serial": self.serial, "tries": 1, **more})

    # ------------------------------------------------------------------ AWS
    def call(self, operation: str, request: dict[str, Any]) -> Answer:
        """One AWS call of the process at work, with what happens at it; a rebuild makes several at once."""
        with ONE_AT_A_TIME:
            return self._call(operation, request)

    def _call(self, operation: str, request: dict[str, Any]) -> Answer:
        self.clock_ms += 7
        if not self.nested:
            self.calls += 1
            self.seen.append(operation)
        fault = self.fault if not self.nested and self.fault and self.fault.at == self.calls else None
        if fault and fault.kind == "before":
            raise Crash(operation)
        if fault and fault.kind == "pause":
            self._stand_still()
        if hasattr(request.get("Body"), "read"):
            request = {**request, "Body": request["Body"].read()}
        answer = self.answer(operation, request)
        if fault and fault.kind == "repeat":
            answer = self.answer(operation, request)
        self.log.look(self.aws, self.clock_ms)
        if fault and fault.kind == "after":
            raise Crash(operation)
        return answer

    def _stand_still(self) -> None:
        """Two hours in which the message at work is given to another process and everything else goes on."""
        self.nested += 1
        self.wait(7200)
        at_work, self.pending = self.at_work, [{**self.at_work, "copy": True}, *self.pending]
        ONE_AT_A_TIME.release()  # this process stands still; the others may have threads of their own
        try:
            while self.pending:
                self.deliver(self._next())
        finally:
            ONE_AT_A_TIME.acquire()
        self.at_work = at_work
        self.nested -= 1

    def answer(self, operation: str, request: dict[str, Any]) -> Answer:
        """What AWS says."""
        answer = self.aws.answer(operation, request)
        if answer is not None:
            if operation == "PutObject" and answer[0] == 200:
                self._notice(request["Bucket"], request["Key"])
            return answer
        if operation == "PutEvents":
            for entry in request["Entries"]:
                self._told(entry["DetailType"], json.loads(entry["Detail"]))
            return 200, {"FailedEntryCount": 0, "Entries": []}
        if operation == "SendMessage":
            self.send(request["QueueUrl"].rpartition("/")[2], body=request["MessageBody"])
            return 200, {"MessageId": "1", "MD5OfMessageBody": ""}
        if operation == "GetSchedule":  # of a deployment without clocks: Retrain looks and finds none to delete
            return refused(404, "ResourceNotFoundException", "There is no such schedule.")
        if operation == "ChangeMessageVisibility":
            return 200, {}
        return 200, self._batch(operation, request)

    def _told(self, name: str, detail: dict[str, Any]) -> None:
        self.log.record("told", name=name, detail=detail)
        if name in ROUTES:
            self.send(ROUTES[name], body=json.dumps({"detail-type": name, "detail": detail}))

    def _notice(self, bucket: str, key: str) -> None:
        """Tell of a new object, as S3 does."""
        stage = {"uploads": "preprocess", "requests": "score"}.get(key.split("/")[0])
        if bucket != DATA or stage is None or key.endswith(".toml"):
            return
        made = self.aws.newest(bucket, key)
        assert made is not None
        told = made.at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        upload = Upload(bucket, key, len(made.body), made.etag, f"{self.aws.number:08X}1", told, made.version)
        self.log.record("uploaded", **upload.to_json(), run=upload.run)
        self.send(stage, body=notification_of(upload))

    def _batch(self, operation: str, request: dict[str, Any]) -> dict[str, Any]:
        if operation == "SubmitJob":
            jobs = [self._submit(request) for _ in range(2 if self.orders.jobs == "twice" else 1)]
            return {"jobId": jobs[-1], "jobName": request["jobName"]}
        if operation == "DescribeJobs":
            return {"jobs": [self.batch[name] for name in request["jobs"] if name in self.batch]}
        if operation == "ListJobs":
            wanted = (request["jobQueue"], request["jobStatus"])
            return {
                "jobSummaryList": [job for job in self.batch.values() if (job["jobQueue"], job["status"]) == wanted]
            }
        if operation == "TerminateJob":
            ended = {"status": "FAILED", "statusReason": request["reason"], "isTerminated": True}
            self.batch[request["jobId"]] = {**self.batch[request["jobId"]], **ended}
            return {}
        raise AssertionError(f"The mill does not know {operation}")

    def _submit(self, request: dict[str, Any]) -> str:
        job = f"job-{len(self.batch) + 1}"
        about = {"jobId": job, "jobName": request["jobName"], "jobQueue": request["jobQueue"]}
        made = {"createdAt": int(self.now().timestamp() * 1000), "parameters": request["parameters"]}
        self.batch[job] = {**about, **made, "status": "RUNNABLE"}
        self.send("job", job=job, **request["parameters"])
        return job

    def job_went(self, job: str, status: str, **more: Any) -> None:
        """Batch notes how a job stands and tells of its end."""
        self.batch[job] = {**self.batch[job], "status": status, **more}
        if status in ("SUCCEEDED", "FAILED"):
            body = {"detail-type": "Batch Job State Change", "detail": self.batch[job]}
            self.send("promote", body=json.dumps(body))

    # ------------------------------------------------------------------ copies
    def copied(self) -> dict[str, Any]:
        """Where the run stands, for going back to it."""
        plain = ("clock_ms", "step", "calls", "serial")
        lists = {"pending": list(self.pending), "batch": dict(self.batch), "seen": list(self.seen)}
        return {
            **{name: getattr(self, name) for name in plain},
            **lists,
            "aws": self.aws.copied(),
            "log": self.log.copied(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a copied state."""
        for name in ("clock_ms", "step", "calls", "serial"):
            setattr(self, name, state[name])
        self.pending, self.batch, self.seen = list(state["pending"]), dict(state["batch"]), list(state["seen"])
        self.aws.restore(state["aws"])
        self.log.restore(state["log"])
        self.fault, self.nested, self.skew_ms = None, 0, 0


def put(mill: Mill, bucket: str, key: str, body: bytes) -> None:
    """A person lays an object down."""
    mill.clock_ms += 1000
    mill.answer("PutObject", {"Bucket": bucket, "Key": key, "Body": body})


def environment() -> dict[str, str]:
    """What the functions and the job are told."""
    queues = ("preprocess", "train", "promote", "score", "retrain")
    keys = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "not-a-secret"}
    return {
        **{**keys, "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
        **{"TIDEMILL_DATA_BUCKET": DATA, "TIDEMILL_ARTIFACTS_BUCKET": ARTIFACTS, "TIDEMILL_TABLE": TABLE},
        **{"TIDEMILL_BUS": "bus", "TIDEMILL_QUEUE_URL": "http://queue.invalid/1/q", "TIDEMILL_TOPIC": ""},
        **{"TIDEMILL_JOB_QUEUE": "jobs", "TIDEMILL_JOB_DEFINITION": "job", "TIDEMILL_ON_DEMAND_QUEUE": "on-demand"},
        **{"TIDEMILL_SCHEDULE_GROUP": "clocks"},
        **{f"TIDEMILL_{name.upper()}_QUEUE_URL": f"http://queue.invalid/1/{name}" for name in queues},
    }


def handle(mill: Mill, message: Message) -> bool:
    """Give a message to the product's handler, as Lambda or Batch would; whether it is done with."""
    mill.at_work = message
    mill.skew_ms = message.get("skew_ms", 0)
    try:
        if message["stage"] == "job":
            return _job(mill, message)
        if message["stage"] == "person":
            message["act"]()
            return True
        module = __import__(message["stage"])
        tries = {"ApproximateReceiveCount": str(message["tries"])}
        record = {"messageId": "1", "receiptHandle": "r", "body": message["body"], "attributes": tries}
        return bool(module.handler({"Records": [record]}, _Context())["batchItemFailures"] == [])
    finally:
        mill.skew_ms = 0


class _Context:
    """What Lambda tells a function of its time."""

    @staticmethod
    def get_remaining_time_in_millis() -> int:
        """Fifteen minutes, always."""
        return 900_000


def _job(mill: Mill, message: Message) -> bool:
    from tidemill.training import job

    if mill.batch[message["job"]]["status"] not in ("RUNNABLE", "RUNNING"):
        return True  # terminated while it waited
    mill.batch[message["job"]] = {**mill.batch[message["job"]], "status": "RUNNING"}
    names = {"TIDEMILL_MODEL": message["model"], "TIDEMILL_RUN": message["run"], "AWS_BATCH_JOB_ID": message["job"]}
    code = job.main({**os.environ, **names})
    if code == job.INTERRUPTED and message["tries"] < 5:
        return False
    if mill.batch[message["job"]]["status"] == "RUNNING":
        mill.job_went(message["job"], "SUCCEEDED" if code == 0 else "FAILED", container={"exitCode": code})
    return True


__all__ = [
    "ARTIFACTS",
    "DATA",
    "MODEL",
    "TABLE",
    "Crash",
    "Fault",
    "Mill",
    "Orders",
    "Place",
    "environment",
    "handle",
    "put",
]
