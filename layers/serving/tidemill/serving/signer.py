"""The calls of the hot path with the standard library alone, signed with AWS Signature Version 4: DynamoDB GetItem and
S3 GetObject; PutObject for the request log; while a version is watched, UpdateItem and PutEvents.

Importing boto3 and making its clients costs a cold start some 300 ms; these calls cost 20. Signing follows
docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html and is tested against botocore.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import os
import random
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

from tidemill.core.errors import NotFound, TidemillError, TooLarge, Unavailable

SOURCE = "tidemill"  # of events
TRIES = 4
FIRST_WAIT_S = 0.05  # doubled with every try, and taken at random below that
TIMEOUT_S = 5.0  # to connect, and between two pieces of an answer
IDLE_S = 15.0  # a connection unused for longer has probably been closed at the other end
BUSY = frozenset(
    {
        *("ThrottlingException", "ProvisionedThroughputExceededException", "RequestLimitExceeded", "SlowDown"),
        *(
            "InternalServerError",
            "InternalError",
            "ServiceUnavailable",
            "RequestTimeout",
            "TransactionConflictException",
        ),
    }
)


class Refused(TidemillError):
    """AWS understood the call and said no; trying again would not help."""

    code, status, title = "AWS_REFUSED", 500, "A part of the system refused"


class Denied(Refused):
    """The role has no right to this; or, to an object, no right to see that there is none."""


@dataclass(frozen=True)
class Credentials:
    """The keys a call is signed with."""

    access_key: str
    secret_key: str
    token: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Credentials:
        """The keys that AWS Lambda puts into the environment."""
        return cls(
            environment.get("AWS_ACCESS_KEY_ID", ""),
            environment.get("AWS_SECRET_ACCESS_KEY", ""),
            environment.get("AWS_SESSION_TOKEN", ""),
        )


@dataclass(frozen=True)
class Call:
    """One request, before it is signed. `path` is encoded already; no call here has a query."""

    service: str
    method: str
    host: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""
    most: int | None = None  # bytes of an answer that are read
    tries: int = TRIES


def sign(call: Call, keys: Credentials, region: str, at: str) -> dict[str, str]:
    """The headers of a signed call; `at` is the time as 20240531T134500Z."""
    digest = hashlib.sha256(call.body).hexdigest()
    headers = {**{name.lower(): value for name, value in call.headers.items()}, "host": call.host, "x-amz-date": at}
    if call.service == "s3":
        headers["x-amz-content-sha256"] = digest
    if keys.token:
        headers["x-amz-security-token"] = keys.token
    names = sorted(headers)
    signed = ";".join(names)
    lines = "".join(f"{name}:{headers[name].strip()}\n" for name in names)
    canonical = f"{call.method}\n{call.path}\n\n{lines}\n{signed}\n{digest}"
    scope = f"{at[:8]}/{region}/{call.service}/aws4_request"
    text = f"AWS4-HMAC-SHA256\n{at}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    key = b"AWS4" + keys.secret_key.encode()
    for part in (at[:8], region, call.service, "aws4_request", text):
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    credential = f"Credential={keys.access_key}/{scope}"
    headers["authorization"] = f"AWS4-HMAC-SHA256 {credential}, SignedHeaders={signed}, Signature={key.hex()}"
    return headers


class Client:
    """Reads items, reads and writes objects, one call at a time; keeps one connection a host."""

    def __init__(self, region: str, endpoint: str = "", sleep: Callable[[float], None] = time.sleep) -> None:
        self.region = region
        self.endpoint = urlsplit(endpoint) if endpoint else None
        self.sleep = sleep
        self._lock = threading.Lock()
        self._open: dict[str, tuple[http.client.HTTPConnection, float]] = {}

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Client:
        """The client for the region, and the endpoint if one is set, of the process."""
        region = environment.get("AWS_REGION") or environment.get("AWS_DEFAULT_REGION") or "us-east-1"
        return cls(region, environment.get("AWS_ENDPOINT_URL", ""))

    def get_item(self, table: str, pk: str, sk: str) -> dict[str, Any] | None:
        """The item of a table as plain values, or None where there is none."""
        body = {"TableName": table, "Key": {"pk": {"S": pk}, "sk": {"S": sk}}, "ConsistentRead": True}
        item = self._call("dynamodb", "DynamoDB_20120810.GetItem", body).get("Item")
        return None if item is None else {name: plain(value) for name, value in item.items()}

    def add(self, table: str, pk: str, sk: str, numbers: Mapping[str, float], expires: int) -> dict[str, Any]:
        """Add numbers to those of an item, which may be new; the item as it is then. Tried once: twice adds twice."""
        values = {f":{name}": {"N": repr(value)} for name, value in numbers.items()}
        added = ", ".join(f"{name} :{name}" for name in numbers)
        body = {
            "TableName": table,
            "Key": {"pk": {"S": pk}, "sk": {"S": sk}},
            "UpdateExpression": f"ADD {added} SET expires = :expires",
            "ExpressionAttributeValues": {**values, ":expires": {"N": str(expires)}},
            "ReturnValues": "ALL_NEW",
        }
        item = self._call("dynamodb", "DynamoDB_20120810.UpdateItem", body, tries=1)["Attributes"]
        return {name: plain(value) for name, value in item.items()}

    def tell(self, bus: str, name: str, detail: Mapping[str, Any]) -> None:
        """Put one event; raises Unavailable when the bus did not take it."""
        entry = {"EventBusName": bus, "Source": SOURCE, "DetailType": name, "Detail": json.dumps(detail)}
        if self._call("events", "AWSEvents.PutEvents", {"Entries": [entry]}).get("FailedEntryCount"):
            raise Unavailable(f"The event bus {bus} refused {name}.", remedy="Try again.")

    def _call(self, service: str, target: str, body: Mapping[str, Any], tries: int = TRIES) -> dict[str, Any]:
        """One call of a service that speaks JSON; its answer."""
        version = {"dynamodb": "1.0", "events": "1.1"}[service]
        headers = {"content-type": f"application/x-amz-json-{version}", "x-amz-target": target}
        host = self._host(f"{service}.{self.region}.amazonaws.com")
        answer = self._send(Call(service, "POST", host, "/", headers, json.dumps(body).encode(), tries=tries))
        found: dict[str, Any] = json.loads(answer)
        return found

    def get_object(self, bucket: str, key: str, most: int | None = None) -> bytes:
        """The bytes of an object; raises NotFound where there is none, TooLarge before it reads more than `most`."""
        return self._send(Call("s3", "GET", *self._place(bucket, key), {}, most=most))

    def put_object(self, bucket: str, key: str, body: bytes, content_type: str) -> None:
        """Put an object, tried once: what is written from the hot path is not worth a wait."""
        self._send(Call("s3", "PUT", *self._place(bucket, key), {"content-type": content_type}, body, tries=1))

    def close(self) -> None:
        """Close the connections; the next call opens them anew."""
        for host in list(self._open):
            self._close(host)

    def _place(self, bucket: str, key: str) -> tuple[str, str]:
        """The host and the encoded path of an object."""
        path = "/" + quote(key, safe="/-_.~")
        if self.endpoint or "." in bucket:
            return self._host(f"s3.{self.region}.amazonaws.com"), f"/{bucket}{path}"
        return f"{bucket}.s3.{self.region}.amazonaws.com", path

    def _host(self, public: str) -> str:
        return self.endpoint.netloc if self.endpoint else public

    def _send(self, call: Call) -> bytes:
        """Send until answered: faults of the network, throttling and 5xx are tried again, with growing waits."""
        fault = ""
        for attempt in range(call.tries):
            if attempt:
                self.sleep(random.uniform(0, FIRST_WAIT_S * 2**attempt))  # noqa: S311 - spreads retries, hides nothing
            try:
                with self._lock:
                    status, body = self._exchange(call)
            except (OSError, http.client.HTTPException) as error:
                fault = type(error).__name__
                continue
            if status == 200:
                return body
            fault = _code(body) or str(status)
            if status < 500 and status != 429 and fault not in BUSY:
                raise _refused(call, status, fault)
        raise Unavailable(
            f"{call.service} did not answer in {call.tries} tries ({fault}).", remedy="Try again in a few seconds."
        )

    def _exchange(self, call: Call) -> tuple[int, bytes]:
        """One request on the host's connection; a kept one that turns out closed is replaced at once."""
        connection, fresh = self._connection(call.host)
        at = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        headers = sign(call, Credentials.from_environment(), self.region, at)
        try:
            connection.request(call.method, call.path, body=call.body or None, headers=headers)
            answer = connection.getresponse()
            self._check_size(call, answer)
            body = answer.read()
        except (OSError, http.client.HTTPException) as error:
            self._close(call.host)
            if fresh or isinstance(error, TimeoutError):
                raise
            return self._exchange(call)
        if answer.will_close:
            self._close(call.host)
        else:
            self._open[call.host] = (connection, time.time())
        return answer.status, body

    def _check_size(self, call: Call, answer: http.client.HTTPResponse) -> None:
        """Leave a body unread that is longer than asked for; S3 says how long it is."""
        if call.most is not None and answer.status == 200 and (answer.length is None or answer.length > call.most):
            self._close(call.host)
            raise TooLarge(f"the file has {answer.length} bytes; {call.most} are read.", limit_bytes=call.most)

    def _connection(self, host: str) -> tuple[http.client.HTTPConnection, bool]:
        if host in self._open:
            connection, used = self._open[host]
            if time.time() - used < IDLE_S:
                return connection, False
            self._close(host)
        plain_http = self.endpoint is not None and self.endpoint.scheme == "http"
        kind = http.client.HTTPConnection if plain_http else http.client.HTTPSConnection
        connection = kind(host, timeout=TIMEOUT_S)
        self._open[host] = (connection, time.time())
        return connection, True

    def _close(self, host: str) -> None:
        connection, _ = self._open.pop(host, (None, 0.0))
        if connection is not None:
            connection.close()


