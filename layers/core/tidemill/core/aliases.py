"""Which version serves: the alias `champion`, its moves, and who may move it when."""

from __future__ import annotations

from tidemill.core.clock import now
from tidemill.core.errors import Conflict
from tidemill.core.ledger import CHAMPION, NEW, WRITERS, Ledger
from tidemill.core.table import Item


class Aliases(Ledger):
    """Moves of the alias. Every move is one transaction, guarded by the revision it was decided on."""

    def promote_by_gate(
        self, model: str, version: int, order: str, why: str, *, seen_rev: int | None
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
        if self._move(model, alias, version, order=order, pinned=False, by="gate", why=why):
            return self._moved(model), True
        return self.alias(model), False

    def promote(self, model: str, version: int, *, by: str, why: str, pin: bool = True) -> Item:
        """Move the alias because a person says so. Pinned, no upload moves it until a person unpins it."""
        for _ in range(WRITERS):
            alias = self.alias(model)
            order = max(str(self.version(model, version).get("order", "")), str(alias["order"]) if alias else "")
            if self._move(model, alias, version, order=order, pinned=pin, by=by, why=why):
                return self._moved(model)
        raise Conflict(f"The alias of {model} could not be moved: too many writers.", remedy="Try again.")

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

    def _move(
        self, model: str, seen: Item | None, version: int, *, order: str, pinned: bool, by: str, why: str
    ) -> bool:
        target, pk = self.version(model, version), f"MODEL#{model}"
        rev = 1 if seen is None else int(seen["rev"]) + 1
        previous = None if seen is None else seen["version"]
        if seen is not None and previous == version:
            previous = seen.get("previous")  # moving to where it stands must not forget what was before
        move = {
            **{"alias": CHAMPION, "model": model, "version": version, "run": target["run"], "bundle": target["bundle"]},
            **{"rev": rev, "order": order, "pinned": pinned, "by": by, "why": why, "at": now(), "previous": previous},
        }
        guard: Item = {"ConditionExpression": NEW}
        if seen is not None:
            guard = {"ConditionExpression": "rev = :rev", "ExpressionAttributeValues": {":rev": rev - 1}}
        version_key = {"pk": pk, "sk": f"VERSION#{version:06d}"}
        done = self.table.transact(
            {"Put": {"Item": {"pk": pk, "sk": f"ALIAS#{CHAMPION}", **move}, **guard}},
            {"Put": {"Item": {"pk": pk, "sk": f"MOVE#{rev:06d}", **move}, "ConditionExpression": NEW}},
            {"ConditionCheck": {"Key": version_key, "ConditionExpression": "attribute_exists(pk)"}},
        )
        if done:
            return True
        written = self.table.get(pk, f"MOVE#{rev:06d}")
        return written is not None and all(written.get(name) == value for name, value in move.items())

    def _moved(self, model: str) -> Item:
        alias = self.alias(model)
        if alias is None:
            raise Conflict(f"The alias of {model} disappeared.", remedy="Try again.")
        self._journal_alias(alias)
        return alias

    def _journal_alias(self, alias: Item) -> None:
        self._journal(f"models/{alias['model']}/aliases/{alias['rev']:06d}.json", alias)
