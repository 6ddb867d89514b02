"""One local stack with the sample project, and stacks to break."""

from __future__ import annotations

import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tidemill.local import stack as local
from tidemill.local.stack import Stack

PROJECT = Path(__file__).parent / "project"


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


BARE = """
Resources:
  Bucket: { Type: AWS::S3::Bucket, DeletionPolicy: Retain, Properties: { BucketName: !Sub "bare-${AWS::AccountId}" } }
Outputs:
  BucketName: { Value: !Ref Bucket }
"""


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """A running stack with the sample project, shared and never broken; the person's shell holds a canary."""
    state = tmp_path_factory.mktemp("sample")
    with pytest.MonkeyPatch.context() as shell:
        shell.setenv("PERSONAL_TOKEN", "canary")
        shell.setenv("AWS_PROFILE", "canary")
        running = local.up(PROJECT, state, port=free_port())
    yield running
    local.down(state)


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the sample project that a test may change."""
    return Path(shutil.copytree(PROJECT, tmp_path / "project"))


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    """A project of one bucket, for tests of starting and stopping."""
    folder = tmp_path / "bare"
    folder.mkdir()
    (folder / "template.yaml").write_text(BARE)
    return folder


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Start a stack of one's own, which is stopped afterwards."""
    state = tmp_path / "state"

    def up(project: Path, **options: Any) -> Stack:
        return local.up(project, state, **{"port": free_port(), **options})

    yield up
    local.down(state)


@pytest.fixture
def eventually() -> Callable[..., Any]:
    """Ask until the answer is true."""

    def ask(question: Callable[[], Any], within_s: float = 20.0) -> Any:
        deadline = time.monotonic() + within_s
        while not (answer := question()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return answer

    return ask
