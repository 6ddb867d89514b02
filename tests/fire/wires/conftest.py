"""The wires, the proxy in front of them, and handlers of this process that talk to it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import boto3
import pytest
from tests.fire.proxy import Proxy, proxy_to
from tests.fire.wires.mill import HERE, Mill, names_of, offer_jobs

from tidemill.core import clients, manifest
from tidemill.local import stack as local


@pytest.fixture(scope="session")
def mill(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mill]:
    """The wires, on a local stack without functions."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    state, gates = tmp_path_factory.mktemp("wires"), tmp_path_factory.mktemp("gates")
    running = local.up(HERE, state, port=port)
    offer_jobs(running, gates)
    yield Mill(running, gates)
    local.down(state)


@pytest.fixture(scope="session")
def proxy(mill: Mill) -> Iterator[Proxy]:
    """The proxy in front of the wires."""
    with proxy_to(mill.stack.port) as made:
        yield made


@pytest.fixture(scope="session")
def trained(mill: Mill, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle that one real job, a process of its own, made of the table that every test uploads.

    JAX stays out of this process: what has its threads cannot be forked.
    """

    def work(job: dict[str, Any]) -> int:
        environment = {**os.environ, **mill.environment(mill.stack.endpoint), **names_of(job)}
        return subprocess.run([sys.executable, "-m", "tidemill.training.job"], env=environment, check=False).returncode

    with pytest.MonkeyPatch.context() as patch:
        for name, value in mill.environment(mill.stack.endpoint).items():
            patch.setenv(name, value)
        clients.forget()
        patch.setattr(mill, "work", work)
        mill.upload("trained")
        mill.run_until(mill.is_done("trained"))
    alias = mill.registry.alias("trained")
    assert alias is not None
    folder = tmp_path_factory.mktemp("trained")
    mill.artifacts.read_folder(alias["bundle"], folder)
    return folder


@pytest.fixture(autouse=True)
def here(mill: Mill, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, trained: Path) -> Iterator[None]:
    """Handlers and jobs of this process talk to the proxy, and wait milliseconds where they would wait seconds."""
    from tidemill.training import job

    def fit_bundle(dataset: Path, spec: Any, out: Path, *, run: dict[str, Any], **_: Any) -> None:
        shutil.copytree(trained, out, dirs_exist_ok=True)
        (out / manifest.NAME).unlink()
        manifest.write(out, "bundle", **run)

    class Interrupted(Exception):
        """Nobody is, here."""

    for name, value in mill.environment(proxy.url).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setitem(sys.modules, "tidemill.training.fit", SimpleNamespace(fit_bundle=fit_bundle))
    monkeypatch.setitem(sys.modules, "tidemill.training.checkpoint", SimpleNamespace(Interrupted=Interrupted))
    monkeypatch.setattr(job, "REPORT_EVERY_S", 1e9)
    monkeypatch.setattr(clients, "CONFIG", clients.CONFIG.merge(type(clients.CONFIG)(read_timeout=1.0)))
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda *_: 0.005)
    proxy.slow_s = 1.5  # longer than the client waits: the answer is lost to it
    boto3.setup_default_session()
    clients.forget()
    yield
    clients.forget()
    boto3.DEFAULT_SESSION = None
