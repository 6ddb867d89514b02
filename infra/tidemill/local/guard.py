"""The door of the local stack: an ASGI application in front of MiniStack that refuses what a laptop must not serve.

A web page in a browser can reach every port of the machine it runs on. The guard therefore refuses foreign origins,
foreign host names (DNS rebinding), MiniStack's administration and MiniStack's unchecked root keys, and it keeps a
burst of API calls from forking one worker process each. It also answers for S3 where MiniStack says too much: whether
an object is missing is told to those alone who may list it.
"""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import re
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs

from ministack.core.router import extract_access_key_id

from tidemill.local.state import ADMIN_HEADER

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Scope, Receive, Send], Awaitable[None]]

API_PREFIX = "/_aws/execute-api/"
JOB_PATH = "/_tidemill/jobs/"
_API_HOST = re.compile(r"([a-f0-9]{8})\.execute-api\.localhost(:\d+)?")
_PLAIN = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d+)?")
_LOOPBACK = re.compile(r"(127\.0\.0\.1|localhost|\[::1\]|[a-z0-9.-]+\.localhost)(:\d+)?")
_SERVICE = re.compile(r"(?:Credential=)?[^/,\s]*/[^/,]*/[^/,]*/([^/,]*)/")
_BUCKET = re.compile(r"/[a-z0-9][a-z0-9.-]+/?")

HIDDEN = b"<Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"

log = logging.getLogger("tidemill.guard")


@dataclass(frozen=True)
class Refusal:
    """Why a request is turned away."""

    code: str
    message: str
    remedy: str
    status: int = 403


FOREIGN_HOST = Refusal(
    "FOREIGN_HOST", "The Host header does not name this machine.", "Call 127.0.0.1, localhost or *.localhost."
)
FOREIGN_ORIGIN = Refusal(
    "FOREIGN_ORIGIN", "Web pages of other origins may not call the local stack.", "Open the console of the API itself."
)
ADMIN_ONLY = Refusal(
    "ADMIN_ONLY", "This path administers the local stack.", "Use the tidemill command; it holds the key."
)
ROOT_KEY = Refusal(
    "ROOT_KEY",
    "This access key is not accepted by the local stack.",
    "Use the keys in credentials.json of the state folder.",
)
UNKNOWN_KEY = Refusal(
    "UNKNOWN_KEY", "Nobody has this access key.", "Use the keys in credentials.json of the state folder."
)
NO_KEY = Refusal(
    "NO_KEY", "The request is not signed.", "Sign it with the keys in credentials.json of the state folder."
)
CROWDED = Refusal("CROWDED", "Too many API calls are waiting.", "Try again in a second.", 503)


@dataclass(frozen=True)
class Caller:
    """What a request says about itself."""

    host: str
    path: str
    method: str
    origin: str | None
    browser: bool
    admin: bool
    key: str
    service: str
    form: bool
    reads_xml: bool = False

    @property
    def api(self) -> str | None:
        """The HTTP API the request is for: its id, None where it is for a service."""
        if found := _API_HOST.fullmatch(self.host):
            return found[1]
        by_path = self.path.startswith(API_PREFIX) and _PLAIN.fullmatch(self.host)
        return self.path[len(API_PREFIX) :].split("/", 1)[0] if by_path else None


def joined_headers(scope: Scope) -> dict[str, str]:
    """The headers by name, lines that repeat joined as MiniStack joins them."""
    headers: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1").lower(), raw_value.decode("latin-1")
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return headers


def caller_of(scope: Scope, admin: str) -> Caller:
    """Read a request's headers and query once."""
    headers = joined_headers(scope)
    query = parse_qs(scope.get("query_string", b"").decode("latin-1"), keep_blank_values=True)
    signed = headers.get("authorization", "")
    service = _SERVICE.search(signed or query.get("X-Amz-Credential", [""])[0])
    return Caller(
        host=headers.get("host", "").lower(),
        path=scope["path"],
        method=scope.get("method", "GET"),
        origin=headers.get("origin"),
        browser=any(name.startswith("sec-fetch-") for name in headers),
        admin=hmac.compare_digest(headers.get(ADMIN_HEADER, "").encode(), admin.encode()),
        key=extract_access_key_id(headers, query),
        service=service[1] if service else "",
        reads_xml="json" not in headers.get("content-type", ""),
        form=not signed and not query and headers.get("content-type", "").startswith("multipart/form-data"),
    )


