"""tidemill keys: made with administrator's rights straight in the registry, shown once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from tidemill.cli.failures import NoStack
from tidemill.cli.session import Session, json_option, pass_session
from tidemill.core.keys import ROLES, hash_of, new_key, opens

if TYPE_CHECKING:
    from tidemill.core.registry import Registry

Item = dict[str, Any]


def ensure_keys(session: Session, registry: Registry) -> list[str]:
    """Make sure the local stack knows an operate and a predict key; the roles for which new ones were made.

    A key in the file that the registry has lost, or that was revoked, is replaced.
    """
    kept = session.places.keys()
    made = []
    for role in ROLES:
        item = registry.key(hash_of(kept[role])) if kept.get(role) else None
        if not opens(item) or (item or {}).get("role") != role:
            key = new_key(role, "made by tidemill up")
            registry.put_key(key.digest, key.item)
            kept[role] = key.secret
            made.append(role)
    if made:
        session.places.keep_keys(kept)
    return list(made)


@click.group()
def keys() -> None:
    """Make, list and revoke API keys (needs the stack itself, not a key)."""


@keys.command()
@click.option("--role", type=click.Choice(ROLES), required=True, help="predict: ask only; operate: everything.")
@click.option("--name", required=True, help="Whose key it is.")
@click.option("--days", type=click.IntRange(1, 3650), help="For how long (default: until it is revoked).")
@json_option
@pass_session
def create(session: Session, role: str, name: str, days: int | None) -> None:
    """Make a key and show it, this once."""
    registry = open_registry(session)
    key = new_key(role, name, days)
    registry.put_key(key.digest, key.item)
    session.screen.say(key.secret, "bold")
    session.screen.say(f"Key {key.item['id']} for {role}. It is not stored and cannot be shown again.")
    session.screen.document({**key.item, "key": key.secret})


@keys.command(name="list")
@json_option
@pass_session
def list_keys(session: Session) -> None:
    """List the keys by id; the keys themselves are not stored anywhere."""
    found = open_registry(session).keys()
    rows = [(item["id"], item["role"], item["name"], item["created"], _state(item)) for item in found]
    session.screen.table(["id", "role", "name", "created", ""], rows)
    session.screen.document({"keys": found})


def _state(item: Item) -> str:
    return "revoked" if item.get("revoked") else "" if opens(item) else "too old"


@keys.command()
@click.argument("key_id")
@json_option
@pass_session
def revoke(session: Session, key_id: str) -> None:
    """Revoke the key with this id; it stops working at once."""
    item = open_registry(session).revoke_key(key_id)
    session.screen.say(f"Key {item['id']} ({item['name']}) is revoked.")
    session.screen.document(item)


def open_registry(session: Session) -> Registry:
    """The registry: of TIDEMILL_TABLE on AWS with the caller's own credentials, else of the running local stack."""
    if session.registry is not None:
        return session.registry
    if table := session.places.environment.get("TIDEMILL_TABLE"):
        return _on_aws(table, session.places.environment.get("TIDEMILL_ARTIFACTS_BUCKET", ""))
    from tidemill.cli.stack import module, registry_of

    stack = module("tidemill.local.stack").status(session.places.state)
    if stack is None:
        raise NoStack(
            "No local stack is running, and TIDEMILL_TABLE is not set.",
            remedy="Run `tidemill up`; for AWS set TIDEMILL_TABLE (an output of the stack) and credentials.",
        )
    return registry_of(stack)


def _on_aws(table: str, artifacts: str) -> Registry:
    from tidemill.core.registry import Registry
    from tidemill.core.storage import Storage

    return Registry(table, Storage(artifacts) if artifacts else None)
