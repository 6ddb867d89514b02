"""The public door of a request: Predict's door before a real model, and the control plane as an application."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

from tests.doubles.plane import Plane
from tests.serving import bundle_factory as factory
from tests.serving.fake_aws import BUCKET, DATA, KEY, TABLE, FakeAws

from tidemill.serving.bundles import Bundles
from tidemill.serving.door import Door
from tidemill.serving.inbox import Inbox
from tidemill.serving.pointers import Pointers
from tidemill.serving.signer import Client

# The corpus asks a model of age, income and city; ours reads age, hours, work and the day of hiring.
SAME = {"income": "hours", "city": "work", "Paris": "Private"}
ROUTES = {"/trainings": "/models/churn/retrain", "/datasets": "/uploads"}
NO_KEY = {"api/025_jwt_expired.json", "api/026_no_auth.json"}


class Asker:
    """Sends a request of the corpus where such a request goes; answers with status, body and headers."""

    def __init__(self, aws: FakeAws, folder: Path) -> None:
        bundle = factory.make(folder / "bundle")
        aws.put_bundle(bundle, "churn", "r-1", 1)
        self.client = Client("us-east-1", aws.url, sleep=lambda _: None)
        pointers, inbox = Pointers(self.client, TABLE), Inbox(self.client, DATA)
        self.door = Door(pointers, Bundles(self.client, BUCKET, folder / "cache"), inbox, self.note)
        self.plane = Plane()
        self.plane.registry.add("churn", task="binary")
        self.notes: list[dict[str, Any]] = []

    def note(self, line: dict[str, Any]) -> None:
        """Keep a line of the log."""
        self.notes.append(line)

    def ask(self, entry: dict[str, Any], request: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
        """One request; routes of the corpus are given the names that they have here."""
        path = request["path"].removeprefix("/v1")
        if request["method"] == "POST" and re.search("/predict$", path):
            return self._predict(path, request)
        headers = {name: value for name, value in request["headers"].items() if "{" not in value}
        for theirs, ours in ROUTES.items():
            path = path.replace(theirs, ours)
        role = None if entry["name"] in NO_KEY else "operate"
        content = request.get("body", "").encode()
        with self.plane.client(role) as http:
            answer = http.request(
                request["method"], re.sub("[{].*[}]", "somebody-elses", path), content=content, headers=headers
            )
        value = answer.json() if "json" in answer.headers.get("content-type", "") else {}
        return answer.status_code, value, dict(answer.headers)

    def _predict(self, path: str, request: dict[str, Any]) -> tuple[int, dict[str, Any], dict[str, str]]:
        raw = base64.b64decode(request["body_base64"]) if "body_base64" in request else request["body"].encode()
        for theirs, ours in SAME.items():
            raw = raw.replace(theirs.encode(), ours.encode())
        raw = re.sub(rb'\{(\s*"age")', rb'{"hired":1.6e9,\1', raw)
        event = {
            "rawPath": path.replace("/pets/", "/churn/"),
            "headers": {"x-api-key": KEY, **request["headers"]},
            "requestContext": {"http": {"method": "POST"}, "requestId": "req-1"},
            "body": base64.b64encode(raw).decode(),
            "isBase64Encoded": True,
        }
        answer = self.door.handle(event)
        return answer["statusCode"], json.loads(answer["body"]), answer["headers"]
