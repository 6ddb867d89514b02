"""Which version serves, and which one challenges it: the alias item of a model, and who may move it when.

One item holds both aliases, `ALIAS#champion` with the challenger within it: the hot path reads them in one call and
never sees half a move. Every change is one transaction, guarded by the revision it was decided on, and leaves a
`MOVE#000001` with the item as it was afterwards.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from tidemill.core.clock import now, seconds
from tidemill.core.errors import Conflict, NoChampion
from tidemill.core.history import CHALLENGER, CHAMPION
from tidemill.core.ledger import NEW, WRITERS, Ledger
from tidemill.core.spec import Canary
from tidemill.core.table import Item

HEALTH = "health"  # who moved an alias back because a limit was broken
CARRIED = ("version", "run", "bundle", "monitor")  # of a version's item: what answering a request needs


class Aliases(Ledger):
    """Moves of the aliases champion and challenger."""

    # ------------------------------------------------------------------ champion
    def promote_by_gate(
        self, model: str, version: int, order: str, why: str, *, seen_rev: int | None, by: str = "gate"
    ) -> tuple[Item | None, bool]:
        """Move the alias for an upload; returns (alias, whether it now stands where asked).

        Nothing moves when the alias is no longer the one the gate looked at (`seen_rev`, None: there was none), when
        a person pinned it, or when a later upload moved it.
        """
        alias = self.alias(model)
        if alias is not None and alias["version"] == version and alias["order"] == order:
            self._journal_alias(alias)
            return alias, True
        stale = (None if alias is None else alias["rev"]) != seen_rev
        if stale or (alias is not None and (alias["pinned"] or alias["order"] >= order)):
            return alias, False
        if self._move(model, alias, version, order=order, pinned=False, by=by, why=why):
            return self._moved(model), True
        return self.alias(model), False

    def promote(self, model: str, version: int, *, by: str, why: str, pin: bool = True) -> Item:
        """Move the alias because a person says so. Pinned, no upload moves it until a person unpins it."""
        for _ in range(WRITERS):
            alias = self.alias(model)
            order = max(str(self.version(model, version).get("order", "")), str(alias["order"]) if alias else "")
            if self._move(model, alias, version, order=order, pinned=pin, by=by, why=why):
                return self._moved(model)
        raise _too_many(model)

    def rollback(self, model: str, *, by: str, why: str, leaving: int | None = None) -> Item:
        """Move the alias back to the version that served before, pinned; raises Conflict where there is none.

        `leaving` names the version to leave. With it the call may be repeated after a lost answer: a rollback that
        happened already is not undone by the second.
        """
        alias = self.alias(model)
        if alias is not None and leaving is not None and alias["version"] != leaving:
            if alias.get("previous") == leaving and alias["pinned"]:
                return self._moved(model)
            text = f"Version {alias['version']} serves, not {leaving}."
            raise Conflict(text, code="CHAMPION_CHANGED", remedy="Look which version serves, then decide again.")
        if alias is None or alias.get("previous") is None:
            self.model(model)
            text = f"Model {model!r} has no earlier version to return to."
            raise Conflict(text, code="NOTHING_TO_ROLL_BACK", remedy="Promote a version by its number.")
        why = why or f"rollback from version {alias['version']}"
        return self.promote(model, int(alias["previous"]), by=by, why=why)

    def take_back(self, model: str, rev: int, why: str) -> Item | None:
        """Move the alias back from a watched champion whose limits broke; None when that watch is over.

        `rev` names the watch. No earlier version is left to roll back to: it would be the broken one. The alias keeps
        the order of the upload that broke, so that only a later upload can move it by itself.
        """
        for _ in range(WRITERS):
            alias = self.alias(model) or {}
            if (alias.get("left") or {}).get("rev") == rev:
                return self._moved(model)
            watch = alias.get("watch") or {}
            if watch.get("rev") != rev or alias["pinned"]:
                return None
            left = {"left": {"version": alias["version"], "rev": rev}, "previous": None, "watch": None}
            back = int(watch["instead"]["version"])
            if self._move(model, alias, back, order=alias["order"], pinned=False, by=HEALTH, why=why, **left):
                return self._moved(model)
        raise _too_many(model)

    # ------------------------------------------------------------------ challenger
    def challenge_by_gate(
        self, model: str, version: int, order: str, why: str, *, seen_rev: int | None, run: str
    ) -> tuple[Item | None, bool]:
        """Let a new version answer the share of requests that its run's specification names, before it is champion.

        `run` is told how it ended. Returns (alias, whether the challenger now stands where asked).
        """
        alias = self.alias(model)
        standing = (alias or {}).get("challenger") or {}
        if alias is not None and standing.get("version") == version and standing["order"] == order:
            self._journal_alias(alias)
            return alias, True
        if alias is None or alias["rev"] != seen_rev or alias["pinned"] or max(alias["order"], _order(alias)) >= order:
            return alias, False
        limits = self.limits(model, run)
        told = {"share": limits.share, "shadow": False, "by": "gate", "why": why, "order": order, "promotes": True}
        told["decides"] = run
        if self._challenge(alias, version, until=seconds() + 60 * limits.minutes, limits=limits, **told):
            return self._moved(model), True
        return self.alias(model), False

    def challenge(self, model: str, version: int, *, share: float, shadow: bool, by: str, why: str) -> Item:
        """Let a version answer a share of the requests (shadow: score it unseen) until a person or a limit ends it.

        Repeating the call changes nothing.
        """
        for _ in range(WRITERS):
            alias = self.alias(model)
            if alias is None:
                self.model(model)
                raise NoChampion(f"Model {model!r} has no champion to challenge.", remedy="Promote a version first.")
            if alias["version"] == version:
                text = f"Version {version} is the champion of {model!r}."
                raise Conflict(text, code="IS_CHAMPION", remedy="Name another version.")
            target = self.version(model, version)
            order = max(str(target.get("order", "")), str(alias["order"]))
            told = {"share": share, "shadow": shadow, "by": by, "why": why, "order": order, "promotes": False}
            standing = alias.get("challenger") or {}
            if standing.get("live") and standing["version"] == version and told.items() <= standing.items():
                return self._moved(model)  # asked again after a lost answer
            if self._challenge(alias, version, until=None, limits=self.limits(model, target["run"]), **told):
                return self._moved(model)
        raise _too_many(model)

    def stop_challenger(self, model: str, *, by: str, why: str, rev: int | None = None) -> Item:
        """Let the champion answer all requests again; `rev` stops that challenger only. Stopping twice is stopping."""
        for _ in range(WRITERS):
            alias = self.alias(model)
            challenger = (alias or {}).get("challenger")
            if alias is None or challenger is None:
                self.model(model)
                text = f"Model {model!r} has no challenger."
                raise Conflict(text, code="NO_CHALLENGER", remedy="Start one: tidemill canary MODEL VERSION.")
            if not challenger["live"] or rev not in (None, challenger["rev"]):
                return self._moved(model)
            item = {**alias, "rev": alias["rev"] + 1, "moved": CHALLENGER}
            if self._write(alias, {**item, "challenger": _ended(challenger, by, why)}):
                return self._moved(model)
        raise _too_many(model)

    def limits(self, model: str, run: str) -> Canary:
        """What the specification of a run says about watching its version."""
        item = self.table.get(f"MODEL#{model}", f"RUN#{run}") or {}
        return Canary(**(item.get("spec") or {}).get("canary", {}))

    # ------------------------------------------------------------------ writing
    def _challenge(self, alias: Item, version: int, *, limits: Canary, **fields: Any) -> bool:
        rev, target = int(alias["rev"]) + 1, self.version(alias["model"], version)
        made = {**_pointed(target), **fields, "limits": dataclasses.asdict(limits), "rev": rev, "live": True}
        return self._write(alias, {**alias, "rev": rev, "moved": CHALLENGER, "challenger": {**made, "at": now()}})

    def _move(
        self, model: str, seen: Item | None, version: int, *, order: str, pinned: bool, by: str, why: str, **more: Any
    ) -> bool:
        target, rev = self.version(model, version), 1 if seen is None else int(seen["rev"]) + 1
        stays = seen is not None and seen["version"] == version
        item = {
            **{"alias": CHAMPION, "moved": CHAMPION, "model": model, **_pointed(target)},
            **{"rev": rev, "order": order, "pinned": pinned, "by": by, "why": why, "at": now()},
            # moving to where it stands must not forget what was before
            "previous": None if seen is None else seen.get("previous") if stays else seen["version"],
        }
        if seen is not None:
            item["watch"] = seen.get("watch") if stays else self._watch(seen, target, rev)
            item["challenger"] = _outrun(seen.get("challenger"), item)
        if pinned:
            item["watch"] = None  # what a person wants to stay is not taken back by a machine
        return self._write(seen, {name: value for name, value in {**item, **more}.items() if _told(name, value)})

    def _watch(self, seen: Item, target: Item, rev: int) -> Item | None:
        """What is watched of a new champion, until when, and what answers instead where it fails."""
        limits = self.limits(seen["model"], target["run"])
        if not limits.minutes:
            return None
        until = seconds() + 60 * limits.minutes
        return {"rev": rev, "until": until, "limits": dataclasses.asdict(limits), "instead": _pointed(seen)}

    def _write(self, seen: Item | None, item: Item) -> bool:
        """Write the item and its move; True when they stand, read back where a condition refused."""
        pk, rev = f"MODEL#{item['model']}", item["rev"]
        if seen is not None:
            self._journal_alias(seen)  # whoever wrote it may have ended before that
        guard: Item = {"ConditionExpression": NEW}
        if seen is not None:
            guard = {"ConditionExpression": "rev = :rev", "ExpressionAttributeValues": {":rev": rev - 1}}
        version_key = {"pk": pk, "sk": f"VERSION#{item['version']:06d}"}
        done = self.table.transact(
            {"Put": {"Item": {"pk": pk, "sk": f"ALIAS#{CHAMPION}", **item}, **guard}},
            {"Put": {"Item": {"pk": pk, "sk": f"MOVE#{rev:06d}", **item}, "ConditionExpression": NEW}},
            {"ConditionCheck": {"Key": version_key, "ConditionExpression": "attribute_exists(pk)"}},
        )
        if done:
            return True
        written = self.table.get(pk, f"MOVE#{rev:06d}")
        return written is not None and all(written.get(name) == value for name, value in item.items())

    def _moved(self, model: str) -> Item:
        alias = self.alias(model)
        if alias is None:
            raise Conflict(f"The alias of {model} disappeared.", remedy="Try again.")
        self._journal_alias(alias)
        return alias

    def _journal_alias(self, alias: Item) -> None:
        self._journal(f"models/{alias['model']}/aliases/{alias['rev']:06d}.json", alias)


def live_challenger(alias: Item | None) -> Item | None:
    """The challenger of an alias item, if it answers or scores requests now."""
    challenger: Item | None = (alias or {}).get("challenger")
    return challenger if challenger and challenger["live"] else None


def _told(name: str, value: Any) -> bool:
    """None is written only where readers have always found it."""
    return value is not None or name == "previous"


def _pointed(item: Item) -> Item:
    return {name: item[name] for name in CARRIED if name in item}


def _order(alias: Item) -> str:
    challenger = live_challenger(alias)
    return str(challenger["order"]) if challenger else ""


def _outrun(challenger: Item | None, champion: Item) -> Item | None:
    """A challenger beside a new champion: over when it became the champion itself, or a later upload did."""
    if not challenger or not challenger["live"]:
        return challenger
    if challenger["version"] != champion["version"] and challenger["order"] >= champion["order"]:
        return challenger
    return _ended(challenger, champion["by"], f"Version {champion['version']} became champion.")


def _ended(challenger: Item, by: str, why: str) -> Item:
    return {**challenger, "live": False, "by": by, "why": why, "at": now()}


def _too_many(model: str) -> Conflict:
    return Conflict(f"The alias of {model} could not be moved: too many writers.", remedy="Try again.")