def refusal(caller: Caller, root_key: str, known: Callable[[str], bool]) -> Refusal | None:
    """Why a request may not pass, None where it may; `known` says whether an access key exists."""
    if not _LOOPBACK.fullmatch(caller.host):
        return FOREIGN_HOST
    if caller.origin is not None and not _own_origin(caller):
        return FOREIGN_ORIGIN
    if caller.admin and caller.origin is None and not caller.browser:
        return None
    if caller.api is not None:
        return None
    if caller.path.startswith("/_") or caller.path == "/health":
        return None if _is_for_jobs(caller) or _is_custom_resource_answer(caller) else ADMIN_ONLY
    if caller.key:
        if caller.key in ("test", root_key) or re.fullmatch(r"\d{12}", caller.key):
            return ROOT_KEY
        return None if known(caller.key) else UNKNOWN_KEY
    if caller.method == "POST" and caller.form and _BUCKET.fullmatch(caller.path):
        return None  # a presigned form carries its signature in the body, where S3 checks it
    if caller.method == "OPTIONS" and caller.origin is not None:
        return None
    return NO_KEY


def _is_for_jobs(caller: Caller) -> bool:
    """A job fetches the keys of its role from local Batch, with a token of its own."""
    return caller.method == "GET" and not caller.browser and caller.path.startswith(JOB_PATH)


def _is_custom_resource_answer(caller: Caller) -> bool:
    """A custom resource's function answers CloudFormation on a path with a token of its own."""
    return caller.method == "PUT" and not caller.browser and caller.path.startswith("/_ministack/cfn-response/")


def _own_origin(caller: Caller) -> bool:
    """Whether a page of the console sent it: the API's own host, to the API or to S3 beside it."""
    origin = (caller.origin or "").lower()
    if not origin.startswith("http://"):
        return False
    host = origin[len("http://") :]
    if caller.api is not None:
        return host == caller.host
    own = _API_HOST.fullmatch(host)
    return own is not None and own[2] == caller.host[caller.host.rfind(":") :]


