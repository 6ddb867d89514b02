"""Every error is a problem document with a stable code, and tells nothing of the inside."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError
from tests.doubles.plane import Plane, with_income

from tidemill.serving.app import entrance

JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def plane() -> Plane:
    return with_income(Plane())


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """What the app's logger writes."""
    written = io.StringIO()
    monkeypatch.setattr(entrance.log.registered_handler, "stream", written)
    return written


@pytest.fixture
def client(plane: Plane) -> httpx.Client:
    return plane.client()


def check(answer: httpx.Response, status: int, code: str) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["status"], body["code"]) == (status, status, code), body
    assert body["type"].endswith(code.lower().replace("_", "-"))
    assert body["title"]
    assert body["detail"]
    return body


def test_an_unknown_route_is_404(client: httpx.Client) -> None:
    assert "/nowhere" in check(client.get("/nowhere"), 404, "UNKNOWN_ROUTE")["detail"]


def test_a_wrong_method_is_405_and_names_the_right_one(client: httpx.Client) -> None:
    answer = client.delete("/models/income")
    check(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == "GET"


def test_an_unknown_model_run_and_version_are_404(client: httpx.Client) -> None:
    for path in ("/models/none", "/models/none/runs", "/models/none/versions", "/models/none/card"):
        check(client.get(path), 404, "UNKNOWN_MODEL")
    check(client.post("/models/none/promote", json={"version": 1}), 404, "UNKNOWN_MODEL")
    check(client.get("/models/income/runs/r-none"), 404, "UNKNOWN_RUN")
    check(client.get("/models/income/versions/99"), 404, "UNKNOWN_VERSION")
    check(client.post("/models/income/promote", json={"version": 99}), 404, "UNKNOWN_VERSION")


@pytest.mark.parametrize("name", ["Income", "a_b", "-a", "a" * 64, "chu%00rn", "%0d%0aset-cookie:a=b", "é"])
def test_a_name_that_cannot_be_a_model_is_400(client: httpx.Client, name: str) -> None:
    check(client.get(f"/models/{name}"), 404, "BAD_MODEL_NAME")


@pytest.mark.parametrize("name", ["..%2f..%2fother-tenant", "a%2fb"])
def test_a_path_cannot_climb(client: httpx.Client, name: str) -> None:
    assert client.get(f"/models/{name}").status_code in (400, 404)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "version"),
        ({"version": "1"}, "version"),
        ({"version": True}, "version"),
        ({"version": 1.5}, "version"),
        ({"version": 0}, "version"),
        ({"version": 1, "why": None}, "why"),
        ({"version": 1, "why": "x" * 501}, "why"),
        ({"version": 1, "state": "READY"}, "state"),
    ],
)
def test_a_wrong_field_is_422_and_named(client: httpx.Client, body: Any, field: str) -> None:
    problem = check(client.post("/models/income/promote", json=body), 422, "INVALID_REQUEST")
    assert problem["errors"][0]["field"] == field
    assert problem["detail"].startswith(field)


@pytest.mark.parametrize("path", ["/models/income/versions/abc", "/models/income/versions/0"])
def test_a_version_that_is_no_number_is_422(client: httpx.Client, path: str) -> None:
    assert check(client.get(path), 422, "INVALID_REQUEST")["errors"][0]["field"] == "path number"


@pytest.mark.parametrize("query", ["upload=../x", "upload=" + "a" * 200, "upload=%0d%0a"])
def test_an_upload_id_that_cannot_be_one_is_422(client: httpx.Client, query: str) -> None:
    check(client.get(f"/models/income/runs?{query}"), 422, "INVALID_REQUEST")


@pytest.mark.parametrize("body", [b"{", b"", b"[1, 2", b'{"version": }'])
def test_a_body_that_is_no_json_is_refused(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/models/income/promote", content=body, headers=JSON)
    assert answer.status_code == (400 if body else 422)
    assert answer.json()["code"] == ("JSON_INVALID" if body else "INVALID_REQUEST")


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"version": "\xff"}', b'{"a":' * 50_000])
def test_a_body_that_breaks_a_parser_is_400(client: httpx.Client, body: bytes) -> None:
    answer = client.post("/models/income/promote", content=body, headers=JSON)
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_a_body_of_another_type_is_415(client: httpx.Client) -> None:
    answer = client.post("/models/income/promote", content=b"<x/>", headers={"content-type": "text/xml"})
    check(answer, 415, "UNSUPPORTED_MEDIA_TYPE")


def test_a_body_past_the_limit_is_413_also_when_it_lies_about_its_size(client: httpx.Client) -> None:
    check(client.post("/uploads", content=b"x" * 300_000, headers=JSON), 413, "TOO_LARGE")
    chunks = (b"x" * 50_000 for _ in range(7))
    check(client.post("/uploads", content=chunks, headers=JSON), 413, "TOO_LARGE")


def test_an_unexpected_fault_is_500_without_details(logged: io.StringIO) -> None:
    plane = with_income(Plane())

    def fail() -> list[Any]:
        raise ValueError("the secret is AKIA0123456789")

    plane.registry.models = fail  # type: ignore[method-assign]
    answer = plane.client().get("/models")
    body = check(answer, 500, "INTERNAL")
    assert body["request"] == answer.headers["x-request-id"]
    assert "AKIA" not in answer.text
    out = logged.getvalue()
    assert "ValueError" in out
    assert body["request"] in out
    assert "AKIA" not in out


@pytest.mark.parametrize(
    "fault",
    [
        ClientError({"Error": {"Code": "ThrottlingException", "Message": "slow"}}, "Query"),
        EndpointConnectionError(endpoint_url="http://127.0.0.1:1"),
    ],
)
def test_a_fault_that_passes_is_503_and_says_when_to_try_again(fault: Exception) -> None:
    plane = with_income(Plane())

    def fail() -> list[Any]:
        raise fault

    plane.registry.models = fail  # type: ignore[method-assign]
    answer = plane.client().get("/models")
    check(answer, 503, "UNAVAILABLE")
    assert answer.headers["retry-after"]
    assert "127.0.0.1" not in answer.text


def test_a_registry_that_fails_while_the_key_is_looked_up_is_no_open_door() -> None:
    plane = with_income(Plane())

    def fail(digest: str) -> None:
        raise RuntimeError(digest)

    plane.registry.key = fail  # type: ignore[method-assign]
    check(plane.client().get("/models"), 500, "INTERNAL")


def test_every_answer_has_the_protecting_headers(client: httpx.Client) -> None:
    for path in ("/health", "/models", "/nowhere", "/docs"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert headers["x-request-id"]


def test_the_log_tells_the_route_and_neither_key_nor_value(plane: Plane, logged: io.StringIO) -> None:
    body = {"rows": [{"card": "4111111111111111"}]}
    plane.client("predict").post("/models/income/predict", json=body)
    plane.client().post("/uploads", json={"model": "income", "filename": "a.csv"})
    out = logged.getvalue()
    lines = [json.loads(line) for line in out.splitlines() if line.startswith("{")]
    assert [line["route"] for line in lines] == ["/models/{model}/predict", "/uploads"]
    assert lines[0]["status"] == 200
    for secret in ("4111111111111111", "X-Amz-Signature", *plane.keys.values()):
        assert secret not in out
