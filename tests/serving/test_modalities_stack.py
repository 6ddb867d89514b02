"""Pictures and texts through API Gateway and the Predict function as deployed: bytes arrive, and its rights suffice."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.serving.modality_factory import make_pictures, make_texts, picture

from tidemill.core.clock import now
from tidemill.core.keys import new_key
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage

pytestmark = pytest.mark.stack
PNG = {"content-type": "image/png"}
Serve = Callable[[Path], str]


@pytest.fixture(scope="module")
def client(stack: Any, resource: Any) -> Iterator[httpx.Client]:
    """A client with a predict key."""
    key = new_key("predict", "test")
    Registry(stack.outputs["TableName"], None, resource).put_key(key.digest, key.item)
    with httpx.Client(base_url=stack.api_url, headers={"x-api-key": key.secret}, timeout=60, trust_env=False) as made:
        yield made


@pytest.fixture
def serve(registry: Registry, artifacts: Storage, new_model: Callable[[], str]) -> Serve:
    """Puts a bundle in service; returns the name of its model."""

    def put(folder: Path) -> str:
        name, run = new_model(), "r-000000000001"
        upload = {"key": f"uploads/{name}/u1/a.zip", "time": now()}
        registry.receive(name, run, "2026-01-01", upload)
        registry.advance(name, run, "PREPARED", allowed=["RECEIVED"], dataset="d-1", spec={}, fingerprint="f1")
        registry.lease(name, run, "job", "attempt")
        fields = {"bundle": f"bundles/{name}/{run}/", "dataset": "d-1", "order": "2026-01-01", "task": "binary"}
        registry.register(name, run, 1, "f1", {**fields, "target": "side"})
        artifacts.write_folder(folder, fields["bundle"])
        registry.promote(name, 1, by="test", why="test")
        return name

    return put


def asked(client: httpx.Client, path: str, status: int = 200, **sent: Any) -> Any:
    answer = client.post(path, **sent)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_a_picture_arrives_byte_by_byte_and_by_its_key(client: httpx.Client, serve: Serve, tmp_path: Path) -> None:
    model, data = serve(make_pictures(tmp_path / "bundle")), picture("right", 3)
    path = f"/models/{model}/predict"
    first = asked(client, path, content=data, headers=PNG)
    assert first["predictions"][0]["label"] == "right"
    assert asked(client, path, files=[("picture", ("a.png", data))]) == first
    form = asked(client, "/uploads", 201, json={"model": model, "filename": "a b.png", "purpose": "predict"})
    missing = asked(client, path, 404, json={"rows": [{"key": form["key"]}]})
    assert missing["code"] == "NO_SUCH_FILE"
    sent = httpx.post(form["url"], data=form["fields"], files={"file": ("x", data)}, trust_env=False)
    assert sent.status_code in (200, 204), sent.text
    assert asked(client, path, json={"rows": [{"key": form["key"]}]}) == first
    other = asked(client, path, 403, json={"rows": [{"key": f"uploads/{model}/u1/a.zip"}]})
    assert other["code"] == "FOREIGN_KEY"
    told = asked(client, f"/models/{model}/explain?target=left", content=data, headers=PNG)["explanations"][0]
    assert told["target"] == "left" and told["heatmap"]


def test_a_text_arrives_with_all_its_characters(client: httpx.Client, serve: Serve, tmp_path: Path) -> None:
    model, text = serve(make_texts(tmp_path / "bundle")), "这本书 很好看, wonderful 😀"
    plain = asked(client, f"/models/{model}/explain", content=text.encode(), headers={"content-type": "text/plain"})
    assert plain == asked(client, f"/models/{model}/explain", json={"rows": [{"review": text}]})
    parts = plain["explanations"][0]["contributions"]
    assert plain["predictions"][0]["label"] == "good"
    assert [part["text"] for part in parts] == [text[part["start"] : part["end"]] for part in parts]
