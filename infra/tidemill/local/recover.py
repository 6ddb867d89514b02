"""After the local stack was killed: make its registry again from S3 and put unfinished work back on the queues."""

from __future__ import annotations

import json
from typing import Any

from tidemill.core.progress import Progress, Report, silent
from tidemill.core.rebuild import rebuild
from tidemill.core.registry import Item, Registry
from tidemill.core.scorings import LIVE, Scorings
from tidemill.core.storage import Storage
from tidemill.core.uploads import Upload, notification_of
from tidemill.local.stack import Stack, settled

ALIVE = {"SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"}


def recover(stack: Stack, report: Report = silent) -> dict[str, int]:
    """Rebuild and redrive; returns how many items of each kind came back and how many runs go on.

    Uploads whose event was lost before anything was written down count as new: their bytes are in the bucket.
    """
    s3, outputs = stack.client("s3"), stack.outputs
    artifacts = Storage(outputs["ArtifactsBucketName"], s3)
    uploads = Storage(outputs["DataBucketName"], s3)
    registry = Registry(outputs["TableName"], None, stack.resource("dynamodb"))
    report(Progress("recovering", message="rebuilding the registry from S3"))
    counts, unfinished = rebuild(registry, artifacts)
    sqs = stack.client("sqs")
    for run in unfinished:
        _put_back(run, registry, stack, sqs)
    scorings = _live_scorings(registry)
    for scoring in scorings:
        body = notification_of(Upload(**scoring["request"]))
        sqs.send_message(QueueUrl=outputs["ScoreQueueUrl"], MessageBody=body)
    lost = _lost_uploads(registry, uploads)
    for upload in lost:
        sqs.send_message(QueueUrl=outputs["PreprocessQueueUrl"], MessageBody=notification_of(upload))
    for item in registry.models():  # a killed stack forgets its schedules
        if item["champion"]:
            body = json.dumps({"wake": "clocks", "model": item["model"]})
            sqs.send_message(QueueUrl=outputs["RetrainQueueUrl"], MessageBody=body)
    settled(stack.state)
    resumed = len(unfinished) + len(scorings) + len(lost)
    report(Progress("recovering", message=f"{sum(counts.values())} items restored, {resumed} runs go on"))
    return {**counts, "resumed": resumed}


def _put_back(run: Item, registry: Registry, stack: Stack, sqs: Any) -> None:
    """Give a run the message that moves it on from where it stands."""
    outputs, names = stack.outputs, {"model": run["model"], "run": run["run"]}
    if run["state"] == "RECEIVED":
        body = notification_of(Upload(**run["upload"]))
        sqs.send_message(QueueUrl=outputs["PreprocessQueueUrl"], MessageBody=body)
        return
    if run["state"] in ("SUBMITTED", "RUNNING"):
        if _is_alive(stack, run.get("holder") or run.get("job")):
            return  # the local Batch endpoint starts it again by itself
        free = {name: value for name, value in run.items() if name not in ("holder", "attempt", "job")}
        run = {**free, "state": "PREPARED"}
        registry.restore("run", run)
    kind, queue = (
        ("DatasetReady", "TrainQueueUrl") if run["state"] == "PREPARED" else ("VersionRegistered", "PromoteQueueUrl")
    )
    body = json.dumps({"source": "tidemill", "detail-type": kind, "detail": names})
    sqs.send_message(QueueUrl=outputs[queue], MessageBody=body)


def _live_scorings(registry: Registry) -> list[Item]:
    """Scorings that have not ended; one that a job has is left to it when its message comes."""
    scorings = Scorings(registry)
    found = [item for model in registry.models() for item in scorings.of(model["model"])]
    return [item for item in found if item["state"] in LIVE]


def _is_alive(stack: Stack, job: str | None) -> bool:
    if not job:
        return False
    described = stack.client("batch").describe_jobs(jobs=[job])["jobs"]
    return bool(described) and described[0]["status"] in ALIVE


def _lost_uploads(registry: Registry, uploads: Storage) -> list[Upload]:
    """Objects under uploads/ that no run knows, oldest first. Their arrival is the time S3 remembers."""
    known = {
        (run["upload"]["key"], run["upload"]["etag"])
        for model in registry.models()
        for run in registry.runs(model["model"])
    }
    found = [_upload_of(uploads.bucket, item) for item in uploads.keys("uploads/")]
    new = [upload for upload in found if upload.is_data() and (upload.key, upload.etag) not in known]
    return sorted(new, key=lambda upload: upload.order)


def _upload_of(bucket: str, item: dict[str, Any]) -> Upload:
    stamp = item["LastModified"]
    return Upload(
        bucket=bucket,
        key=item["Key"],
        size_bytes=item["Size"],
        etag=item["ETag"].strip('"'),
        sequencer=f"{int(stamp.timestamp() * 1000):016X}",
        time=stamp.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
    )
