"""The loop over real wires: buckets, queues with dead letters, rules, a table and local Batch, all over HTTP, with the
handlers in this process. A test takes each message to its handler, so that it decides what befalls it.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.test_crashes import SPEC, check, table

from tidemill.core import jobs
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage
from tidemill.local.definitions import Catalogue, Definition, save_catalogue
from tidemill.local.stack import Stack
from tidemill.local.state import Folder

HERE = Path(__file__).parent
STAGES = ("preprocess", "train", "promote")
PATIENCE_S = 240.0  # the first training compiles, on a machine that may be busy
QUEUE = "wires-training"
# What a queue must do is done by the queue; what the container must do is done by the test, which lets it end.
HELD = 'while [ ! -e "$GATES/$AWS_BATCH_JOB_ID" ]; do sleep 0.05; done'


@dataclass
class Mill:
    """The wires, and who takes messages from them."""

    stack: Stack
    gates: Path
    handle: Callable[[str, dict[str, Any]], dict[str, Any]] = field(default_factory=lambda: handle)
    work: Callable[[dict[str, Any]], int] = field(default_factory=lambda: work)
    deliveries: int = 0
    failures: int = 0

    def __post_init__(self) -> None:
        outputs = self.stack.outputs
        self.sqs, self.batch = self.stack.client("sqs"), self.stack.client("batch")
        s3 = self.stack.client("s3")
        self.uploads, self.artifacts = Storage(outputs["DataBucket"], s3), Storage(outputs["ArtifactsBucket"], s3)
        self.registry = Registry("wires-registry", self.artifacts, self.stack.resource("dynamodb"))
        self.queues = {stage: outputs[stage.title()] for stage in STAGES}

    def environment(self, endpoint: str) -> dict[str, str]:
        """What the template would tell handlers and jobs, with AWS at an endpoint."""
        return {
            **self.stack.credentials,
            "AWS_ENDPOINT_URL": endpoint,
            "TIDEMILL_DATA_BUCKET": self.uploads.bucket,
            "TIDEMILL_ARTIFACTS_BUCKET": self.artifacts.bucket,
            "TIDEMILL_TABLE": "wires-registry",
            "TIDEMILL_BUS": "wires",
            "TIDEMILL_JOB_QUEUE": QUEUE,
            "TIDEMILL_ON_DEMAND_QUEUE": QUEUE + "-on-demand",
            "TIDEMILL_JOB_DEFINITION": QUEUE,
            **{f"TIDEMILL_{stage.upper()}_QUEUE_URL": url for stage, url in self.queues.items()},
        }

    def upload(self, model: str, number: int = 0) -> None:
        """Put a table in the bucket; S3 tells the queue of it."""
        self.uploads.write_bytes(f"uploads/{model}/tidemill.toml", SPEC)
        self.uploads.write_bytes(f"uploads/{model}/u{number}/table.csv", table())

    def give_up_after(self, receives: int) -> None:
        """How often a queue gives a message before it goes to the dead letters."""
        dead = {"AttributeNames": ["QueueArn"], "QueueUrl": self.stack.outputs["Dead"]}
        arn = self.sqs.get_queue_attributes(**dead)["Attributes"]["QueueArn"]
        policy = json.dumps({"deadLetterTargetArn": arn, "maxReceiveCount": receives})
        for url in self.queues.values():
            self.sqs.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})

    def run_until(self, done: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Take messages and jobs until it is done and nothing is left on its way."""
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            took = [self.take(stage) for stage in STAGES] + [self.do_jobs()]
            if not any(took):
                if done():
                    return
                time.sleep(0.02)
        raise AssertionError("the loop did not come to its end")

    def take(self, stage: str, at_once: int = 10) -> int:
        """Take the messages of a queue, as an event source mapping does: done ones go, others come back at once."""
        asked = {"QueueUrl": self.queues[stage], "MaxNumberOfMessages": at_once}
        found = self.sqs.receive_message(**asked, AttributeNames=["ApproximateReceiveCount"]).get("Messages", [])
        if not found:
            return 0
        records = [
            {
                **{"messageId": message["MessageId"], "receiptHandle": message["ReceiptHandle"]},
                **{"body": message["Body"], "attributes": message["Attributes"]},
            }
            for message in found
        ]
        self.deliveries += 1
        os.environ["TIDEMILL_QUEUE_URL"] = self.queues[stage]
        answer = self.handle(stage, {"Records": records})
        failed = {item["itemIdentifier"] for item in answer["batchItemFailures"]}
        self.failures += len(failed)
        for message in found:
            given = {"QueueUrl": self.queues[stage], "ReceiptHandle": message["ReceiptHandle"]}
            if message["MessageId"] in failed:
                self.sqs.change_message_visibility(**given, VisibilityTimeout=0)
            else:
                self.sqs.delete_message(**given)
        return len(found)

    def do_jobs(self) -> int:
        """Do what a job does that Batch has taken, then let it end; Batch tells of it."""
        names = [job["jobId"] for queue in (QUEUE, QUEUE + "-on-demand") for job in jobs.alive(self.batch, queue)]
        names = [name for name in names if not (self.gates / name).exists()]
        for name, job in jobs.described(self.batch, names).items():
            code = self.work(job)
            while code == 75:  # as the retry rules of infra/batch.yaml
                code = self.work(job)
            assert code == 0, f"job {name} ended with {code}"
            (self.gates / name).touch()
        return len(names)

    def is_done(self, model: str) -> Callable[[], bool]:
        """Whether a model's run has its end and the gate has spoken."""

        def done() -> bool:
            runs = self.registry.runs(model)
            ended = bool(runs) and all(
                "decision" in run or run["state"] in ("REJECTED", "FAILED", "SUPERSEDED") for run in runs
            )
            return ended and not self.waiting()

        return done

    def waiting(self) -> int:
        """Messages in the queues, hidden ones too, and jobs that have not ended."""
        counted = ("ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible")
        count = sum(1 for queue in (QUEUE, QUEUE + "-on-demand") for _ in jobs.alive(self.batch, queue))
        for url in self.queues.values():
            about = self.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=list(counted))["Attributes"]
            count += sum(int(about[name]) for name in counted)
        return count

    def check(self, model: str) -> None:
        """One version, served, whole; the journal says what the table says; nothing among the dead letters."""
        check(self, model)  # type: ignore[arg-type]
        (run,) = self.registry.runs(model)
        kept = self.artifacts.read_json(f"registry/models/{model}/runs/{run['run']}.json")
        passing = ("progress", "lease_until")
        assert kept == {name: value for name, value in run.items() if name not in passing}
        assert self.artifacts.read_json(f"registry/models/{model}/versions/000001.json")["decision"] == run["decision"]
        assert self.artifacts.read_json(f"registry/models/{model}/aliases/000001.json") == self.registry.alias(model)
        assert not self.dead_letters()

    def dead_letters(self) -> list[str]:
        """The bodies of what was given up; each is seen once."""
        found = self.sqs.receive_message(QueueUrl=self.stack.outputs["Dead"], MaxNumberOfMessages=10)
        for message in found.get("Messages", []):
            given = {"QueueUrl": self.stack.outputs["Dead"], "ReceiptHandle": message["ReceiptHandle"]}
            self.sqs.delete_message(**given)
        return [message["Body"] for message in found.get("Messages", [])]

    def hold_back(self, model: str, folder: str) -> str:
        """Take the event of an upload off its queue: its body, to be sent later."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            url = self.queues["preprocess"]
            for message in self.sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
                self.sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
                if f"{model}/{folder}/table.csv" in message["Body"]:
                    return str(message["Body"])
        raise AssertionError("S3 told nobody of the upload")

    def send(self, stage: str, body: str) -> None:
        """Put a message on a queue, as its source or a redrive does."""
        self.sqs.send_message(QueueUrl=self.queues[stage], MessageBody=body)

    def poison(self) -> str:
        """A message that no try can handle: of a run that is not there."""
        return dataset_ready("nobody", "r-000000000000")


def dataset_ready(model: str, run: str) -> str:
    """What the bus puts on the queue of Train."""
    return json.dumps({"detail-type": "DatasetReady", "detail": {"model": model, "run": run}})


def told(mill: Mill, proxy: Any, model: str, choose: Any) -> None:
    """An upload through the loop while faults happen."""
    with proxy.faulty(choose):
        mill.upload(model)
        mill.run_until(mill.is_done(model))
    mill.check(model)


def offer_jobs(stack: Stack, gates: Path) -> None:
    """Let local Batch offer jobs that wait for the test to let them end."""
    queues = (QUEUE, QUEUE + "-on-demand")
    definition = Definition(QUEUE, ("sh", "-c", HELD), {"GATES": str(gates)}, {"model": "", "run": ""}, attempts=1)
    save_catalogue(Folder(stack.state), Catalogue(queues, (definition,), ()))


def handle(stage: str, event: dict[str, Any]) -> dict[str, Any]:
    """What Lambda does with a batch of messages."""
    import preprocess
    import promote
    import train

    handlers = {"preprocess": preprocess.handler, "train": train.handler, "promote": promote.handler}
    return handlers[stage](event, None)


def work(job: dict[str, Any]) -> int:
    """What the container of a job does; its exit code."""
    from tidemill.training import job as module

    return module.main({**os.environ, **names_of(job)})


def names_of(job: dict[str, Any]) -> dict[str, str]:
    """What Batch tells the container of a job."""
    told = {item["name"]: item["value"] for item in job["container"]["environment"]}
    return {**json.loads(json.dumps(told)), "AWS_BATCH_JOB_ID": job["jobId"]}
