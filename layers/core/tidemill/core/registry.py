"""Pointers and state: one DynamoDB table, conditional writes only, and a journal in S3 to rebuild it from.

Keys: `MODELS | m`, `MODEL#m | META, RUN#r, VERSION#000001, FINGERPRINT#f, MOVE#000001, ALIAS#champion`,
`KEYS | hash`, `KEY#hash | META`. Every transition names the states it may come from. A conditional write that was
refused is read back before anyone else is believed to have won: the client retries lost answers and can lose its
own win.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from typing import Any

from tidemill.core.clock import now, seconds
from tidemill.core.errors import Conflict, NotFound, UnknownModel
from tidemill.core.storage import Storage
from tidemill.core.table import Item, Table, without_keys

__all__ = ["LIVE", "TERMINAL", "Item", "Registry"]

LIVE = ("RECEIVED", "PREPARED", "SUBMITTED", "RUNNING")  # in the order a run goes through them
TERMINAL = frozenset({"READY", "REJECTED", "FAILED", "SUPERSEDED", "CANCELLED"})
CHAMPION = "champion"
LEASE_S = 90  # a job that has not reported for this long may be replaced by another
WRITERS = 50  # tries against other writers before giving up; each waits a little longer
NEW = "attribute_not_exists(pk)"


class Registry:
    """The registry of one deployment. `table` is its name; `journal` the artefacts bucket (None: no journal)."""

    def __init__(self, table: str, journal: Storage | None = None, resource: Any = None) -> None:
        self.table = Table(table, resource)
        self.journal = journal

    # ------------------------------------------------------------------ reading
    def models(self) -> list[Item]:
        """Every model with its champion and its newest run, by name."""
        return [self.model(item["sk"]) for item in self.table.query("MODELS")]

    def model(self, model: str) -> Item:
        """One model: created, task, target, versions (count), champion (or None), last_run; raises UnknownModel."""
        meta = self.table.get(f"MODEL#{model}", "META")
        if meta is None:
            remedy = "Upload data for it, or look at the list of models."
            raise UnknownModel(f"There is no model {model!r}.", remedy=remedy, model=model)
        runs = self.runs(model)
        last = runs[0] if runs else None
        return {**meta, "versions": meta.get("head", 0), "champion": self.alias(model), "last_run": last}

    def runs(self, model: str) -> list[Item]:
        """A model's runs, the newest upload first."""
        runs = [without_keys(item) for item in self.table.query(f"MODEL#{model}", "RUN#")]
        return sorted(runs, key=lambda run: str(run["order"]), reverse=True)

    def run(self, model: str, run: str) -> Item:
        """One run; raises NotFound (UNKNOWN_RUN)."""
        item = self.table.get(f"MODEL#{model}", f"RUN#{run}")
        if item is None:
            text = f"Model {model!r} has no run {run!r}."
            raise NotFound(text, code="UNKNOWN_RUN", remedy="List the model's runs.", model=model)
        return item

    def versions(self, model: str) -> list[Item]:
        """A model's versions, the newest first."""
        return [without_keys(item) for item in self.table.query(f"MODEL#{model}", "VERSION#")[::-1]]

    def version(self, model: str, version: int) -> Item:
        """One version; raises NotFound (UNKNOWN_VERSION)."""
        item = self.table.get(f"MODEL#{model}", f"VERSION#{version:06d}")
        if item is None:
            text = f"Model {model!r} has no version {version}."
            raise NotFound(text, code="UNKNOWN_VERSION", remedy="List the model's versions.", model=model)
        return item

    def alias(self, model: str) -> Item | None:
        """What the alias `champion` points at, or None."""
        return self.table.get(f"MODEL#{model}", f"ALIAS#{CHAMPION}")

    def moves(self, model: str) -> list[Item]:
        """Every move of the alias, the newest first: version, by, why, at."""
        return [without_keys(item) for item in self.table.query(f"MODEL#{model}", "MOVE#")[::-1]]

    def version_of(self, model: str, fingerprint: str) -> int | None:
        """The version made from this data, recipe and code, if there is one."""
        item = self.table.get(f"MODEL#{model}", f"FINGERPRINT#{fingerprint}")
        return None if item is None else int(item["version"])

    # ------------------------------------------------------------------ runs
    def receive(self, model: str, run: str, order: str, upload: Item) -> Item:
        """Record that an upload arrived; the same upload received again gives the run as it is now."""
        self._ensure_model(model)
        item = {"run": run, "model": model, "state": "RECEIVED", "order": order, "upload": upload, "epoch": 0}
        self.table.put_new({"pk": f"MODEL#{model}", "sk": f"RUN#{run}", **item, "times": {"received": now()}})
        return self._journal_run(self.run(model, run))

    def advance(self, model: str, run: str, state: str, *, allowed: Iterable[str], **fields: Any) -> Item:
        """Move a run to a state from one of the allowed ones, setting fields; raises Conflict with the state it is in.

        Doing it again is harmless: a run that is already in the state, with the same fields, counts as moved.
        """
        names = {"#state": "state", "#times": "times", "#when": "ended" if state in TERMINAL else state.lower()}
        values: Item = {":state": state, ":at": now()}
        sets = ["#state = :state", "#times.#when = :at"]
        for index, (name, value) in enumerate(fields.items()):
            names[f"#f{index}"], values[f":f{index}"] = name, value
            sets.append(f"#f{index} = :f{index}")
        prior = {f":p{index}": name for index, name in enumerate(allowed)}
        moved = self.table.update(
            f"MODEL#{model}",
            f"RUN#{run}",
            "SET " + ", ".join(sets),
            {**values, **prior},
            condition=f"#state IN ({', '.join(prior)})",
            names=names,
        )
        current = self.run(model, run) if moved is None else moved
        if current["state"] == state and all(current.get(name) == value for name, value in fields.items()):
            return self._journal_run(current)
        text = f"Run {run} is {current['state']}; it cannot become {state}."
        raise Conflict(text, remedy="Look at the run.", state=current["state"])

    def name_job(self, model: str, run: str, job: str) -> None:
        """Remember the job of a run that a job has already taken on, unless one is remembered."""
        condition = "attribute_exists(pk) AND attribute_not_exists(job)"
        self.table.update(f"MODEL#{model}", f"RUN#{run}", "SET job = :job", {":job": job}, condition=condition)

    def lease(self, model: str, run: str, holder: str, attempt: str, **fields: Any) -> Item | None:
        """Take a run for a job: a higher epoch each time. None when another job holds it or it has ended.

        `holder` is the job, `attempt` the process: a job's next attempt takes over at once, another job only after
        the lease ran out. The epoch fences everything the former holder might still do.
        """
        values = {
            **{":running": "RUNNING", ":prepared": "PREPARED", ":submitted": "SUBMITTED", ":holder": holder},
            **{":attempt": attempt, ":until": seconds() + LEASE_S, ":now": seconds(), ":one": 1, ":at": now()},
            **{f":{name}": value for name, value in fields.items()},
        }
        taken = self.table.update(
            f"MODEL#{model}",
            f"RUN#{run}",
            "SET #state = :running, holder = :holder, attempt = :attempt, lease_until = :until, epoch = epoch + :one, "
            "#times.running = :at" + "".join(f", {name} = :{name}" for name in fields),
            values,
            condition="#state IN (:prepared, :submitted, :running) AND "
            "(attribute_not_exists(holder) OR holder = :holder OR lease_until < :now)",
            names={"#state": "state", "#times": "times"},
        )
        if taken is None:
            current = self.run(model, run)
            taken = current if current.get("attempt") == attempt and current["state"] == "RUNNING" else None
        return None if taken is None else self._journal_run(taken)

    def report(self, model: str, run: str, epoch: int, progress: Item) -> bool:
        """Renew the lease and tell the progress; False when the run has another holder or has ended."""
        values = {":until": seconds() + LEASE_S, ":progress": {**progress, "at": now()}}
        told = self.table.update(
            f"MODEL#{model}",
            f"RUN#{run}",
            "SET lease_until = :until, progress = :progress",
            {**values, ":epoch": epoch, ":running": "RUNNING"},
            condition="epoch = :epoch AND #state = :running",
            names={"#state": "state"},
        )
        return told is not None

    # ------------------------------------------------------------------ versions
    def register(self, model: str, run: str, epoch: int, fingerprint: str, fields: Item) -> int:
        """Give a finished bundle its version number: one transaction, fenced by the lease's epoch.

        Writes the version, its fingerprint, the model's head and the run's READY together or not at all. Returns the
        number; the number of the existing version when data, recipe and code already made one. Raises Conflict when
        another job took the run over.
        """
        for attempt in range(WRITERS):
            head = int((self.table.get(f"MODEL#{model}", "META") or {}).get("head", 0))
            self.table.transact(*_registration(model, run, epoch, fingerprint, head + 1, fields))
            settled = self._settled(model, run, epoch, fingerprint)
            if settled is not None:
                return settled
            time.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - spreads writers, hides nothing
        raise Conflict(f"Run {run} could not be registered: too many writers.", remedy="Send the event again.")

    def adopt(self, model: str, run: str, version: int) -> Item:
        """End a run with a version that exists already: the same data, recipe and code made it."""
        return self.advance(model, run, "READY", allowed=LIVE, version=version, reused=True)

    def decide(self, model: str, run: str, version: int, decision: Item) -> None:
        """Write what the gate said of a run beside the run and beside its version."""
        for key in (f"RUN#{run}", f"VERSION#{version:06d}"):
            set_it = "SET decision = :decision"
            self.table.update(f"MODEL#{model}", key, set_it, {":decision": decision}, condition="attribute_exists(pk)")
        self._journal_run(self.run(model, run))
        self._journal_version(self.version(model, version))

    def _settled(self, model: str, run: str, epoch: int, fingerprint: str) -> int | None:
        """The version a run ended with, after reading back; None: nothing is decided yet; Conflict: fenced out."""
        current = self.run(model, run)
        if current["state"] == "READY":
            self._journal_version(self.version(model, int(current["version"])))
            self._journal_run(current)
            return int(current["version"])
        if current["state"] != "RUNNING" or current["epoch"] != epoch:
            raise Conflict(f"Run {run} is no longer this job's: {current['state']}.", remedy="Another job has it.")
        existing = self.version_of(model, fingerprint)
        if existing is not None:
            self.adopt(model, run, existing)
        return existing

    # ------------------------------------------------------------------ the alias
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
            **({"monitor": target["monitor"]} if "monitor" in target else {}),
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

    # ------------------------------------------------------------------ keys
    def key(self, digest: str) -> Item | None:
        """The API key with this SHA-256, or None."""
        return self.table.get(f"KEY#{digest}", "META")

    def keys(self) -> list[Item]:
        """Every API key, revoked ones too; nothing in them can be used to call."""
        found = [self.key(entry["sk"]) for entry in self.table.query("KEYS")]
        return [item for item in found if item is not None]

    def put_key(self, digest: str, item: Item) -> None:
        """Store a key's hash with its id, name, role and times."""
        self.table.put({**item, "pk": f"KEY#{digest}", "sk": "META"})
        self.table.put({"pk": "KEYS", "sk": digest})
        self._journal(f"keys/{digest}.json", {**item, "digest": digest})

    def revoke_key(self, key_id: str) -> Item:
        """Revoke a key by its id; raises NotFound (UNKNOWN_KEY)."""
        for entry in self.table.query("KEYS"):
            item = self.key(entry["sk"])
            if item is not None and item["id"] == key_id:
                revoked = {**item, "revoked": True}
                self.put_key(entry["sk"], revoked)
                return revoked
        raise NotFound(f"There is no key {key_id!r}.", code="UNKNOWN_KEY", remedy="List the keys.")

    # ------------------------------------------------------------------ the journal, and rebuilding from it
    def restore(self, kind: str, value: Item) -> None:
        """Put one journalled item back: kind is run, version, alias or key. For rebuilding a lost table."""
        if kind == "key":
            return self.put_key(value["digest"], {name: item for name, item in value.items() if name != "digest"})
        model, pk = value["model"], f"MODEL#{value['model']}"
        self._ensure_model(model)
        if kind == "run":
            self.table.put({"pk": pk, "sk": f"RUN#{value['run']}", **value})
        elif kind == "version":
            self._restore_version(model, value)
        elif kind == "alias":
            self.table.put({"pk": pk, "sk": f"MOVE#{value['rev']:06d}", **value})
            current = self.alias(model)
            if current is None or current["rev"] < value["rev"]:
                self.table.put({"pk": pk, "sk": f"ALIAS#{CHAMPION}", **value})
        return None

    def _restore_version(self, model: str, value: Item) -> None:
        pk, number = f"MODEL#{model}", int(value["version"])
        self.table.put({"pk": pk, "sk": f"VERSION#{number:06d}", **value})
        self.table.put({"pk": pk, "sk": f"FINGERPRINT#{value['fingerprint']}", "version": number})
        values = {":number": number, ":task": value.get("task", ""), ":target": value.get("target", "")}
        set_it = "SET head = :number, task = :task, target = :target"
        self.table.update(pk, "META", set_it, values, condition="head < :number")

    def _journal(self, name: str, value: Item) -> None:
        if self.journal is not None:
            self.journal.write_json(f"registry/{name}", value)

    def _journal_run(self, run: Item) -> Item:
        kept = {name: value for name, value in run.items() if name not in ("progress", "lease_until")}
        self._journal(f"models/{run['model']}/runs/{run['run']}.json", kept)
        return run

    def _journal_version(self, version: Item) -> None:
        self._journal(f"models/{version['model']}/versions/{version['version']:06d}.json", version)

    def _journal_alias(self, alias: Item) -> None:
        self._journal(f"models/{alias['model']}/aliases/{alias['rev']:06d}.json", alias)

    def _ensure_model(self, model: str) -> None:
        set_it = "SET head = if_not_exists(head, :zero), created = if_not_exists(created, :at), model = :model"
        self.table.update(f"MODEL#{model}", "META", set_it, {":zero": 0, ":at": now(), ":model": model})
        self.table.put({"pk": "MODELS", "sk": model})


