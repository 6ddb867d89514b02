"""Tokens of an identity provider (JWT), where the stack is deployed with one: what API Gateway has verified.

API Gateway checks signature, issuer, audience and times, and hands the claims over in a part of the event that no
caller can write to. Here they become what a key would be: an id, a name and a role.
"""

from __future__ import annotations

import hashlib
import math
import re
import time
from collections.abc import Mapping
from typing import Any

from tidemill.core.errors import Forbidden, Unauthorized
from tidemill.core.keys import ROLES, id_of

Item = dict[str, Any]
# Where providers write what somebody may do: OAuth scopes, Entra's and Auth0's roles, groups of a Cognito user pool.
CLAIMS = ("scope", "scp", "roles", "groups", "permissions", "cognito:groups")
_ROLE = re.compile(r"tidemill[/.:]([a-z]+)")


def bearer(event: Mapping[str, Any]) -> Item | None:
    """Who a verified token belongs to, None where the event has none.

    Raises Unauthorized for one without an end, or past it, and Forbidden for one without a role of ours.
    """
    claims = _claims(event)
    if claims is None:
        return None
    if not time.time() < _seconds(claims.get("exp")) < math.inf:  # the local stack lets a token without an end pass
        raise Unauthorized("The token has ended, or never does.", remedy="Ask your identity provider for a new one.")
    role = _role(claims)
    if role is None:
        raise Forbidden(
            "The token carries no role of this system.",
            code="NO_ROLE",
            remedy="Give it the scope, role or group 'tidemill/predict' or 'tidemill/operate'.",
        )
    who = f"{claims.get('iss', '')} {claims.get('sub', '')}"
    return {"id": id_of(hashlib.sha256(who.encode()).hexdigest()), "name": "token", "role": role, "revoked": False}


def _claims(event: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The claims of a JWT authorizer in an event of payload format 2.0."""
    found: Any = event
    for name in ("requestContext", "authorizer", "jwt", "claims"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, Mapping) else None


def _seconds(value: Any) -> float:
    """A time as a number; API Gateway writes all claims as texts."""
    try:
        return float(value)
    except (TypeError, ValueError):
        return math.nan


def _role(claims: Mapping[str, Any]) -> str | None:
    """The greatest role that the claims name."""
    found = {match[1] for name in CLAIMS for word in _words(claims.get(name)) if (match := _ROLE.fullmatch(word))}
    return next((role for role in reversed(ROLES) if role in found), None)


def _words(value: Any) -> list[str]:
    """The words of a claim: a text with blanks, a list, or a list as API Gateway writes it, "[one two]"."""
    if isinstance(value, (list, tuple)):
        return [word for word in value if isinstance(word, str)]
    return re.split(r"[\s,]+", value.strip().removeprefix("[").removesuffix("]")) if isinstance(value, str) else []
