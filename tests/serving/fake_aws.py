"""The calls of the hot path on a loopback port, with faults on request: S3 GetObject and PutObject, DynamoDB GetItem
and the ADD of UpdateItem, EventBridge PutEvents.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from tidemill.core.keys import hash_of

TABLE, BUCKET, DATA = "registry", "artifacts", "data"
KEY = "tm_" + "k" * 43


class FakeAws(ThreadingHTTPServer):
    """Holds items and objects; `faults` are taken one a request: a status, "drop" (no answer) or "close"."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.items: dict[tuple[str, str], dict[str, Any]] = {}
        self.objects: dict[str, bytes] = {}  # of the bucket of artefacts
        self.files: dict[str, bytes] = {}  # of the bucket of data
        self.faults: list[int | str] = []
        self.events: list[tuple[str, dict[str, Any]]] = []  # name and detail
        self.calls: list[str] = []
        self.requests: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        self.put_key(KEY, "predict")

    @property
    def url(self) -> str:
        """The endpoint to give to clients."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def put_key(self, secret: str, role: str, **more: Any) -> None:
        """Make a key known."""
        item = {"role": role, "id": hash_of(secret)[:8], "name": "test", "revoked": False, **more}
        self.items["KEY#" + hash_of(secret), "META"] = item

    def put_bundle(self, folder: Path, model: str, run: str, version: int) -> str:
        """Store a bundle and let the alias of the model stand on it."""
        prefix = f"bundles/{model}/{run}/"
        for path in folder.iterdir():
            self.objects[prefix + path.name] = path.read_bytes()
        self.items[f"MODEL#{model}", "META"] = {"model": model, "head": version}
        self.items[f"MODEL#{model}", "ALIAS#champion"] = {"version": version, "run": run, "bundle": prefix, "rev": 1}
        return prefix

    def process_request(self, request: Any, client_address: Any) -> None:
        """Count the connections."""
        self.connections += 1
        super().process_request(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet
    server: FakeAws

    def do_GET(self) -> None:
        """Answer GetObject."""
        bucket, _, key = unquote(self.path[1:]).partition("/")
        if self._fault(f"GetObject {key}", b""):
            return
        held = {BUCKET: self.server.objects, DATA: self.server.files}[bucket]
        if key in held:
            self._send(200, held[key])
        else:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")

    def do_PUT(self) -> None:
        """Answer PutObject."""
        bucket, _, key = unquote(self.path[1:]).partition("/")
        content = self.rfile.read(int(self.headers["content-length"]))
        if self._fault(f"PutObject {key}", content):
            return
        {BUCKET: self.server.objects, DATA: self.server.files}[bucket][key] = content
        self._send(200, b"")

    def do_POST(self) -> None:
        """Answer GetItem, UpdateItem or PutEvents."""
        content = self.rfile.read(int(self.headers["content-length"]))
        body, operation = json.loads(content), self.headers["x-amz-target"].partition(".")[2]
        if operation == "PutEvents":
            self._put_events(body, content)
        elif operation == "UpdateItem":
            self._update_item(body, content)
        else:
            self._get_item(body, content)

    def _put_events(self, body: dict[str, Any], content: bytes) -> None:
        if self._fault("PutEvents", content):
            return
        self.server.events += [(entry["DetailType"], json.loads(entry["Detail"])) for entry in body["Entries"]]
        self._send(200, b'{"FailedEntryCount": 0, "Entries": []}')

    def _update_item(self, body: dict[str, Any], content: bytes) -> None:
        """ADD numbers; the SET of `expires` is taken on trust."""
        pk, sk = body["Key"]["pk"]["S"], body["Key"]["sk"]["S"]
        if self._fault(f"UpdateItem {pk} {sk}", content):
            return
        assert body["UpdateExpression"].startswith("ADD ")
        item = self.server.items.setdefault((pk, sk), {"pk": pk, "sk": sk})
        for name, value in body["ExpressionAttributeValues"].items():
            item[name[1:]] = round(item.get(name[1:], 0) + float(value["N"]), 6)
        self._send(200, json.dumps({"Attributes": {n: typed(v) for n, v in item.items()}}).encode())

    def _get_item(self, body: dict[str, Any], content: bytes) -> None:
        pk, sk = body["Key"]["pk"]["S"], body["Key"]["sk"]["S"]
        if self._fault(f"GetItem {pk} {sk}", content):
            return
        assert body["TableName"] == TABLE
        item = self.server.items.get((pk, sk))
        self._send(200, json.dumps({} if item is None else {"Item": {n: typed(v) for n, v in item.items()}}).encode())

    def _fault(self, call: str, content: bytes) -> bool:
        self.server.calls.append(call)
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.requests.append((self.command, self.path, headers, content))
        fault = self.server.faults.pop(0) if self.server.faults else None
        if isinstance(fault, int):
            self._send(fault, b'{"__type": "com.amazonaws#ThrottlingException"}' if fault == 400 else b"")
        elif fault == "denied":
            self._send(403, b"<Error><Code>AccessDenied</Code></Error>")
        elif fault is not None:
            self.close_connection = True
        return fault is not None

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def typed(value: Any) -> dict[str, Any]:
    """A plain value as DynamoDB writes it."""
    if value is None:
        return {"NULL": True}
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, (int, float)):
        return {"N": str(value)}
    if isinstance(value, dict):
        return {"M": {name: typed(item) for name, item in value.items()}}
    return {"L": [typed(item) for item in value]} if isinstance(value, list) else {"S": value}


@contextmanager
def running() -> Iterator[FakeAws]:
    """A fake that answers while the block runs."""
    server = FakeAws()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
