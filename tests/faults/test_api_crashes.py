"""The API's changes, killed before and after every AWS call and asked again: the same end as when nothing happened."""

from __future__ import annotations

import asyncio
import importlib
import json
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.faults.world import Crash, World, connected

from tidemill.core.keys import new_key
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]


@pytest.fixture
def world(stack: Any, registry: Registry, artifacts: Storage, settings: Any, monkeypatch: Any) -> Iterator[World]:
    made = World(registry, Storage(settings.data_bucket, stack.client("s3")), artifacts)
    environment = {
        **stack.credentials,
        "TIDEMILL_DATA_BUCKET": settings.data_bucket,
        "TIDEMILL_ARTIFACTS_BUCKET": settings.artifacts_bucket,
        "TIDEMILL_TABLE": settings.table,
        "TIDEMILL_BUS": settings.bus,
    }
    with connected(made, environment, monkeypatch.setenv):
        yield made


@pytest.fixture
def call(world: World, registry: Registry) -> Iterator[Callable[[str, str, dict[str, Any]], dict[str, Any]]]:
    """One request to the Api function's handler; raises Crash when the process ended."""
    import api

    module = importlib.reload(api)  # its clients are made at import, as in a fresh environment
    key = new_key("operate", "crash test")
    registry.put_key(key.digest, key.item)

    def ask(method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
        event = {
            "version": "2.0",
            "routeKey": "$default",
            "rawPath": path,
            "rawQueryString": "",
            "headers": {"x-api-key": key.secret, "content-type": "application/json", "host": "api.test"},
            "requestContext": {
                "http": {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "127.0.0.1"},
                "requestId": "1",
                "stage": "$default",
            },
            "body": json.dumps(body),
            "isBase64Encoded": False,
        }
        answer: dict[str, Any] = module.handler(event, None)
        return answer

    yield ask
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        asyncio.get_event_loop().close()  # Mangum makes one and leaves it
    asyncio.set_event_loop(None)


def two_versions(registry: Registry, model: str) -> None:
    for number in (1, 2):
        run = f"r{number}"
        registry.receive(model, run, str(number), {"key": f"uploads/{model}/{run}.csv", "etag": run})
        registry.advance(model, run, "PREPARED", allowed=["RECEIVED"])
        taken = registry.lease(model, run, f"job-{run}", f"attempt-{run}")
        assert taken is not None
        fields = {"bundle": f"bundles/{model}/{run}/", "order": str(number), "task": "binary", "target": "y"}
        registry.register(model, run, taken["epoch"], f"f{number}", fields)
        alias = registry.alias(model)
        registry.promote_by_gate(model, number, str(number), "", seen_rev=alias["rev"] if alias else None)


OPERATIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "promote": ("/models/{model}/promote", {"version": 1, "why": "crash test"}),
    "rollback": ("/models/{model}/rollback", {"from": 2, "why": "crash test"}),
    "upload": ("/uploads", {"model": "{model}", "filename": "a.csv", "spec": "[train]\nepochs = 3\n"}),
}


def request_of(name: str, model: str) -> tuple[str, dict[str, Any]]:
    path, body = OPERATIONS[name]
    filled = {key: value.format(model=model) if value == "{model}" else value for key, value in body.items()}
    return path.format(model=model), filled


@pytest.mark.parametrize("name", OPERATIONS)
def test_an_api_call_killed_anywhere_can_be_repeated(
    world: World, registry: Registry, call: Any, new_model: Any, name: str
) -> None:
    model = new_model()
    two_versions(registry, model)
    path, body = request_of(name, model)
    with world.crashing(None, False) as calls:
        calls.here = None
        assert call("POST", path, body)["statusCode"] in (200, 201)
    assert calls.seen, f"{name} is expected to talk to AWS"
    for number in range(1, len(calls.seen) + 1):
        for after in (False, True):
            model = new_model()
            two_versions(registry, model)
            path, body = request_of(name, model)
            with world.crashing(number, after) as crashed:
                crashed.here = None
                try:
                    first = call("POST", path, body)
                except Crash:
                    first = {"statusCode": 500}
            assert first["statusCode"] >= 500, f"{name} survived the end of its process at call {number}"
            again = call("POST", path, body)
            assert again["statusCode"] in (200, 201), again["body"]
            check(world, registry, model, name, json.loads(again["body"]))
    print(f"\n{name}: {len(calls.seen)} calls, {2 * len(calls.seen)} crashes: {', '.join(calls.seen)}")


def check(world: World, registry: Registry, model: str, name: str, answer: dict[str, Any]) -> None:
    alias = registry.alias(model)
    assert alias is not None
    assert [move["rev"] for move in registry.moves(model)] == list(range(alias["rev"], 0, -1))
    if name == "upload":
        assert alias["version"] == 2
        written = world.uploads.read_bytes(f"uploads/{model}/{answer['upload']}/tidemill.toml")
        assert written == b"[train]\nepochs = 3\n"
    else:
        assert (alias["version"], alias["pinned"]) == (1, True)
        assert len(registry.versions(model)) == 2
