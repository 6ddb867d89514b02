"""Who asks, and may they: the key or the verified token of a request, and the one check that every route goes through.

A predict key may see models, versions, cards and reports, ask for predictions, say what was true of them, and send
files to be predicted. An operate key may do everything.
A route that does not say which role it needs, needs operate.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers
from starlette.types import Scope

from tidemill.core.errors import Forbidden, Unauthorized
from tidemill.core.keys import Role, allows, hash_of, looks_like_key, opens
from tidemill.core.tokens import bearer
from tidemill.serving.app.world import Item, Registry

ANYONE: dict[str, Any] = {"x-role": "none"}
PREDICT: dict[str, Any] = {"x-role": "predict"}
OPERATE: dict[str, Any] = {"x-role": "operate"}

PUBLIC = frozenset({"/health"})
# Pages that a browser may open with HTTP Basic (user key, password the key). They are read-only: a browser sends
# Basic credentials by itself, so a route that changes something must never take them.
_PAGE = re.compile(r"/(?:docs|openapi\.json|models/[^/]+/(?:card|reports/[^/]+/page))/?")


def is_page(scope: Scope) -> bool:
    """Whether the request asks for a page that a person opens in a browser."""
    return scope["method"] == "GET" and _PAGE.fullmatch(scope["path"]) is not None


def identify(scope: Scope, registry: Registry) -> Item | None:
    """The key item behind a request, None for public paths; raises Unauthorized otherwise, or what a token raises."""
    if scope["path"] in PUBLIC:
        return None
    if token := bearer(scope.get("aws.event") or {}):
        return token  # and never a key beside it: the two might name different people
    secret = _secret(Headers(scope=scope), basic=is_page(scope))
    item = registry.key(hash_of(secret)) if looks_like_key(secret) else None
    if item is None or not opens(item):
        raise Unauthorized(
            "The request has no key." if not secret else "The key is unknown, revoked or too old.",
            remedy="Send 'x-api-key: KEY'; `tidemill keys create` makes a key.",
        )
    return item


def challenge(scope: Scope) -> dict[str, str]:
    """What a 401 asks for: a browser is asked for user and password, a program for a bearer token."""
    scheme = "Basic" if is_page(scope) else "Bearer"
    return {"www-authenticate": f'{scheme} realm="tidemill", charset="UTF-8"' if is_page(scope) else scheme}


def may(request: Request) -> None:
    """The dependency of every route: raises Forbidden unless the key has the role that the route names."""
    extra = getattr(request.scope.get("route"), "openapi_extra", None) or {}
    needed = extra.get("x-role", "operate")
    if needed != "none":
        require(request, "predict" if needed == "predict" else "operate")


def require(request: Request, needed: Role) -> None:
    """Raise Forbidden unless the key has a role; for routes where that depends on what is asked."""
    item = request.scope.get("tidemill.key") or {}
    role = str(item.get("role", ""))
    if not allows(role, needed):
        raise Forbidden(
            f"The key {item.get('id', '?')} has the role {role!r}; this route needs {needed!r}.",
            remedy="Use a key with that role: `tidemill keys create --role operate`.",
        )


def caller(request: Request) -> str:
    """Who to write down for a change: the public id and name of the key."""
    item = request.scope.get("tidemill.key") or {}
    return f"key {item.get('id', '?')} ({item.get('name', 'no name')})"


def _secret(headers: Headers, *, basic: bool) -> str:
    if key := headers.get("x-api-key", "").strip():
        return key
    scheme, _, rest = headers.get("authorization", "").strip().partition(" ")
    if scheme.lower() == "bearer":
        return rest.strip()
    if basic and scheme.lower() == "basic":
        return _password(rest.strip())
    return ""


def _password(encoded: str) -> str:
    """The password of Basic credentials whose user is `key`; empty where they cannot be read."""
    try:
        user, _, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError, ValueError):
        return ""
    return password if user == "key" else ""
