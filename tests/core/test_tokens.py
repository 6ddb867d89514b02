"""What a verified token becomes: the greatest role it names, an id that tells nobody who it is, or a refusal."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core.errors import Forbidden, Unauthorized
from tidemill.core.tokens import bearer

JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=9) | st.just("jwt") | st.just("claims"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3),
    max_leaves=9,
)


def event(**claims: Any) -> dict[str, Any]:
    """An event of a route with a JWT authorizer; API Gateway writes every claim as a text."""
    told = {"iss": "https://issuer", "sub": "ada@example.org", "exp": str(int(time.time()) + 60), **claims}
    return {"requestContext": {"authorizer": {"jwt": {"claims": told, "scopes": None}}}}


@pytest.mark.parametrize(
    ("claims", "role"),
    [
        ({"scope": "openid tidemill/predict"}, "predict"),
        ({"scope": "tidemill/predict tidemill/operate"}, "operate"),
        ({"scp": "tidemill.operate"}, "operate"),
        ({"roles": ["tidemill:predict"]}, "predict"),
        ({"cognito:groups": "[staff tidemill.operate]"}, "operate"),
        ({"groups": "[tidemill.predict]", "scope": "openid"}, "predict"),
    ],
)
def test_the_greatest_role_that_a_claim_names_is_the_callers(claims: dict[str, Any], role: str) -> None:
    item = bearer(event(**claims))
    assert item and item["role"] == role
    assert "ada" not in str(item)
    assert item["id"] == (bearer(event(**claims)) or {})["id"] != (bearer(event(**claims, sub="bob")) or {})["id"]


@pytest.mark.parametrize(
    "scope",
    ["", "operate", "tidemill", "tidemill/", "tidemill/root", "xtidemill/operate", "tidemill/operatex",
     "TIDEMILL/OPERATE", "tidemill/operate\x00", "tidemill/operate/x", 7, None, {"tidemill/operate": 1}],
)  # fmt: skip
def test_what_only_looks_like_a_role_is_none(scope: Any) -> None:
    with pytest.raises(Forbidden):
        bearer(event(scope=scope))


@pytest.mark.parametrize("exp", ["0", "1.5", "", "never", "nan", "inf", "1e400", "-inf", None, [], {}, "1" * 400 + "x"])
def test_a_token_that_has_ended_or_never_does_is_refused(exp: Any) -> None:
    with pytest.raises(Unauthorized):
        bearer(event(scope="tidemill/operate", exp=exp))


@given(JSON)
def test_no_part_of_an_event_but_the_authorizers_makes_a_caller(part: Any) -> None:
    for made in ({"requestContext": part}, {"requestContext": {"authorizer": part}}, {"headers": part, "body": part}):
        assert bearer(made) is None
