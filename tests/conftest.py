"""What tests share: one local stack for the whole run, deployed from template.yaml with AUTH=true."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill.core.registry import Registry
from tidemill.core.settings import Settings
from tidemill.core.storage import Storage

ROOT = Path(__file__).resolve().parent.parent
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".build/jax"))  # equal shapes are compiled once
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("AWS_EC2_METADATA_DISABLED", "true")
os.environ.setdefault("AWS_DEFAULT_REGION", "us-east-1")


LONG = ("test_readme", "pipeline", "faults", "training", "local")  # these first: workers then end at nearly one time


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long comes first; nothing else about the order changes."""

    def place(item: pytest.Item) -> int:
        inside = item.path.relative_to(ROOT / "tests").parts[0]
        return next((at for at, name in enumerate(LONG) if inside.startswith(name)), len(LONG))

    items.sort(key=place)


@pytest.fixture(scope="session")
def root() -> Path:
    """The repository."""
    return ROOT


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The local stack, started once for the run in a folder and on a port of its own."""
    from tidemill.local import stack as local

    state = tmp_path_factory.mktemp("stack")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    running = local.up(ROOT, state, port=port)
    # Tests leave runs behind that nobody works on; what looks after such is asked for by those that test it.
    running.client("events").disable_rule(Name=running.resources["SweepRule"])
    yield running
    local.down(state)


@pytest.fixture(scope="session")
def resource(stack: Any) -> Any:
    """A DynamoDB resource with the administrator's key."""
    return stack.resource("dynamodb")


@pytest.fixture
def artifacts(stack: Any) -> Storage:
    """The artefacts bucket."""
    return Storage(stack.outputs["ArtifactsBucketName"], stack.client("s3"))


@pytest.fixture
def uploads(stack: Any) -> Storage:
    """The data bucket."""
    return Storage(stack.outputs["DataBucketName"], stack.client("s3"))


@pytest.fixture
def registry(stack: Any, resource: Any, artifacts: Storage) -> Registry:
    """The deployed registry, journal included."""
    return Registry(stack.outputs["TableName"], artifacts, resource)


@pytest.fixture
def settings(stack: Any) -> Settings:
    """The settings the functions have, as the template gives them."""
    outputs = stack.outputs
    return Settings(
        data_bucket=outputs["DataBucketName"],
        artifacts_bucket=outputs["ArtifactsBucketName"],
        table=outputs["TableName"],
        bus=outputs["EventBusName"],
        job_queue="tidemill-training",
        job_definition="tidemill-training",
    )


@pytest.fixture
def new_model() -> Callable[[], str]:
    """Names of models nobody else uses."""
    return lambda: f"m-{uuid.uuid4().hex[:12]}"
