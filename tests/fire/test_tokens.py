"""Tokens of an identity provider at the deployed API: one kind opens it, the others do not, and keys no longer do."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from tests.conftest import ROOT
from tests.fire.callers.issuer import AUDIENCE, Issuer, issuing

from tidemill.core.keys import new_key
from tidemill.core.registry import Registry
from tidemill.local import stack as local

pytestmark = [pytest.mark.fire, pytest.mark.timeout(600)]
AREA = "keys and tokens"
Ask = Callable[..., httpx.Response]


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    with issuing() as made:
        yield made


@pytest.fixture(scope="module")
def guarded(issuer: Issuer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A stack of our own, deployed with the issuer."""
    state = tmp_path_factory.mktemp("jwt")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    asked = {"JwtIssuer": issuer.url, "JwtAudience": f"other-client,{AUDIENCE}"}
    running = local.up(ROOT, state, port=port, parameters=asked)
    running.client("events").disable_rule(Name=running.resources["SweepRule"])
    yield running
    local.down(state)


@pytest.fixture(scope="module")
def ask(guarded: Any) -> Iterator[Ask]:
    """Ask the deployed API."""
    with httpx.Client(base_url=guarded.api_url, timeout=60, trust_env=False) as client:

        def asking(method: str, path: str, token: str | None = None, **more: Any) -> httpx.Response:
            headers = {**({"authorization": f"Bearer {token}"} if token else {}), **more.pop("headers", {})}
            return client.request(method, path, headers=headers, **more)

        yield asking


def test_a_good_token_opens_what_its_role_may_and_no_more(ask: Ask, issuer: Issuer, fire: Any) -> None:
    predicts = issuer.token(issuer.claims(scope="openid tidemill/predict"))
    groups = issuer.token(issuer.claims(scope=None, **{"cognito:groups": ["other", "tidemill.predict"]}))
    none = issuer.token(issuer.claims(scope="openid profile tidemill operate"))
    with fire(AREA, "tokens by role", count=9):
        assert ask("GET", "/health").status_code == 200, "the one route that asks nobody"
        assert ask("GET", "/models", issuer.token()).status_code == 200
        assert ask("GET", "/models", predicts).status_code == 200
        assert ask("GET", "/models", groups).status_code == 200
        promote = ask("POST", "/models/income/promote", predicts, json={"version": 1})
        assert (promote.status_code, promote.json()["code"]) == (403, "FORBIDDEN")
        assert ask("POST", "/models/income/promote", issuer.token(), json={"version": 1}).status_code == 404
        lost = ask("GET", "/models", none)
        assert (lost.status_code, lost.json()["code"]) == (403, "NO_ROLE")
        hot = ask("POST", "/models/income/predict", predicts, json={"rows": [{"a": 1}]})
        assert (hot.status_code, hot.json()["code"]) == (404, "UNKNOWN_MODEL"), "Predict reads the token too"
        hot = ask("POST", "/models/income/predict", none, json={"rows": [{"a": 1}]})
        assert (hot.status_code, hot.json()["code"]) == (403, "NO_ROLE")


def test_no_other_token_opens_anything(ask: Ask, issuer: Issuer, fire: Any) -> None:
    for wrong, token in issuer.hostile().items():
        with fire(AREA, f"token: {wrong}", count=2):
            for method, path in (("GET", "/models"), ("POST", "/models/income/predict")):
                answer = ask(method, path, token, **({"json": {"rows": [{}]}} if method == "POST" else {}))
                assert answer.status_code == 401, (wrong, path, answer.text)
                assert token not in answer.text


def test_without_a_token_nothing_opens_not_even_with_a_key(guarded: Any, ask: Ask, issuer: Issuer, fire: Any) -> None:
    key = new_key("operate", "test")
    Registry(guarded.outputs["TableName"], None, guarded.resource("dynamodb")).put_key(key.digest, key.item)
    expired = issuer.hostile()["expired"]
    predicts = issuer.token(issuer.claims(scope="tidemill/predict"))
    with fire(AREA, "keys where tokens are asked for", count=6):
        for path in ("/models", "/docs", "/nowhere", "/health/x"):
            assert ask("GET", path).status_code == 401, path
        assert ask("GET", "/models", headers={"x-api-key": key.secret}).status_code == 401
        assert ask("GET", "/models", expired, headers={"x-api-key": key.secret}).status_code == 401
        answer = ask("POST", "/models/income/rollback", predicts, json={}, headers={"x-api-key": key.secret})
        assert answer.status_code == 403, "a key beside a token adds nothing to it"
