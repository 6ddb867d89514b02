"""How a watched version's time in service ends: what Promote does when Predict tells of a broken limit or of time over.

The event only says where to look. What is decided stands on the counts in the table, so an event that comes twice,
late or from nowhere moves nothing that should stay.
"""

from __future__ import annotations

from typing import Any

from tidemill.core import health
from tidemill.core.aliases import HEALTH, live_challenger
from tidemill.core.clock import now, seconds
from tidemill.core.errors import Conflict
from tidemill.core.events import Bus
from tidemill.core.history import CHALLENGER, CHAMPION
from tidemill.core.registry import Item, Registry

EVENTS = ("HealthBroken", "CanaryEnded")
CANARY = "canary"  # who promoted a challenger that proved itself


def settle(event: str, detail: dict[str, Any], registry: Registry, bus: Bus) -> Item | None:
    """End a watch that is due; the alias as it is afterwards, None where nothing was to be done."""
    model, rev = str(detail["model"]), int(detail["rev"])
    if event == "CanaryEnded":
        return _passed(model, rev, registry, bus)
    window = str(detail.get("window", health.ALL))
    if detail["alias"] == CHALLENGER:
        return _stopped(model, rev, window, registry, bus)
    return _taken_back(model, rev, window, registry, bus)


def _taken_back(model: str, rev: int, window: str, registry: Registry, bus: Bus) -> Item | None:
    """A champion that broke a limit gives its place back to the version before it."""
    alias = registry.alias(model) or {}
    watch, left = alias.get("watch") or {}, alias.get("left") or {}
    if watch.get("rev") == rev:
        why = health.judge(_counts(model, CHAMPION, rev, window, registry), watch["limits"])
        moved = registry.take_back(model, rev, why) if why else None
    else:
        moved = alias if left.get("rev") == rev else None  # done before, perhaps without telling anybody
    if moved is None or (moved.get("left") or {}).get("rev") != rev:
        return None
    version = int(moved["left"]["version"])
    run = str(registry.version(model, version)["run"])
    registry.decide(model, run, version, _said(False, "ROLLED_BACK", moved["why"]))
    told = {"model": model, "alias": CHAMPION, "version": version, "to": moved["version"], "why": moved["why"]}
    bus.tell("ModelRolledBack", told)
    return moved


def _stopped(model: str, rev: int, window: str, registry: Registry, bus: Bus) -> Item | None:
    """A challenger that broke a limit is asked no more."""
    alias = registry.alias(model)
    challenger = (alias or {}).get("challenger") or {}
    if alias is None or challenger.get("rev") != rev:
        return None
    if challenger["live"]:
        why = health.judge(_counts(model, CHALLENGER, rev, window, registry), challenger["limits"])
        if why is None:
            return None
        alias = registry.stop_challenger(model, by=HEALTH, why=why, rev=rev)
        challenger = alias["challenger"]
    if challenger["rev"] != rev or challenger["by"] != HEALTH:
        return None
    _decide(registry, model, challenger, _said(False, "CANARY_BROKEN", challenger["why"]))
    told = {"model": model, "alias": CHALLENGER, "version": challenger["version"], "to": alias["version"]}
    bus.tell("ModelRolledBack", {**told, "why": challenger["why"]})
    return alias


def _passed(model: str, rev: int, registry: Registry, bus: Bus) -> Item | None:
    """A challenger that lasted its time becomes champion, unless a person pinned the present one."""
    for _ in range(5):
        alias = registry.alias(model)
        challenger = (alias or {}).get("challenger") or {}
        if alias is None or challenger.get("rev") != rev:
            return None
        if not live_challenger(alias):
            return _told_promoted(model, alias, registry, bus) if alias["by"] == CANARY else None
        if not _due(challenger, _counts(model, CHALLENGER, rev, health.ALL, registry)):
            return None
        if alias["pinned"]:
            return registry.stop_challenger(model, by=CANARY, why=f"{alias['by']} pinned the champion.", rev=rev)
        version, why = int(challenger["version"]), "Its time as challenger is over and no limit was broken."
        seen, order = alias["rev"], str(challenger["order"])
        moved, done = registry.promote_by_gate(model, version, order, why, seen_rev=seen, by=CANARY)
        if moved is not None and done:
            return _told_promoted(model, moved, registry, bus)
    raise Conflict(f"The alias of {model} kept changing.", remedy="The event comes again by itself.")


def _due(challenger: Item, counts: Item) -> bool:
    """Whether a challenger was asked for long enough and often enough, and nothing speaks against it."""
    limits, until = challenger["limits"], challenger.get("until")
    if not challenger.get("promotes") or until is None or seconds() < until:
        return False
    return int(counts.get("requests", 0)) >= limits["min_requests"] and health.judge(counts, limits) is None


def _told_promoted(model: str, alias: Item, registry: Registry, bus: Bus) -> Item:
    _decide(registry, model, alias["challenger"], _said(True, "CANARY_PASSED", alias["why"]))
    told = {"model": model, "run": alias["run"], "version": alias["version"], "code": "CANARY_PASSED"}
    bus.tell("ModelPromoted", {**told, "why": alias["why"]})
    return alias


def _counts(model: str, alias: str, rev: int, window: str, registry: Registry) -> Item:
    return registry.table.get(health.partition(model), health.key(alias, rev, window)) or {}


def _decide(registry: Registry, model: str, challenger: Item, decision: Item) -> None:
    """Write the end beside the run that wanted the challenger; one that a person wanted has no such run."""
    if "decides" in challenger:
        registry.decide(model, challenger["decides"], int(challenger["version"]), decision)


def _said(promoted: bool, code: str, message: str) -> Item:
    return {"promoted": promoted, "code": code, "message": message, "evidence": {}, "at": now()}
