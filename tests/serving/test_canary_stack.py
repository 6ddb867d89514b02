"""A bad version in service on the deployed stack, with the rights of its own roles: callers see nothing of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving import bundle_factory as factory

from tidemill.core.clock import now
from tidemill.core.keys import new_key
from tidemill.core.registry import Registry
from tidemill.core.spec import Canary, Spec
from tidemill.core.storage import Storage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(200)]
ROWS = factory.rows_of(factory.columns(2, seed=9))


@pytest.fixture(scope="module")
def client(stack: Any, resource: Any) -> Iterator[httpx.Client]:
    """A client with an operate key."""
    key = new_key("operate", "test")
    Registry(stack.outputs["TableName"], None, resource).put_key(key.digest, key.item)
    with httpx.Client(base_url=stack.api_url, headers={"x-api-key": key.secret}, timeout=60, trust_env=False) as made:
        yield made


@pytest.fixture
def model(registry: Registry, artifacts: Storage, new_model: Callable[[], str], tmp_path: Path) -> str:
    """A model whose first version serves, pinned; the second is registered, and cannot be opened."""
    name, spec = new_model(), Spec(canary=Canary(min_requests=4)).to_json()
    for number in (1, 2):
        run, order = f"r-{number:012x}", f"2026-01-0{number}"
        registry.receive(name, run, order, {"key": f"uploads/{name}/u{number}/a.csv", "time": now()})
        registry.advance(
            name, run, "PREPARED", allowed=["RECEIVED"], dataset="d-1", spec=spec, fingerprint=f"f{number}"
        )
        registry.lease(name, run, "job", "attempt")
        bundle = f"bundles/{name}/{run}/"
        fields = {"bundle": bundle, "dataset": "d-1", "order": order, "task": "binary", "target": "income"}
        registry.register(name, run, 1, f"f{number}", fields)
        artifacts.write_folder(factory.make(tmp_path / run, seed=number), bundle)
    artifacts.write_bytes(f"bundles/{name}/r-{2:012x}/model.onnx", b"no model")
    registry.promote(name, 1, by="test", why="it works")
    return name


def asked(client: httpx.Client, model: str, key: str) -> Any:
    answer = client.post(f"/models/{model}/predict", json={"rows": ROWS}, headers={"x-tidemill-key": key})
    assert answer.status_code == 200, answer.text
    return answer.json()


def ask_until(client: httpx.Client, model: str, told: Callable[[], bool], patience_s: float = 60) -> int:
    """Predict until something has happened; how many requests that took, none of which failed."""
    deadline = time.monotonic() + patience_s
    for number in range(100_000):
        body = asked(client, model, str(number))
        assert body["version"] == 1
        if number % 5 == 4 and told():
            return number + 1
        assert time.monotonic() < deadline, client.get(f"/models/{model}/history").json()
    raise AssertionError("never")


def test_a_challenger_that_cannot_be_opened_is_stopped_by_itself(client: httpx.Client, model: str) -> None:
    assert asked(client, model, "before")["alias"] == "champion"
    begun = client.post(f"/models/{model}/canary", json={"version": 2, "share": 1.0, "why": "try"})
    assert begun.status_code == 200, begun.text
    ask_until(client, model, lambda: client.get(f"/models/{model}").json()["challenger"] is None)
    move = client.get(f"/models/{model}/history").json()["moves"][0]
    assert (move["alias"], move["version"], move["by"]) == ("challenger", 2, "health") and "failed" in move["why"]


def test_a_new_champion_that_cannot_be_opened_gives_its_place_back(client: httpx.Client, model: str) -> None:
    assert asked(client, model, "before")["version"] == 1
    body = {"version": 2, "why": "looks good", "pin": False}
    assert client.post(f"/models/{model}/promote", json=body).status_code == 200
    ask_until(client, model, lambda: client.get(f"/models/{model}").json()["champion"]["version"] == 1)
    found = client.get(f"/models/{model}/history").json()
    assert (found["champion"]["version"], found["champion"]["by"]) == (1, "health")
    assert [move["version"] for move in found["moves"]] == [1, 2, 1]