class Guard:
    """Refuse, or pass on to the HTTP API, to local Batch, or to MiniStack."""

    def __init__(
        self,
        inner: Application,
        *,
        admin: str,
        root_key: str,
        known: Callable[[str], bool],
        batch: Application | None = None,
        may_list: Callable[[str, str, str], bool] = lambda key_id, bucket, key: True,
        api_calls: int = 4,
        api_queue: int = 64,
        api_wait_s: float = 10.0,
        pause_s: float = 1.0,
    ) -> None:
        self.inner, self.batch, self.admin, self.root_key, self.known = inner, batch, admin, root_key, known
        self.may_list = may_list
        self._calls = asyncio.Semaphore(api_calls)
        self._queue, self._wait_s, self._pause_s, self._waiting = api_queue, api_wait_s, pause_s, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.inner(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._http(scope, receive, send)

    async def _http(self, scope: Scope, receive: Receive, send: Send) -> None:
        caller = caller_of(scope, self.admin)
        if reason := refusal(caller, self.root_key, self.known):
            await refuse(reason, caller, send)
        elif caller.api is not None:
            await self._call_api(caller, scope, receive, send)
        elif self.batch is not None and (caller.service == "batch" or _is_for_jobs(caller)):
            await self.batch(scope, receive, send)
        else:
            if caller.service == "s3" and caller.method in ("GET", "HEAD"):
                send = self._hiding(caller, send)
            await self.inner(_without_admin(scope), receive, send)

    def _hiding(self, caller: Caller, send: Send) -> Send:
        """Make 403 of the 404 for an object that the caller may not list, as S3 does."""
        bucket, _, key = caller.path[1:].partition("/")
        hidden = False

        async def answer(message: Message) -> None:
            nonlocal hidden
            if message["type"] == "http.response.start":
                hidden = message["status"] == 404 and bool(key) and not self.may_list(caller.key, bucket, key)
                if hidden:
                    length = 0 if caller.method == "HEAD" else len(HIDDEN)
                    kind = [(b"content-type", b"application/xml"), (b"content-length", str(length).encode())]
                    message = {**message, "status": 403, "headers": kind}
            elif hidden:
                message = {**message, "body": b"" if caller.method == "HEAD" else HIDDEN}
            await send(message)

        return answer

    async def _call_api(self, caller: Caller, scope: Scope, receive: Receive, send: Send) -> None:
        """At most a few calls at a time: MiniStack forks a process for each concurrent one.

        Who has waited long is refused too: its caller is about to give up, and would be answered for nobody.
        """
        if self._waiting >= self._queue:
            await asyncio.sleep(self._pause_s)  # who does not heed Retry-After heeds this
            await refuse(CROWDED, caller, send)
            return
        self._waiting += 1
        try:
            if self._calls.locked():  # else there is nothing to wait for, and wait_for would give way to other callers
                await asyncio.wait_for(self._calls.acquire(), self._wait_s)
            else:
                await self._calls.acquire()
        except TimeoutError:
            await refuse(CROWDED, caller, send)
            return
        finally:
            self._waiting -= 1
        try:
            await self.inner(_by_path(caller, scope), receive, send)
        finally:
            self._calls.release()


def _by_path(caller: Caller, scope: Scope) -> Scope:
    """Address an API by path: MiniStack looks at its own paths (/health, /_ministack/reset) before it looks at hosts.

    The function sees the address of the server as its host, and the one that was called as x-forwarded-host.
    """
    if not _API_HOST.fullmatch(caller.host):
        return scope
    prefix = API_PREFIX + (caller.api or "")
    raw = scope.get("raw_path")
    address, port = scope["server"]
    headers = [pair for pair in scope["headers"] if pair[0].lower() not in (b"host", b"x-forwarded-host")]
    headers += [(b"host", f"{address}:{port}".encode()), (b"x-forwarded-host", caller.host.encode())]
    return {**scope, "path": prefix + scope["path"], "raw_path": raw and prefix.encode() + raw, "headers": headers}


def _without_admin(scope: Scope) -> Scope:
    """Keep our secret from whatever stands behind us."""
    return {**scope, "headers": [pair for pair in scope["headers"] if pair[0].lower() != ADMIN_HEADER.encode()]}


async def refuse(reason: Refusal, caller: Caller, send: Send) -> None:
    """Answer with a problem document and log one line; never a key, a query or a body."""
    log.warning(
        "refused %s %s %s host=%r origin=%r",
        reason.code,
        caller.method,
        caller.path[:200],
        caller.host[:100],
        (caller.origin or "")[:100],
    )
    kind, body = _for_sdk(reason) if caller.reads_xml and reason in (ROOT_KEY, UNKNOWN_KEY) else _problem(reason)
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    if reason.status == 503:
        headers.append((b"retry-after", b"1"))
    await send({"type": "http.response.start", "status": reason.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _problem(reason: Refusal) -> tuple[bytes, bytes]:
    document = {
        "type": f"https://tidemill.dev/problems/{reason.code.lower().replace('_', '-')}",
        "title": "Refused",
        "status": reason.status,
        "detail": reason.message,
        "code": reason.code,
        "remedy": reason.remedy,
    }
    return b"application/problem+json", json.dumps(document).encode()


def _for_sdk(reason: Refusal) -> tuple[bytes, bytes]:
    """The same for an SDK that only reads AWS's XML (IAM, STS, CloudFormation, S3)."""
    text = f"<Code>{reason.code}</Code><Message>{reason.message} {reason.remedy}</Message>"
    return b"text/xml", f"<ErrorResponse><Error><Type>Sender</Type>{text}</Error></ErrorResponse>".encode()
