"""Who may reach the local stack, and who is turned away."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError

from tidemill.local.clients import client
from tidemill.local.guard import Caller, Guard, refusal
from tidemill.local.stack import Stack

pytestmark = pytest.mark.stack


def caller(**fields: Any) -> Caller:
    """A signed request from a program on this machine, but for what is said."""
    base: dict[str, Any] = {
        "host": "127.0.0.1:4566", "path": "/bucket", "method": "GET", "origin": None, "browser": False, "admin": False,
        "key": "AKIAKNOWN", "service": "s3", "form": False,
    }  # fmt: skip
    return Caller(**{**base, **fields})


CONSOLE = "http://0123abcd.execute-api.localhost:4566"
API = {"host": "0123abcd.execute-api.localhost:4566", "key": "", "path": "/models"}


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, None),
        ({"host": "localhost:4566"}, None),
        ({"host": "bucket.localhost:4566"}, None),
        ({"host": "[::1]:4566"}, None),
        ({"host": "evil.example:4566"}, "FOREIGN_HOST"),
        ({"host": "127.0.0.1.evil.example"}, "FOREIGN_HOST"),
        ({"host": "localhost.evil.example"}, "FOREIGN_HOST"),
        ({"host": ""}, "FOREIGN_HOST"),
        ({"origin": "https://evil.example"}, "FOREIGN_ORIGIN"),
        ({"origin": "null"}, "FOREIGN_ORIGIN"),
        ({"origin": "http://localhost:3000"}, "FOREIGN_ORIGIN"),
        ({"origin": "http://127.0.0.1:4566"}, "FOREIGN_ORIGIN"),  # an object opened as a page is not the console
        ({"origin": CONSOLE, "key": "", "method": "POST", "form": True}, None),  # the console uploads a file
        ({"origin": CONSOLE, "key": "", "method": "OPTIONS"}, None),
        ({"origin": CONSOLE.replace("4566", "9999"), "key": "", "method": "OPTIONS"}, "FOREIGN_ORIGIN"),
        (API, None),
        ({**API, "origin": CONSOLE, "browser": True}, None),
        ({**API, "origin": "https://evil.example", "browser": True}, "FOREIGN_ORIGIN"),
        ({**API, "origin": CONSOLE.replace("0123abcd", "99999999")}, "FOREIGN_ORIGIN"),
        ({"path": "/_aws/execute-api/0123abcd/models", "key": ""}, None),
        ({"path": "/_aws/execute-api/0123abcd/models", "key": "", "host": "a.cloudfront.localhost"}, "ADMIN_ONLY"),
        ({"path": "/_ministack/reset", "method": "POST"}, "ADMIN_ONLY"),
        ({"path": "/_ministack/health", "key": ""}, "ADMIN_ONLY"),
        ({"path": "/health", "key": ""}, "ADMIN_ONLY"),
        ({"path": "/_localstack/health"}, "ADMIN_ONLY"),
        ({"path": "/_aws/lambda-url/x/"}, "ADMIN_ONLY"),
        ({"path": "/_ministack/health", "admin": True}, None),
        ({"path": "/_ministack/health", "admin": True, "browser": True}, "ADMIN_ONLY"),
        ({"path": "/_ministack/health", "admin": True, "origin": CONSOLE}, "ADMIN_ONLY"),
        ({"path": "/_tidemill/jobs/1/credentials", "key": ""}, None),
        ({"path": "/_tidemill/jobs/1/credentials", "key": "", "browser": True}, "ADMIN_ONLY"),
        ({"path": "/_ministack/cfn-response/token", "method": "PUT", "key": ""}, None),
        ({"key": "test"}, "ROOT_KEY"),
        ({"key": "123456789012"}, "ROOT_KEY"),
        ({"key": "ROOT"}, "ROOT_KEY"),
        ({"key": "ROOT", "admin": True}, None),
        ({"key": "AKIASTRANGER"}, "UNKNOWN_KEY"),
        ({"key": ""}, "NO_KEY"),
        ({"key": "", "method": "POST", "form": True}, None),
        ({"key": "", "method": "POST", "form": True, "path": "/v1/apis"}, "NO_KEY"),
    ],
)
def test_each_kind_of_request_passes_or_is_refused_by_name(fields: dict[str, Any], code: str | None) -> None:
    found = refusal(caller(**fields), "ROOT", lambda key: key == "AKIAKNOWN")
    assert (found.code if found else None) == code


def ask(sample: Stack, path: str, method: str = "GET", host: str = "", **headers: str) -> tuple[int, dict[str, Any]]:
    """One raw request; underscores in names become hyphens."""
    connection = http.client.HTTPConnection("127.0.0.1", sample.port, timeout=30)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, headers={"Host": host or f"127.0.0.1:{sample.port}", **named})
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, json.loads(body) if body.startswith(b"{") else {}


def test_a_refusal_is_a_problem_document_and_one_line_in_the_log(sample: Stack) -> None:
    status, problem = ask(sample, "/secret-path", origin="https://evil.example")
    assert (status, problem["code"]) == (403, "FOREIGN_ORIGIN")
    assert problem["remedy"]
    lines = (sample.state / "logs" / "guard.log").read_text().splitlines()
    assert "FOREIGN_ORIGIN GET /secret-path" in lines[-1]


@pytest.mark.parametrize(
    "path", ["/_ministack/reset", "/_ministack/health", "/health", "/_localstack/health", "/login"]
)
def test_the_api_host_never_reaches_what_ministack_keeps_for_itself(sample: Stack, path: str) -> None:
    host = sample.console_url.removeprefix("http://")
    for method in ("GET", "POST"):
        assert ask(sample, path, method, host=host)[1]["path"] == path


def test_the_api_answers_by_path_and_by_name(sample: Stack) -> None:
    path = sample.api_url.removeprefix(sample.endpoint)
    assert ask(sample, f"{path}/models/x")[1]["path"] == "/models/x"
    assert ask(sample, "/models/x", host=sample.console_url.removeprefix("http://"))[1]["path"] == "/models/x"


@pytest.mark.parametrize("key", ["test", "123456789012", "AKIAIOSFODNN7EXAMPLE"])
def test_keys_whose_signature_nobody_checks_are_refused(sample: Stack, key: str) -> None:
    for service, call in (
        ("s3", "list_buckets"),
        ("dynamodb", "list_tables"),
        ("iam", "list_users"),
        ("sts", "get_caller_identity"),
    ):
        with pytest.raises(ClientError) as caught:
            getattr(client(service, sample.endpoint, key, "test"), call)()
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 403
        assert caught.value.response["Error"]["Code"] in ("ROOT_KEY", "UNKNOWN_KEY", "403")


def test_the_root_key_is_refused_without_the_secret_header(sample: Stack) -> None:
    root = sample.secrets
    with pytest.raises(ClientError):
        client("s3", sample.endpoint, root.root_access_key_id, root.root_secret_access_key).list_buckets()


def test_a_wrong_secret_is_refused(sample: Stack) -> None:
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client("s3", sample.endpoint, sample.secrets.access_key_id, "wrong").list_buckets()


def test_a_second_key_in_the_query_does_not_hide_the_first(sample: Stack) -> None:
    """MiniStack reads `Credential=test/` from the header even where the query names a good key."""
    good = f"X-Amz-Credential={sample.secrets.access_key_id}%2F20260101%2Fus-east-1%2Fs3%2Faws4_request"
    signed = "AWS4-HMAC-SHA256 Credential=test/x, SignedHeaders=host, Signature=0"
    assert ask(sample, f"/?{good}", authorization=signed, content_type="application/json")[1]["code"] == "ROOT_KEY"


def test_an_unsigned_service_call_is_refused(sample: Stack) -> None:
    assert ask(sample, "/", "POST", x_amz_target="DynamoDB_20120810.ListTables")[1]["code"] == "NO_KEY"
    bearer = {"authorization": "Bearer x", "x_amz_target": "DynamoDB_20120810.ListTables"}
    assert ask(sample, "/", "POST", **bearer)[1]["code"] == "NO_KEY"
    form = {"x_amz_target": "DynamoDB_20120810.ListTables", "content_type": "multipart/form-data; boundary=x"}
    assert ask(sample, "/bucket", "POST", **form)[0] in (400, 403, 404)


def test_a_foreign_page_gets_no_preflight(sample: Stack) -> None:
    asks = {"origin": "https://evil.example", "access_control_request_method": "PUT"}
    for path in ("/bucket/key", sample.api_url.removeprefix(sample.endpoint) + "/models"):
        assert ask(sample, path, "OPTIONS", **asks)[1]["code"] == "FOREIGN_ORIGIN"


def test_a_websocket_is_closed(sample: Stack) -> None:
    upgrade = {
        "connection": "Upgrade",
        "upgrade": "websocket",
        "sec_websocket_version": "13",
        "sec_websocket_key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    assert ask(sample, "/", **upgrade)[0] == 403


def test_presigned_urls_and_forms_pass_with_their_own_signature(sample: Stack) -> None:
    bucket = sample.outputs["DataBucketName"]
    signer = boto3.session.Session().client(
        "s3", endpoint_url=sample.endpoint, region_name="us-east-1", aws_access_key_id=sample.secrets.access_key_id,
        aws_secret_access_key=sample.secrets.secret_access_key, config=Config(signature_version="s3v4", proxies={}),
    )  # fmt: skip
    sample.client("s3").put_object(Bucket=bucket, Key="seen/object", Body=b"text")
    url = signer.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "seen/object"})
    assert ask(sample, url.removeprefix(sample.endpoint))[0] == 200
    assert ask(sample, url.removeprefix(sample.endpoint)[:-4] + "0000")[0] == 403


def test_too_many_waiting_calls_are_answered_with_503() -> None:
    """The burst is held back at the door: four at work, the rest in a queue, and the queue has an end."""
    import asyncio

    async def scene() -> tuple[int, list[int]]:
        busy, most, statuses = 0, 0, []

        async def slow(_scope: Any, _receive: Any, send: Callable[..., Any]) -> None:
            nonlocal busy, most
            busy += 1
            most = max(most, busy)
            await asyncio.sleep(0.05)
            busy -= 1
            await send({"type": "http.response.start", "status": 200, "headers": []})

        async def send(message: Any) -> None:
            if message["type"] == "http.response.start":
                statuses.append(message["status"])

        guard = Guard(slow, admin="a", root_key="r", known=lambda _: True, api_calls=4, api_queue=8)
        scope = {
            "type": "http", "method": "GET", "path": "/models", "server": ("127.0.0.1", 1), "raw_path": b"/models",
            "headers": [(b"host", b"0123abcd.execute-api.localhost:4566")], "query_string": b"",
        }  # fmt: skip
        await asyncio.gather(*(guard(dict(scope), None, send) for _ in range(20)))  # type: ignore[arg-type]
        return most, sorted(statuses)

    most, statuses = asyncio.run(scene())
    assert most == 4
    assert statuses == [200] * 12 + [503] * 8


def test_only_our_port_listens_and_only_on_loopback(sample: Stack) -> None:
    if not Path("/proc/net/tcp").exists():
        pytest.skip("needs /proc")
    ask(sample, sample.api_url.removeprefix(sample.endpoint) + "/models")  # workers included
    assert set(_listeners(_group(sample.pid))) == {("0100007F", sample.port)}


def _group(leader: int) -> list[int]:
    """The processes of a group."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[2]) == leader:
            found.append(int(path.parent.name))
    return found


def _listeners(pids: list[int]) -> list[tuple[str, int]]:
    """The (address, port) pairs those processes listen on."""
    inodes = set()
    for pid in pids:
        for entry in Path(f"/proc/{pid}/fd").iterdir():
            target = str(entry.readlink()) if entry.is_symlink() else ""
            if target.startswith("socket:["):
                inodes.add(target[8:-1])
    found = []
    for table in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            fields = line.split()
            listening = fields[3] == "0A" or table.startswith("udp")
            if listening and fields[9] in inodes:
                address, port = fields[1].rsplit(":", 1)
                found.append((address, int(port, 16)))
    return found
