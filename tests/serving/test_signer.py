"""The small client signs as botocore does, tries again where that helps, and stops where it does not."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials as TheirCredentials
from hypothesis import given
from hypothesis import strategies as st
from tests.serving.fake_aws import BUCKET, TABLE, FakeAws, running

from tidemill.core.errors import NotFound, TidemillError, Unavailable
from tidemill.serving import signer
from tidemill.serving.signer import TRIES, Call, Client, Credentials, Refused, plain, sign

AT = "20240531T134500Z"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "AKIDEXAMPLE",
    "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    "AWS_SESSION_TOKEN": "a/token+with=signs",
}


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeAws]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    with running() as server:
        yield server


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def client(aws: FakeAws, waits: list[float]) -> Iterator[Client]:
    made = Client("eu-central-1", aws.url, sleep=waits.append)
    yield made
    made.close()


def theirs(call: Call, keys: Credentials, region: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """The Authorization header that botocore makes of the same call."""
    request = AWSRequest(call.method, f"https://{call.host}{call.path}", dict(call.headers), call.body)
    request.context["payload_signing_enabled"] = True
    kind = S3SigV4Auth if call.service == "s3" else SigV4Auth
    auth = kind(TheirCredentials(keys.access_key, keys.secret_key, keys.token or None), call.service, region)
    monkeypatch.setattr("botocore.auth.get_current_datetime", lambda *_, **__: _fixed(), raising=True)
    auth.add_auth(request)
    return str(request.headers["Authorization"])


def _fixed() -> Any:
    from datetime import UTC, datetime

    return datetime.strptime(AT, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


@given(
    key=st.text(alphabet=st.characters(codec="utf-8", exclude_categories=["Cc"]), min_size=1, max_size=30),
    body=st.binary(max_size=50),
    token=st.sampled_from(["", "a/token+with=signs"]),
    secret=st.text(alphabet="abcXYZ019/+=", min_size=1, max_size=40),
)
def test_signatures_are_those_of_botocore(key: str, body: bytes, token: str, secret: str) -> None:
    keys = Credentials("AKIDEXAMPLE", secret, token)
    calls = [
        Call("s3", "GET", "a-bucket.s3.eu-central-1.amazonaws.com", "/" + quote(key, safe="/-_.~"), {}),
        Call("s3", "GET", "127.0.0.1:4566", "/a-bucket/" + quote(key, safe="/-_.~"), {}),
        Call("dynamodb", "POST", "dynamodb.eu-central-1.amazonaws.com", "/", {"X-Amz-Target": "D.GetItem"}, body),
    ]
    for call in calls:
        with pytest.MonkeyPatch.context() as patched:
            wanted = theirs(call, keys, "eu-central-1", patched)
        assert sign(call, keys, "eu-central-1", AT)["authorization"] == wanted


def test_items_and_objects_are_read(aws: FakeAws, client: Client) -> None:
    item = {"version": 3, "share": 0.5, "pinned": True, "why": None, "tags": ["a", 1], "upload": {"key": "k é"}}
    aws.items["MODEL#m", "ALIAS#champion"] = item
    aws.objects["bundles/m/r 1/fü.json"] = b"content"
    assert client.get_item(TABLE, "MODEL#m", "ALIAS#champion") == item
    assert client.get_item(TABLE, "MODEL#m", "META") is None
    assert client.get_object(BUCKET, "bundles/m/r 1/fü.json") == b"content"
    assert aws.connections == 1


def test_what_is_sent_carries_token_and_signature(aws: FakeAws, client: Client) -> None:
    client.get_item(TABLE, "MODEL#m", "META")
    _, _, headers, _ = aws.requests[0]
    assert headers["x-amz-security-token"] == ENVIRONMENT["AWS_SESSION_TOKEN"]
    assert "/eu-central-1/dynamodb/aws4_request" in headers["authorization"]
    assert "x-amz-security-token" in headers["authorization"]


@pytest.mark.parametrize("fault", [500, 503, 429, 400, "drop"])
def test_a_passing_fault_is_tried_again(aws: FakeAws, client: Client, waits: list[float], fault: int | str) -> None:
    aws.faults = [fault] * (TRIES - 1)
    assert client.get_item(TABLE, "KEY#x", "META") is None
    assert len(aws.calls) == TRIES
    assert len(waits) == TRIES - 1 and all(0 <= wait <= signer.FIRST_WAIT_S * 2**TRIES for wait in waits)


@pytest.mark.parametrize("fault", [503, "drop"])
def test_a_lasting_fault_is_unavailable(aws: FakeAws, client: Client, fault: int | str) -> None:
    aws.faults = [fault] * 20
    with pytest.raises(Unavailable, match=f"did not answer in {TRIES} tries"):
        client.get_item(TABLE, "KEY#x", "META")
    assert len(aws.calls) == TRIES


def test_a_connection_closed_between_calls_is_replaced_without_a_wait(
    aws: FakeAws, client: Client, waits: list[float]
) -> None:
    client.get_item(TABLE, "KEY#x", "META")
    aws.faults = ["close"]
    assert client.get_item(TABLE, "KEY#x", "META") is None
    assert not waits and aws.connections == 2


def test_a_connection_unused_for_long_is_not_trusted(
    aws: FakeAws, client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.get_item(TABLE, "KEY#x", "META")
    monkeypatch.setattr(signer, "IDLE_S", -1.0)
    client.get_item(TABLE, "KEY#x", "META")
    assert aws.connections == 2


def test_nobody_listening_is_unavailable(waits: list[float]) -> None:
    with running() as server:
        url = server.url
    with pytest.raises(Unavailable, match="ConnectionRefusedError"):
        Client("us-east-1", url, sleep=waits.append).get_object(BUCKET, "k")


def test_a_refusal_is_not_tried_again(aws: FakeAws, client: Client) -> None:
    with pytest.raises(NotFound, match="There is no object"):
        client.get_object(BUCKET, "bundles/nothing.json")
    aws.faults = ["denied"]
    with pytest.raises(Refused, match="AccessDenied"):
        client.get_object(BUCKET, "k")
    assert len(aws.calls) == 2


def test_hosts_are_those_of_aws_where_no_endpoint_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    client, sent = Client("eu-central-1"), []
    monkeypatch.setattr(client, "_send", lambda call: sent.append(call) or b"{}")
    client.get_item(TABLE, "pk", "sk")
    client.get_object("bucket", "a/b c")
    client.get_object("dotted.bucket", "k")
    assert [(call.host, call.path) for call in sent] == [
        ("dynamodb.eu-central-1.amazonaws.com", "/"),
        ("bucket.s3.eu-central-1.amazonaws.com", "/a/b%20c"),
        ("s3.eu-central-1.amazonaws.com", "/dotted.bucket/k"),
    ]


def test_the_environment_names_region_endpoint_and_keys() -> None:
    client = Client.from_environment({"AWS_REGION": "eu-west-1", "AWS_ENDPOINT_URL": "http://127.0.0.1:1"})
    assert client.region == "eu-west-1" and client.endpoint is not None
    assert Client.from_environment({}).endpoint is None
    assert Credentials.from_environment(ENVIRONMENT).token == ENVIRONMENT["AWS_SESSION_TOKEN"]


@pytest.mark.parametrize(("value", "wanted"), [({"N": "7"}, 7), ({"N": "1e3"}, 1000.0), ({"S": "x"}, "x")])
def test_values_of_dynamodb_become_plain(value: dict[str, Any], wanted: Any) -> None:
    assert plain(value) == wanted and type(plain(value)) is type(wanted)


def test_errors_name_no_key_or_account(aws: FakeAws, client: Client) -> None:
    aws.faults = ["denied"]
    with pytest.raises(TidemillError) as caught:
        client.get_object(BUCKET, "k")
    assert not any(value in str(caught.value.problem()) for value in ENVIRONMENT.values())
