"""Which version answers a request: a stable hash of the request's key divides them between champion and challenger."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tidemill.core.errors import BadBundle

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"


@dataclass(frozen=True)
class Served:
    """A version that can answer, under the alias it answers by."""

    alias: str
    version: int
    bundle: str
    monitor: Mapping[str, Any] = field(default_factory=dict, hash=False)  # what may be kept of requests to it


@dataclass(frozen=True)
class Watch:
    """A version whose health is counted: which alias and revision of it, its limits, and when its time is over."""

    alias: str
    version: int
    rev: int
    limits: Mapping[str, Any]
    until: float | None = None
    promotes: bool = False  # with its time over and no limit broken, it becomes champion


@dataclass(frozen=True)
class Route:
    """Who answers a request; who answers instead should that fail; who scores it unseen; what is watched."""

    first: Served
    instead: Served | None = None
    shadow: Served | None = None
    watch: Watch | None = None
    beside: tuple[str, ...] = ()  # bundles of other versions that stay open


def fraction(model: str, key: str) -> float:
    """Where a key falls between 0 and 1, the same for ever. More share adds keys and takes none away."""
    return int.from_bytes(hashlib.sha256(f"{model}\n{key}".encode()).digest()[:8]) / 2**64


def route(model: str, alias: Mapping[str, Any], key: str, now: float | None = None) -> Route:
    """The route of a request with this key; raises BadBundle for an alias that points elsewhere."""
    champion = _served(model, CHAMPION, alias)
    challenger = alias.get("challenger") or {}
    if challenger.get("live"):
        return _challenged(model, champion, challenger, key)
    watch = alias.get("watch") or {}
    if not watch or (time.time() if now is None else now) > watch["until"]:
        return Route(champion)
    watched = Watch(CHAMPION, champion.version, watch["rev"], watch["limits"], watch["until"])
    previous = _served(model, PREVIOUS, watch["instead"])
    return Route(champion, previous, None, watched, (previous.bundle,))


def _challenged(model: str, champion: Served, challenger: Mapping[str, Any], key: str) -> Route:
    """The champion's part of the requests and the challenger's; both are measured."""
    served = _served(model, CHALLENGER, challenger)
    watch = Watch(
        CHALLENGER,
        served.version,
        challenger["rev"],
        challenger["limits"],
        challenger.get("until"),
        bool(challenger.get("promotes")),
    )
    drawn, both = fraction(model, key) < challenger["share"], (champion.bundle, served.bundle)
    if drawn and not challenger["shadow"]:
        return Route(served, champion, None, watch, both)
    return Route(champion, None, served if drawn else None, watch, both)


def _served(model: str, alias: str, item: Mapping[str, Any]) -> Served:
    if not str(item.get("bundle", "")).startswith(f"bundles/{model}/"):
        raise BadBundle(f"The {alias} of {model!r} has no bundle.", remedy="Promote a version.", model=model)
    return Served(alias, int(item["version"]), item["bundle"], item.get("monitor") or {})
