"""A world for every test of faults, and training that is done once."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.faults.world import World, connected

from tidemill.core import manifest
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage

QUEUES = ("preprocess", "train", "promote", "score", "retrain")


@pytest.fixture(scope="session")
def quick_fit(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Any]:
    """The real fit_bundle, done once per dataset and copied afterwards: crashes happen around it, not in it."""
    from tidemill.training import fit

    kept: dict[str, Path] = {}
    really = fit.fit_bundle

    def fit_bundle(dataset: Path, spec: Any, out: Path, *, run: dict[str, Any], **more: Any) -> Any:
        if run["dataset"] not in kept:
            kept[run["dataset"]] = tmp_path_factory.mktemp("bundle") / "bundle"
            really(dataset, spec, kept[run["dataset"]], run=run, **more)
        shutil.copytree(kept[run["dataset"]], out, dirs_exist_ok=True)
        (out / manifest.NAME).unlink()
        manifest.write(out, "bundle", **run)

    return fit_bundle


@pytest.fixture(scope="session")
def quiet_table(stack: Any) -> str:
    """A registry that the deployed functions do not know."""
    name, kinds = "quiet-registry", (("pk", "HASH"), ("sk", "RANGE"))
    stack.client("dynamodb").create_table(
        TableName=name,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in kinds],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in kinds],
        BillingMode="PAY_PER_REQUEST",
    )
    return name


@pytest.fixture
def world(
    stack: Any,
    resource: Any,
    quiet_table: str,
    artifacts: Storage,
    settings: Any,
    monkeypatch: pytest.MonkeyPatch,
    quick_fit: Any,
) -> Iterator[World]:
    """A world whose uploads lie in a bucket, and whose runs in a table, that wake nobody but the test."""
    from tidemill.training import fit, job

    s3 = stack.client("s3")
    bucket = "quiet-uploads"
    if bucket not in [item["Name"] for item in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=bucket)
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    made = World(Registry(quiet_table, artifacts, resource), Storage(bucket, s3), artifacts)
    environment = {
        **stack.credentials,
        "TIDEMILL_DATA_BUCKET": bucket,
        "TIDEMILL_ARTIFACTS_BUCKET": settings.artifacts_bucket,
        "TIDEMILL_TABLE": quiet_table,
        "TIDEMILL_BUS": settings.bus,
        "TIDEMILL_QUEUE_URL": "http://queue.invalid/1/q",
        "TIDEMILL_JOB_QUEUE": settings.job_queue,
        "TIDEMILL_JOB_DEFINITION": settings.job_definition,
        "TIDEMILL_ON_DEMAND_QUEUE": settings.job_queue + "-on-demand",
        **{f"TIDEMILL_{name.upper()}_QUEUE_URL": f"http://queue.invalid/1/{name}" for name in QUEUES},
    }
    monkeypatch.setattr(fit, "fit_bundle", quick_fit)
    monkeypatch.setattr(job, "REPORT_EVERY_S", 1e9)  # so that a job makes the same calls each time
    with connected(made, environment, monkeypatch.setenv):
        yield made
