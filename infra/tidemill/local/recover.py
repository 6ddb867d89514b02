"""After the local stack was killed: make its registry again from S3, and let a sweep put unfinished work back."""

from __future__ import annotations

from tidemill.core.progress import Progress, Report, silent
from tidemill.core.rebuild import rebuild
from tidemill.core.registry import Registry
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage
from tidemill.core.sweep import Sweep
from tidemill.local.stack import Stack, settled


def recover(stack: Stack, report: Report = silent) -> dict[str, int]:
    """Rebuild and redrive; returns how many items of each kind came back and how many runs go on.

    Uploads whose event was lost before anything was written down count as new: their bytes are in the bucket.
    """
    s3, outputs = stack.client("s3"), stack.outputs
    artifacts = Storage(outputs["ArtifactsBucketName"], s3)
    uploads = Storage(outputs["DataBucketName"], s3)
    resource = stack.resource("dynamodb")
    report(Progress("recovering", message="rebuilding the registry from S3"))
    counts, unfinished = rebuild(Registry(outputs["TableName"], None, resource), artifacts)
    registry = Registry(outputs["TableName"], artifacts, resource)
    sqs = stack.client("sqs")
    done = Sweep(registry, uploads, artifacts, settings_of(stack), sqs, stack.client("batch"), hurry=True).run()
    settled(stack.state)
    known = sum(len(registry.runs(model["model"])) for model in registry.models())
    resumed = len(unfinished) + done["scoring sent again"] + known - counts["run"]
    report(Progress("recovering", message=f"{sum(counts.values())} items restored, {resumed} runs go on"))
    return {**counts, "resumed": resumed}


def settings_of(stack: Stack) -> Settings:
    """The names that Sweep works with, as the deployed template gives them."""
    outputs = stack.outputs
    return Settings(
        data_bucket=outputs["DataBucketName"],
        artifacts_bucket=outputs["ArtifactsBucketName"],
        table=outputs["TableName"],
        job_queue=f"{stack.name}-training",
        on_demand_queue=f"{stack.name}-training-on-demand",
        nodes=f"{stack.name}-training-nodes",
        preprocess_queue_url=outputs["PreprocessQueueUrl"],
        train_queue_url=outputs["TrainQueueUrl"],
        promote_queue_url=outputs["PromoteQueueUrl"],
        score_queue_url=outputs["ScoreQueueUrl"],
        retrain_queue_url=outputs["RetrainQueueUrl"],
    )
