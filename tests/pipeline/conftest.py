"""A client of the deployed API, with keys of both roles."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tidemill.core.keys import new_key
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage

ENDED = {"READY", "REJECTED", "FAILED", "SUPERSEDED", "CANCELLED"}


@dataclass
class Service:
    """The API as a user sees it."""

    http: httpx.Client
    operate: dict[str, str]
    predict: dict[str, str]

    def upload(self, model: str, path: Path, spec: str = "") -> str:
        """Send a file through a presigned POST; the upload's id."""
        body = {"model": model, "filename": path.name, **({"spec": spec} if spec else {})}
        answer = self.http.post("/uploads", headers=self.operate, json=body)
        assert answer.status_code in (200, 201), answer.text
        form = answer.json()
        sent = httpx.post(form["url"], data=form["fields"], files={"file": (path.name, path.read_bytes())}, timeout=60)
        assert sent.status_code in (200, 201, 204), sent.text
        return str(form["upload"])

    def ended(self, model: str, upload: str, patience_s: float = 150) -> dict[str, Any]:
        """The run of an upload once it has ended and, where it made a version, the gate has spoken."""
        deadline = time.monotonic() + patience_s
        runs: list[dict[str, Any]] = []
        while time.monotonic() < deadline:
            answer = self.http.get(f"/models/{model}/runs", headers=self.operate, params={"upload": upload})
            runs = answer.json().get("runs", [])
            if runs and runs[0]["state"] in ENDED and (runs[0]["state"] != "READY" or "decision" in runs[0]):
                return runs[0]
            time.sleep(0.3)
        raise AssertionError(f"the run did not end: {json.dumps(runs)[:2000]}")


def until(look: Callable[[], Any], patience_s: float = 240) -> Any:
    """What is found, once there is something; raises AssertionError after a while."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError("it did not come to that")


@pytest.fixture(scope="session")
def service(stack: Any, resource: Any) -> Iterator[Service]:
    """The deployed API."""
    registry = Registry(
        stack.outputs["TableName"], Storage(stack.outputs["ArtifactsBucketName"], stack.client("s3")), resource
    )
    keys = {}
    for role in ("operate", "predict"):
        key = new_key(role, f"pipeline test {role}")
        registry.put_key(key.digest, key.item)
        keys[role] = {"x-api-key": key.secret}
    with httpx.Client(base_url=stack.api_url, timeout=60) as http:
        yield Service(http, keys["operate"], keys["predict"])