def _registration(
    model: str, run: str, epoch: int, fingerprint: str, number: int, fields: Item
) -> list[dict[str, Item]]:
    """The four writes that make a version: itself, its fingerprint, the model's head, the run's end."""
    pk = f"MODEL#{model}"
    version = {"version": number, "model": model, "run": run, "fingerprint": fingerprint, "created": now(), **fields}
    by_fingerprint = {"pk": pk, "sk": f"FINGERPRINT#{fingerprint}", "version": number}
    head = {
        "Key": {"pk": pk, "sk": "META"},
        "UpdateExpression": "SET head = :number, task = :task, target = :target",
        "ConditionExpression": "head = :before",
        "ExpressionAttributeValues": {
            **{":number": number, ":before": number - 1},
            **{":task": fields.get("task", ""), ":target": fields.get("target", "")},
        },
    }
    end = {
        "Key": {"pk": pk, "sk": f"RUN#{run}"},
        "UpdateExpression": "SET #state = :ready, version = :number, #times.ended = :at",
        "ConditionExpression": "#state = :running AND epoch = :epoch",
        "ExpressionAttributeNames": {"#state": "state", "#times": "times"},
        "ExpressionAttributeValues": {
            **{":ready": "READY", ":running": "RUNNING", ":number": number, ":epoch": epoch, ":at": now()}
        },
    }
    return [
        {"Put": {"Item": {"pk": pk, "sk": f"VERSION#{number:06d}", **version}, "ConditionExpression": NEW}},
        {"Put": {"Item": by_fingerprint, "ConditionExpression": NEW}},
        {"Update": head},
        {"Update": end},
    ]
