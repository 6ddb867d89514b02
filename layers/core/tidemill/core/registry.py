"""Pointers and state: one DynamoDB table, conditional writes only, and a journal in S3 to rebuild it from.

Keys: `MODELS | m`, `MODEL#m | META, RUN#r, VERSION#000001, FINGERPRINT#f, MOVE#000001, ALIAS#champion`,
`HEALTH#m | challenger#000007#all` (core/health.py), `KEYS | hash`, `KEY#hash | META`. Every transition names the
states it may come from. A conditional write that was refused is read back before anyone else is believed to have won:
the client retries lost answers and can lose its own win.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from typing import Any

from tidemill.core.aliases import Aliases
from tidemill.core.clock import now, seconds
from tidemill.core.errors import Conflict, NotFound
from tidemill.core.ledger import NEW, WRITERS
from tidemill.core.table import Item

__all__ = ["LIVE", "TERMINAL", "Item", "Registry"]

LIVE = ("RECEIVED", "PREPARED", "SUBMITTED", "RUNNING")  # in the order a run goes through them
TERMINAL = frozenset({"READY", "REJECTED", "FAILED", "SUPERSEDED", "CANCELLED"})
LEASE_S = 90  # a job that has not reported for this long may be replaced by another


class Registry(Aliases):
    """The registry of one deployment: runs, versions and keys, over the aliases and all that is read."""

    # ------------------------------------------------------------------ runs
    def receive(self, model: str, run: str, order: str, upload: Item) -> Item:
        """Record that an upload arrived; the same upload received again gives the run as it is now."""
        at = now()
        self._ensure_model(model, at)
        item = {"run": run, "model": model, "state": "RECEIVED", "order": order, "upload": upload, "epoch": 0}
        self.table.put_new({"pk": f"MODEL#{model}", "sk": f"RUN#{run}", **item, "times": {"received": at}})
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

    def name_job(self, model: str, run: str, job: str, estimate: Item) -> None:
        """Remember the job of a run that a job has already taken on, and its cost, unless one is remembered."""
        set_it, values = "SET job = :job, estimate = :estimate", {":job": job, ":estimate": estimate}
        condition = "attribute_exists(pk) AND attribute_not_exists(job)"
        self.table.update(f"MODEL#{model}", f"RUN#{run}", set_it, values, condition=condition)

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

    def keep_decision(self, run: Item) -> None:
        """Write what was decided of a run to its version and the journal: who decided may have ended before that."""
        model, version = run["model"], int(run["version"])
        set_it, values = "SET decision = :decision", {":decision": run["decision"]}
        open_still = "attribute_exists(pk) AND attribute_not_exists(decision)"
        self.table.update(f"MODEL#{model}", f"VERSION#{version:06d}", set_it, values, condition=open_still)
        self._journal_run(run)
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

    # ------------------------------------------------------------------ the journal, which core/rebuild.py reads
    def _journal_run(self, run: Item) -> Item:
        model, name = run["model"], run["run"]
        self._journal_last(f"models/{model}/runs/{name}.json", run, lambda: self.run(model, name))
        return run

    def _journal_version(self, version: Item) -> None:
        model, number = version["model"], int(version["version"])
        name = f"models/{model}/versions/{number:06d}.json"
        self._journal_last(name, version, lambda: self.version(model, number))

    def _ensure_model(self, model: str, at: str) -> None:
        set_it = "SET head = if_not_exists(head, :zero), created = if_not_exists(created, :at), model = :model"
        self.table.update(f"MODEL#{model}", "META", set_it, {":zero": 0, ":at": at, ":model": model})
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
