"""Who may do what: keys, roles and the pages a browser opens."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from tests.doubles.plane import Plane, with_income

PATHS = {"{model}": "income", "{number}": "1", "{run}": "r-one", "{time}": "latest", "{scoring}": "s-one"}
PREDICT_MAY = {
    "POST /uploads",  # files to be predicted or scored; test_app_uploads.py has what is refused
    "GET /models",
    "GET /models/{model}",
    "GET /models/{model}/versions",
    "GET /models/{model}/versions/{number}",
    "GET /models/{model}/versions/{number}/search",
    "GET /models/{model}/history",
    "GET /models/{model}/scorings",
    "GET /models/{model}/scorings/{scoring}",
    "GET /models/{model}/card",
    "GET /models/{model}/card.json",
    "POST /models/{model}/predict",
    "POST /models/{model}/feedback",
    "GET /models/{model}/reports",
    "GET /models/{model}/reports/{time}",
    "GET /models/{model}/reports/{time}/page",
    "POST /models/{model}/explain",
    "GET /docs",
    "GET /openapi.json",
}


@pytest.fixture(scope="module")
def plane() -> Plane:
    return with_income(Plane())


def every_route(plane: Plane) -> list[tuple[str, str, dict[str, Any]]]:
    paths = plane.app.openapi()["paths"]
    return [(method.upper(), path, about) for path, methods in paths.items() for method, about in methods.items()]


def filled(path: str) -> str:
    for name, value in PATHS.items():
        path = path.replace(name, value)
    return path


def ask(plane: Plane, role: str | None, method: str, path: str) -> Any:
    body: dict[str, Any] = {"json": {}} if method == "POST" else {}
    return plane.client(role).request(method, filled(path), **body)


def test_the_openapi_document_names_every_route(plane: Plane) -> None:
    served = {(method, path) for method, path, _ in every_route(plane)}
    for method, path in served:
        answer = ask(plane, "operate", method, path)
        assert answer.status_code not in (404, 405), (method, path, answer.text)
    assert len(served) == 32


def test_nothing_but_health_answers_without_a_key(plane: Plane) -> None:
    for method, path, _ in every_route(plane):
        answer = ask(plane, None, method, path)
        assert answer.status_code == (200 if path == "/health" else 401), path
        if path != "/health":
            assert answer.json()["code"] == "UNAUTHORIZED"
    assert ask(plane, None, "GET", "/nowhere").status_code == 401


def test_a_predict_key_does_only_what_the_list_says(plane: Plane) -> None:
    for method, path, _ in every_route(plane):
        answer = ask(plane, "predict", method, path)
        allowed = f"{method} {path}" in PREDICT_MAY or path == "/health"
        assert (answer.status_code == 403) is (not allowed), (method, path, answer.text)


def test_the_document_says_the_role_of_every_route(plane: Plane) -> None:
    for method, path, about in every_route(plane):
        expected = "predict" if f"{method} {path}" in PREDICT_MAY else "operate"
        assert about["x-role"] == ("none" if path == "/health" else expected)
        assert about["description"], path


@pytest.mark.parametrize("sent", ["", "tm_", "tm_" + "x" * 43, "' OR 1=1", "tm_" + "é" * 43, "x" * 5000])
def test_an_unknown_key_is_refused(plane: Plane, sent: str) -> None:
    answer = plane.client(None).get("/models", headers=[(b"x-api-key", sent.encode())])
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"


def test_a_bearer_token_is_a_key(plane: Plane) -> None:
    answer = plane.client(None).get("/models", headers={"authorization": f"Bearer {plane.keys['predict']}"})
    assert answer.status_code == 200


def test_a_revoked_key_is_refused_at_once() -> None:
    plane = with_income(Plane())
    client = plane.client("predict")
    assert client.get("/models").status_code == 200
    for item in plane.registry.secrets.values():
        item["revoked"] = True
    assert client.get("/models").status_code == 401


@pytest.mark.parametrize(
    "page", ["/docs", "/openapi.json", "/models/income/card", "/models/income/reports/latest/page"]
)
def test_a_browser_is_asked_for_a_password_and_gets_the_page(plane: Plane, page: str) -> None:
    client = plane.client(None)
    assert client.get(page).headers["www-authenticate"].startswith("Basic ")
    assert client.get(page, auth=("key", plane.keys["predict"])).status_code == 200
    assert client.get(page, auth=("admin", plane.keys["predict"])).status_code == 401
    assert client.get(page, headers={"authorization": "Basic %%%"}).status_code == 401


def test_basic_credentials_open_pages_only(plane: Plane) -> None:
    for method, path, _ in every_route(plane):
        if path in ("/health", "/docs", "/openapi.json", "/models/{model}/card", "/models/{model}/reports/{time}/page"):
            continue
        sent = base64.b64encode(f"key:{plane.keys['operate']}".encode()).decode()
        answer = plane.client(None).request(method, filled(path), headers={"authorization": f"Basic {sent}"})
        assert answer.status_code == 401, path


def test_a_key_with_a_role_nobody_knows_may_do_nothing(plane: Plane) -> None:
    plane = with_income(Plane())
    for item in plane.registry.secrets.values():
        item["role"] = "root"
    assert plane.client("operate").get("/models").status_code == 403
