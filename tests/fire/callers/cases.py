"""Requests that schemathesis makes from the OpenAPI document, put to the control plane in this process."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from schemathesis import GenerationMode

Ask = Callable[[requests.PreparedRequest], tuple[int, Mapping[str, str], bytes]]
MODES = (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)


def operations(document: dict[str, Any]) -> list[Any]:
    """Every operation of an OpenAPI document."""
    schema = schemathesis.openapi.from_dict(document)
    return [found.ok() for found in schema.get_all_operations()]


def put_all(operation: Any, cases: int, ask: Callable[[requests.PreparedRequest], None]) -> int:
    """Put `cases` generated requests of one operation, half good by the document, half bad; how many it were."""
    done = 0
    for mode in MODES:

        @seed(20260101)
        @settings(
            max_examples=cases // 2,
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def put(case: Any) -> None:
            nonlocal done
            done += 1
            ask(prepared(case))

        try:
            put()
        except BaseException as error:
            if type(error).__name__ not in ("Unsatisfiable", "SkipTest"):  # a route without parameters has no bad case
                raise
    return done


def prepared(case: Any) -> requests.PreparedRequest:
    """A case as it would go over the wire."""
    asked = case.as_transport_kwargs(base_url="http://plane")
    asked = {name: value for name, value in asked.items() if name in _PARTS}
    return requests.Request(**asked).prepare()


_PARTS = ("method", "url", "headers", "files", "data", "params", "auth", "cookies", "json")


def body_of(request: requests.PreparedRequest) -> bytes:
    """The body as bytes."""
    body: Any = request.body or b""
    if isinstance(body, str):
        return body.encode("utf-8", "surrogatepass")
    return body if isinstance(body, bytes) else b"".join(_pieces(body))


def _pieces(body: Any) -> Iterator[bytes]:
    for piece in body:
        yield piece if isinstance(piece, bytes) else str(piece).encode()


class InProcess:
    """One event loop that puts requests to an ASGI app."""

    def __init__(self, app: Any, key: str) -> None:
        self.app, self.key = app, key
        self.loop = asyncio.new_event_loop()

    def __call__(self, request: requests.PreparedRequest) -> tuple[int, Mapping[str, str], bytes]:
        return self.loop.run_until_complete(self._ask(request))

    async def _ask(self, request: requests.PreparedRequest) -> tuple[int, Mapping[str, str], bytes]:
        split, sent, body = urlsplit(str(request.url)), list[dict[str, Any]](), body_of(request)
        path = requests.utils.unquote(split.path)
        named = {str(name).lower(): str(value) for name, value in request.headers.items()} | {"x-api-key": self.key}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": str(request.method),
            "scheme": "http",
            "path": path,
            "raw_path": split.path.encode("latin-1", "replace"),
            "query_string": split.query.encode(),
            "headers": [(latin(name), latin(text)) for name, text in named.items()],
            "server": ("plane", 80),
            "client": ("127.0.0.1", 1),
            "root_path": "",
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        headers = {name.decode(): value.decode("latin-1") for name, value in sent[0]["headers"]}
        return sent[0]["status"], headers, b"".join(message.get("body", b"") for message in sent[1:])


def latin(text: str) -> bytes:
    """A header's name or value as it goes over the wire."""
    return text.encode("latin-1", "replace")


def event_of(request: requests.PreparedRequest, key: str) -> dict[str, Any]:
    """The same request as API Gateway hands it to a function (payload format 2.0)."""
    split = urlsplit(str(request.url))
    headers = {str(name).lower(): str(value) for name, value in request.headers.items()} | {"x-api-key": key}
    return {
        "version": "2.0",
        "rawPath": requests.utils.unquote(split.path),
        "rawQueryString": split.query,
        "headers": headers,
        "requestContext": {"http": {"method": str(request.method), "path": split.path}, "requestId": "r-1"},
        "body": base64.b64encode(body_of(request)).decode(),
        "isBase64Encoded": True,
    }


def check(status: int, headers: Mapping[str, str], body: bytes, key: str) -> None:
    """Hold what every answer promises: no fault of ours, a problem document for a refusal, nothing of the key."""
    assert status < 500, (status, body[:500])
    assert headers.get("x-request-id")
    assert key.encode() not in body
    if status >= 400:
        told = json.loads(body)
        assert told["status"] == status and told["code"] and told["title"] and told["type"], told
        assert headers["content-type"].startswith("application/problem+json")
    elif headers.get("content-type", "").startswith("application/json"):
        json.loads(body, parse_constant=_refused)


def _refused(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def door_over(aws: Any, cache: Path) -> Any:
    """Predict's door before a fake of the two AWS calls it makes."""
    from tests.serving.fake_aws import BUCKET, DATA, TABLE

    from tidemill.serving.bundles import Bundles
    from tidemill.serving.door import Door
    from tidemill.serving.inbox import Inbox
    from tidemill.serving.pointers import Pointers
    from tidemill.serving.signer import Client

    client = Client("us-east-1", aws.url, sleep=lambda _: None)
    pointers, bundles = Pointers(client, TABLE), Bundles(client, BUCKET, cache)
    return Door(pointers, bundles, Inbox(client, DATA), lambda note: None)
