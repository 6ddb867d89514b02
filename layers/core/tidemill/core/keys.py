"""API keys: made from the system's randomness, shown once, kept only as a hash.

A key has 256 random bits, so a plain SHA-256 is enough: there is nothing to guess and no need for a slow hash.
Looking the hash up is no timing risk either: who measures the lookup learns about hashes, not about keys.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from tidemill.core.clock import now
from tidemill.core.errors import BadRequest

Role = Literal["predict", "operate"]
ROLES: tuple[Role, ...] = ("predict", "operate")
PREFIX = "tm_"  # lets secret scanners and people recognise a key
_RANDOM_BYTES = 32
_KEY = re.compile(r"tm_[A-Za-z0-9_-]{32,128}")
_NAME = re.compile(r"[\w .@+-]{1,64}")


@dataclass(frozen=True)
class NewKey:
    """A key in the one moment it can be seen, its hash, and the item that remembers it."""

    secret: str
    digest: str
    item: dict[str, Any]


def new_key(role: str, name: str, days: int | None = None) -> NewKey:
    """Make a key for a role, for so many days or for good; `name` tells a person later whose it is."""
    if role not in ROLES:
        raise BadRequest(f"{role!r} is not a role.", code="BAD_ROLE", remedy=f"Roles are {' and '.join(ROLES)}.")
    if not _NAME.fullmatch(name):
        raise BadRequest(
            f"{name[:80]!r} cannot name a key.",
            code="BAD_KEY_NAME",
            remedy="Use 1 to 64 letters, digits, spaces and the signs . @ + - _",
        )
    secret = PREFIX + secrets.token_urlsafe(_RANDOM_BYTES)
    digest = hash_of(secret)
    item = {"id": id_of(digest), "name": name, "role": role, "created": now(), "revoked": False}
    if days is not None:
        until = datetime.now(UTC) + timedelta(days=days)
        item["until"] = until.isoformat(timespec="milliseconds").replace("+00:00", "Z")  # as clock.now writes it
    return NewKey(secret, digest, item)


def opens(item: Mapping[str, Any] | None) -> bool:
    """Whether the key behind an item opens anything: it is known, not revoked, and its days are not over."""
    return item is not None and not item.get("revoked") and now() < str(item.get("until", "9999"))


def looks_like_key(text: str) -> bool:
    """Whether a text has the shape of a key; anything else needs no lookup."""
    return _KEY.fullmatch(text) is not None


def hash_of(secret: str) -> str:
    """What the table knows of a key: the hex SHA-256."""
    return hashlib.sha256(secret.encode()).hexdigest()


def id_of(digest: str) -> str:
    """The short public name of a key: the first 8 hex digits of its hash. Safe to print and log."""
    return digest[:8]


def allows(role: str, needed: Role) -> bool:
    """Whether a key of `role` may do what needs `needed`: operate may do everything, predict only its own."""
    return role in ROLES and (role == "operate" or role == needed)
