"""What the table says, remembered for seconds: who a key belongs to, and which version answers for a model."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tidemill.core.errors import Forbidden, NoChampion, Unauthorized, Unavailable, UnknownModel
from tidemill.core.keys import allows, hash_of, looks_like_key, opens
from tidemill.serving.routing import Route, route
from tidemill.serving.signer import Client

KEY_S = 15.0  # a revoked key works this much longer
ALIAS_S = 3.0  # a new version answers this much later; a rollback is promised within 5 s
GRACE_S = 60.0  # while the table does not answer, or is rebuilt, what it said last counts this much longer
MOST = 1_000  # entries kept; past it everything is asked again

Item = dict[str, Any]


class Remembered:
    """Values that were read, for a while. What is not there is not remembered: it may be there the next moment.

    Nobody deletes keys or aliases: where one is gone, the table is being rebuilt, and what it said last counts.
    """

    def __init__(self, read: Callable[[str], Item | None], keep_s: float, clock: Callable[[], float]) -> None:
        self.read, self.keep_s, self.clock = read, keep_s, clock
        self.held: dict[str, tuple[float, Item]] = {}

    def get(self, name: str) -> Item | None:
        """The value as it is or was a moment ago."""
        now = self.clock()
        at, value = self.held.get(name, (0.0, None))
        if value is not None and now - at < self.keep_s:
            return value
        try:
            fresh = self.read(name)
        except Unavailable:
            if value is not None and now - at < self.keep_s + GRACE_S:
                return value
            raise
        if fresh is None and value is not None and now - at < self.keep_s + GRACE_S:
            return value
        self._keep(name, fresh, now)
        return fresh

    def _keep(self, name: str, value: Item | None, now: float) -> None:
        if len(self.held) >= MOST:
            self.held.clear()
        self.held.pop(name, None)
        if value is not None:
            self.held[name] = (now, value)


class Pointers:
    """The table as the hot path sees it."""

    def __init__(self, client: Client, table: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.client, self.table = client, table
        self.keys = Remembered(lambda digest: client.get_item(table, f"KEY#{digest}", "META"), KEY_S, clock)
        self.aliases = Remembered(
            lambda model: client.get_item(table, f"MODEL#{model}", "ALIAS#champion"), ALIAS_S, clock
        )

    def caller(self, secret: str) -> Item:
        """The key item behind a secret; raises Unauthorized, or Forbidden where its role may not predict."""
        item = self.keys.get(hash_of(secret)) if looks_like_key(secret) else None
        if item is None or not opens(item):
            raise Unauthorized(
                "The key is unknown, revoked or too old." if secret else "The request has no key.",
                remedy="Send 'x-api-key: KEY'; `tidemill keys create` makes a key.",
            )
        if not allows(str(item.get("role")), "predict"):
            raise Forbidden(
                f"The key {item.get('id', '?')} has the role {item.get('role')!r}; this route needs 'predict'.",
                remedy="Use a key with that role: `tidemill keys create --role predict`.",
            )
        return item

    def route(self, model: str, key: str) -> Route:
        """Which version answers a request with this key, and what stands beside it.

        Raises UnknownModel, NoChampion, or BadBundle for an alias that points elsewhere.
        """
        alias = self.aliases.get(model)
        if alias is None:
            raise self._without(model)
        return route(model, alias, key)

    def _without(self, model: str) -> UnknownModel | NoChampion:
        if self.client.get_item(self.table, f"MODEL#{model}", "META") is None:
            return UnknownModel(
                f"There is no model {model!r}.",
                remedy="Upload data for it, or look at the list of models.",
                model=model,
            )
        return NoChampion(
            f"Model {model!r} has no version in service yet.",
            remedy="Wait for its first run to end, or look at its runs for the reason.",
            model=model,
        )
