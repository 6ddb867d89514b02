"""A proxy on loopback between the mill and AWS that loses, delays, doubles, cuts short or refuses what it is told to.

Functions and jobs read AWS_ENDPOINT_URL from their environment, so nothing of the product changes. Requests pass as
they came: the signature covers the Host header, and the local stack takes any port of loopback for itself.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

ACTS = ("503", "slow", "drop before", "drop after", "duplicate", "truncate")
REFUSALS = {  # act -> status, code: what a service says when it cannot just now
    "throttle": (400, "ProvisionedThroughputExceededException"),
    "conflict": (400, "TransactionConflictException"),
    "cancel": (400, "TransactionCanceledException"),
    "409": (409, "ConditionalRequestConflict"),
}
HOP = {"connection", "keep-alive", "transfer-encoding", "content-length", "date", "server"}
_SCOPE = re.compile(r"Credential=[^/]+/\d+/[^/]+/([^/]+)/")
_ATTEMPT = re.compile(r"attempt=(\d+)")
_BATCH = {
    name.lower(): name for name in ("SubmitJob", "DescribeJobs", "ListJobs", "TerminateJob", "DescribeJobDefinitions")
}


@dataclass(frozen=True)
class Request:
    """What a request is for, and how often the client has tried it."""

    service: str
    operation: str
    attempt: int
    path: str
    number: int  # of all that passed
    peer: int = 0  # the port of the process that asked

    @property
    def name(self) -> str:
        """As the tests name it."""
        return f"{self.service} {self.operation}"


@dataclass
class Proxy:
    """Passes requests on to `port`; `choose` says what happens to each (empty: nothing)."""

    port: int
    choose: Callable[[Request], str] = lambda request: ""
    slow_s: float = 1.0
    seen: list[Request] = field(default_factory=list)
    faults: list[tuple[str, Request]] = field(default_factory=list)
    on_kill: Callable[[Request], None] = lambda request: None
    on_hold: Callable[[Request], None] = lambda request: None  # returns when the call may go on
    server: Any = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def url(self) -> str:
        """Where the proxy listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def decide(self, handler: BaseHTTPRequestHandler) -> tuple[Request, str]:
        """Note a request and what happens to it."""
        with self._lock:
            request = described(handler, len(self.seen) + 1)
            self.seen.append(request)
            act = self.choose(request)
            if act:
                self.faults.append((act, request))
        return request, act

    @contextlib.contextmanager
    def faulty(self, choose: Callable[[Request], str]) -> Iterator[None]:
        """Let faults happen for a while; what was seen before is forgotten."""
        with self._lock:
            self.seen, self.faults, self.choose = [], [], choose
        try:
            yield
        finally:
            self.choose = lambda request: ""


def described(handler: BaseHTTPRequestHandler, number: int) -> Request:
    """The service from the signature, the operation from the headers or, of S3 and Batch, from method and path."""
    headers = handler.headers
    found = _SCOPE.search(headers.get("Authorization", ""))
    service, target = found[1] if found else "", headers.get("X-Amz-Target", "")
    attempt = _ATTEMPT.search(headers.get("amz-sdk-request", ""))
    if target:
        operation = target.rpartition(".")[2]
    elif service == "batch":
        operation = _BATCH.get(handler.path.rpartition("/")[2].lower(), handler.path)
    elif service == "s3":
        operation = _s3(handler)
    else:
        operation = handler.command.title()
    tried = int(attempt[1]) if attempt else 1
    return Request(service, operation, tried, handler.path, number, handler.client_address[1])


def _s3(handler: BaseHTTPRequestHandler) -> str:
    path, _, query = handler.path.partition("?")
    if path.strip("/").count("/") == 0:
        return "ListObjectVersions" if query.startswith("versions") or "&versions" in query else "ListObjectsV2"
    if handler.command == "PUT" and handler.headers.get("If-None-Match"):
        return "PutObject IfNoneMatch"
    kinds = {"GET": "GetObject", "PUT": "PutObject", "HEAD": "HeadObject", "DELETE": "DeleteObject"}
    return kinds.get(handler.command, handler.command)


class Handler(BaseHTTPRequestHandler):
    """One connection from the mill."""

    protocol_version = "HTTP/1.1"
    proxy: Proxy

    def handle_one_request(self) -> None:
        """Read and answer; a peer that is gone is nothing to tell of."""
        try:
            super().handle_one_request()
        except (ConnectionError, OSError):
            self.close_connection = True

    def pass_on(self) -> None:
        """Answer one request, after what is to happen to it."""
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        request, act = self.proxy.decide(self)
        if act in ("drop before", "kill before"):
            return self._drop(request, act)
        if act == "503" or act in REFUSALS:
            return self._refuse(request, act)
        if act == "duplicate":
            self._forward(body)
        if act == "hold":
            self.proxy.on_hold(request)
        answer = self._forward(body)
        if act in ("drop after", "kill after"):
            return self._drop(request, act)
        if act == "slow":
            time.sleep(self.proxy.slow_s)
        return self._answer(*answer, cut=act == "truncate")

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = pass_on  # noqa: N815 - names of http.server

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection("127.0.0.1", self.proxy.port, timeout=120)
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in ("expect", "connection"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()

    def _answer(self, status: int, headers: list[tuple[str, str]], body: bytes, cut: bool = False) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in HOP:
                self.send_header(name, value)
        length = next((value for name, value in headers if name.lower() == "content-length"), str(len(body)))
        self.send_header("Content-Length", length if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        self.wfile.flush()
        if cut:
            self._close()

    def _refuse(self, request: Request, act: str) -> None:
        status, code = REFUSALS.get(act, (503, "SlowDown" if request.service == "s3" else "ServiceUnavailable"))
        if request.service == "s3":
            kind, body = "application/xml", f"<Error><Code>{code}</Code><Message>Wait.</Message></Error>".encode()
        else:
            said: dict[str, Any] = {"__type": code, "message": "Wait."}
            if act == "cancel":
                said["CancellationReasons"] = [{"Code": "TransactionConflict"}]
            kind, body = "application/x-amz-json-1.0", json.dumps(said).encode()
        self._answer(status, [("Content-Type", kind), ("x-amzn-errortype", code)], body)

    def _drop(self, request: Request, act: str) -> None:
        if act.startswith("kill"):
            self.proxy.on_kill(request)
        self._close()

    def _close(self) -> None:
        """End the connection at once, by a reset."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - named so by http.server
        """Say nothing."""


@contextlib.contextmanager
def proxy_to(port: int) -> Iterator[Proxy]:
    """A proxy that listens while the block lasts."""
    proxy = Proxy(port)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (Handler,), {"proxy": proxy}))
    server.daemon_threads = True
    proxy.server = server
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
