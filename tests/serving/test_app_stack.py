"""The control plane as it is deployed: over HTTP, with the rights of its own role."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.doubles.plane import METRICS, MemoryRegistry

from tidemill.core.clock import now
from tidemill.core.keys import new_key
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage
from tidemill.serving.app import world

pytestmark = pytest.mark.stack


@pytest.fixture(scope="module")
def client(stack: Any, resource: Any) -> Iterator[httpx.Client]:
    """A client with an operate key."""
    key = new_key("operate", "test")
    Registry(stack.outputs["TableName"], None, resource).put_key(key.digest, key.item)
    with httpx.Client(base_url=stack.api_url, headers={"x-api-key": key.secret}, timeout=60, trust_env=False) as made:
        yield made


@pytest.fixture
def model(registry: Registry, artifacts: Storage, new_model: Callable[[], str]) -> str:
    """A model with two registered versions and no champion."""
    name = new_model()
    for number in (1, 2):
        run = f"r-{number:012x}"
        registry.receive(name, run, f"2026-01-0{number}", {"key": f"uploads/{name}/u{number}/a.csv", "time": now()})
        registry.advance(name, run, "PREPARED", allowed=["RECEIVED"], dataset="d-1", spec={}, fingerprint=f"f{number}")
        registry.lease(name, run, "job", "attempt")
        bundle = f"bundles/{name}/{run}/"
        fields = {
            "bundle": bundle,
            "dataset": "d-1",
            "order": f"2026-01-0{number}",
            "task": "binary",
            "target": "income",
        }
        registry.register(name, run, 1, f"f{number}", fields)
        artifacts.write_json(f"{bundle}metrics.json", METRICS)
    return name


def test_a_stranger_sees_that_it_runs_and_nothing_else(stack: Any) -> None:
    for path, status in (("/health", 200), ("/models", 401), ("/nowhere", 401), ("/docs", 401)):
        assert httpx.get(stack.api_url + path, timeout=60, trust_env=False).status_code == status


def test_the_form_takes_one_file_under_one_key_and_no_other(
    client: httpx.Client, uploads: Storage, new_model: Callable[[], str]
) -> None:
    # a name that Preprocess ignores: this test is about the form
    form = client.post("/uploads", json={"model": new_model(), "filename": "notes.toml"}).json()
    file = {"file": ("x", b"hello")}
    other = {**form["fields"], "key": form["key"] + "2"}
    assert httpx.post(form["url"], data=other, files=file, trust_env=False).status_code == 403
    assert httpx.post(form["url"], data=form["fields"], files={"file": b""}, trust_env=False).status_code == 400
    assert httpx.post(form["url"], data=form["fields"], files=file, trust_env=False).status_code in (200, 204)
    assert uploads.read_bytes(form["key"]) == b"hello"


def test_a_file_to_be_predicted_is_taken_and_wakes_nobody(client: httpx.Client, uploads: Storage, model: str) -> None:
    form = client.post("/uploads", json={"model": model, "filename": "photo.jpg", "purpose": "predict"}).json()
    sent = httpx.post(form["url"], data=form["fields"], files={"file": ("x", b"hello")}, trust_env=False)
    assert sent.status_code in (200, 204), sent.text
    assert form["key"].startswith(f"inbox/{model}/") and uploads.read_bytes(form["key"]) == b"hello"
    assert len(client.get(f"/models/{model}/runs").json()["runs"]) == 2, "no run but those there were"


def test_versions_promote_and_rollback_with_the_rights_of_the_function(client: httpx.Client, model: str) -> None:
    assert [item["version"] for item in client.get(f"/models/{model}/versions").json()["versions"]] == [2, 1]
    assert client.get(f"/models/{model}/versions/1").json()["metrics"]["primary"] == "log_loss"
    for number in (1, 2):
        answer = client.post(f"/models/{model}/promote", json={"version": number, "why": "test"})
        assert answer.status_code == 200, answer.text
    assert client.post(f"/models/{model}/rollback", json={}).json()["version"] == 1
    listed = next(item for item in client.get("/models").json()["models"] if item["model"] == model)
    assert (listed["champion"], listed["versions"], listed["state"]) == (1, 2, "READY")


def test_a_file_that_is_not_there_is_404_with_the_rights_of_the_function(client: httpx.Client, model: str) -> None:
    answer = client.get(f"/models/{model}/card?version=1")
    assert (answer.status_code, answer.json()["code"]) == (404, "NO_SUCH_FILE")


def test_a_run_whose_job_wrote_nothing_has_an_empty_log(client: httpx.Client, model: str) -> None:
    run = client.get(f"/models/{model}/runs?upload=u1").json()["runs"][0]["run"]
    assert client.get(f"/models/{model}/runs/{run}/logs").json() == {"lines": [], "next": 0, "ended": True}


def test_the_registry_in_memory_has_the_methods_of_the_real_one() -> None:
    for name in ("models", "model", "runs", "run", "versions", "version", "alias", "promote", "rollback", "key"):
        shapes = {str(inspect.signature(getattr(kind, name))) for kind in (Registry, MemoryRegistry, world.Registry)}
        assert len(shapes) == 1, (name, shapes)