def plain(value: dict[str, Any]) -> Any:
    """One DynamoDB value ({"S": ...}, {"N": ...}, ...) as a plain one."""
    (kind, held), *_ = value.items()
    if kind == "N":
        return float(held) if any(sign in held for sign in ".eE") else int(held)
    if kind == "M":
        return {name: plain(item) for name, item in held.items()}
    if kind == "L":
        return [plain(item) for item in held]
    return None if kind == "NULL" else held


def _code(body: bytes) -> str:
    """The error code in an answer of DynamoDB (JSON) or S3 (XML); empty where none can be found."""
    text = body[:4096].decode(errors="replace")
    if "<Code>" in text:
        return text.partition("<Code>")[2].partition("</Code>")[0][:80]
    try:
        return str(json.loads(text).get("__type", "")).rpartition("#")[2][:80]
    except (ValueError, AttributeError):
        return ""


def _refused(call: Call, status: int, code: str) -> TidemillError:
    if call.service == "s3" and status == 404:
        return NotFound(f"There is no object {call.path.rpartition('/')[2]!r}.", code="NO_SUCH_OBJECT")
    if code == "ResourceNotFoundException":  # a table that was lost comes back by being rebuilt
        return Unavailable(f"{call.service} does not have what is asked for.", remedy="Try again in a minute.")
    kind = Denied if code == "AccessDenied" else Refused
    return kind(f"{call.service} refused a call of this function ({code}).", remedy="Look at the role of the function.")
