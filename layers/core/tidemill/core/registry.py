"""Pointers and state: one DynamoDB table, conditional writes only, and a journal in S3 to rebuild it from.

Keys: `MODELS | m`, `MODEL#m | META, RUN#r, VERSION#000001, FINGERPRINT#f, MOVE#000001, ALIAS#champion`,
`KEY#hash | META`. Every transition names the states it may come from. A conditional write that was refused is read
back before anyone else is believed to have won: the client retries lost answers and can lose its own win.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

import boto3
from botocore.exceptions import ClientError

from tidemill.core.clock import now, seconds
from tidemill.core.errors import Conflict, NotFound, UnknownModel
from tidemill.core.storage import CONFIG, Storage

RANK = {
    "RECEIVED": 0,
    "PREPARED": 1,
    "SUBMITTED": 2,
    "RUNNING": 3,
    "READY": 4,
    "REJECTED": 4,
    "FAILED": 4,
    "SUPERSEDED": 4,
    "CANCELLED": 4,
}
TERMINAL = frozenset(state for state, rank in RANK.items() if rank == 4)
LIVE = tuple(state for state in RANK if state not in TERMINAL)
CHAMPION = "champion"
LEASE_S = 90  # a job that has not reported for this long may be replaced by another

Item = dict[str, Any]


class Registry:
    """The registry of one deployment. `table` is its name; `journal` the artefacts bucket (None: no journal)."""

    def __init__(self, table: str, journal: Storage | None = None, resource: Any = None) -> None:
        resource = resource if resource is not None else boto3.resource("dynamodb", config=CONFIG)
        self.table = resource.Table(table)
        self.client = self.table.meta.client
        self.journal = journal

    # ------------------------------------------------------------------ reading
    def models(self) -> list[Item]:
        """Every model with its champion and its newest run, by name."""
        return [self.model(item["sk"]) for item in self._query("MODELS", "")]

    def model(self, model: str) -> Item:
        """One model: created, task, target, versions (count), champion (or None), last_run; raises UnknownModel."""
        meta = self._get(f"MODEL#{model}", "META")
        if meta is None:
            raise UnknownModel(
                f"There is no model {model!r}.",
                remedy="Upload data for it, or look at the list of models.",
                model=model,
            )
        runs = self.runs(model)
        return {
            **meta,
            "versions": meta.get("head", 0),
            "champion": self.alias(model),
            "last_run": runs[0] if runs else None,
        }

    def runs(self, model: str) -> list[Item]:
        """A model's runs, the newest upload first."""
        return sorted(self._query(f"MODEL#{model}", "RUN#"), key=lambda run: str(run["order"]), reverse=True)

    def run(self, model: str, run: str) -> Item:
        """One run; raises NotFound (UNKNOWN_RUN)."""
        item = self._get(f"MODEL#{model}", f"RUN#{run}")
        if item is None:
            raise NotFound(
                f"Model {model!r} has no run {run!r}.", code="UNKNOWN_RUN", remedy="List the model's runs.", model=model
            )
        return item

    def versions(self, model: str) -> list[Item]:
        """A model's versions, the newest first."""
        return self._query(f"MODEL#{model}", "VERSION#")[::-1]

    def version(self, model: str, version: int) -> Item:
        """One version; raises NotFound (UNKNOWN_VERSION)."""
        item = self._get(f"MODEL#{model}", f"VERSION#{version:06d}")
        if item is None:
            raise NotFound(
                f"Model {model!r} has no version {version}.",
                code="UNKNOWN_VERSION",
                remedy="List the model's versions.",
                model=model,
            )
        return item

    def alias(self, model: str) -> Item | None:
        """What the alias `champion` points at, or None."""
        return self._get(f"MODEL#{model}", f"ALIAS#{CHAMPION}")

    def moves(self, model: str) -> list[Item]:
        """Every move of the alias, the newest first: version, by, why, at."""
        return self._query(f"MODEL#{model}", "MOVE#")[::-1]

    def version_of(self, model: str, fingerprint: str) -> int | None:
        """The version made from this data, recipe and code, if there is one."""
        item = self._get(f"MODEL#{model}", f"FINGERPRINT#{fingerprint}")
        return None if item is None else int(item["version"])

    # ------------------------------------------------------------------ runs
    def receive(self, model: str, run: str, order: str, upload: Item) -> Item:
        """Record that an upload arrived; the same upload received again gives the run as it is now."""
        self._ensure_model(model)
        item = {
            **{"pk": f"MODEL#{model}", "sk": f"RUN#{run}", "run": run, "model": model, "state": "RECEIVED"},
            **{"order": order, "upload": upload, "times": {"received": now()}, "epoch": 0},
        }
        try:
            self.table.put_item(Item=_stored(item), ConditionExpression="attribute_not_exists(pk)")
        except ClientError as error:
            _only_condition(error)
        return self._journal_run(self.run(model, run))

    def advance(self, model: str, run: str, state: str, *, allowed: Iterable[str], **fields: Any) -> Item:
        """Move a run to a state from one of the allowed ones, setting fields; raises Conflict with the state it is in.

        Doing it again is harmless: a run that is already in the state, with the same fields, counts as moved.
        """
        names = {"#state": "state", "#times": "times", "#when": state.lower() if state not in TERMINAL else "ended"}
        values: Item = {":state": state, ":at": now()}
        sets = ["#state = :state", "#times.#when = :at"]
        for index, (name, value) in enumerate(fields.items()):
            names[f"#f{index}"], values[f":f{index}"] = name, value
            sets.append(f"#f{index} = :f{index}")
        prior = {f":p{index}": name for index, name in enumerate(allowed)}
        try:
            answer = self.table.update_item(
                Key={"pk": f"MODEL#{model}", "sk": f"RUN#{run}"},
                UpdateExpression="SET " + ", ".join(sets),
                ConditionExpression=f"#state IN ({', '.join(prior)})",
                ExpressionAttributeNames=names,
                ExpressionAttributeValues=_stored({**values, **prior}),
                ReturnValues="ALL_NEW",
            )
            return self._journal_run(_plain(answer["Attributes"]))
        except ClientError as error:
            _only_condition(error)
        current = self.run(model, run)
        if current["state"] == state and all(current.get(name) == value for name, value in fields.items()):
            return self._journal_run(current)
        raise Conflict(
            f"Run {run} is {current['state']}; it cannot become {state}.",
            remedy="Look at the run.",
            state=current["state"],
        )

    def name_job(self, model: str, run: str, job: str) -> None:
        """Remember the job of a run that a job has already taken on, unless one is remembered."""
        try:
            self.table.update_item(
                Key={"pk": f"MODEL#{model}", "sk": f"RUN#{run}"},
                UpdateExpression="SET job = :job",
                ConditionExpression="attribute_exists(pk) AND attribute_not_exists(job)",
                ExpressionAttributeValues={":job": job},
            )
        except ClientError as error:
            _only_condition(error)

    def lease(self, model: str, run: str, holder: str, attempt: str, **fields: Any) -> Item | None:
        """Take a run for a job: a higher epoch each time. None when another job holds it or it has ended.

        `holder` is the job, `attempt` the process: a job's next attempt takes over at once, another job only after
        the lease ran out. The epoch fences everything the former holder might still do.
        """
        extra = "".join(f", {name} = :{name}" for name in fields)
        try:
            answer = self.table.update_item(
                Key={"pk": f"MODEL#{model}", "sk": f"RUN#{run}"},
                UpdateExpression="SET #state = :running, holder = :holder, attempt = :attempt, lease_until = :until, "
                f"epoch = epoch + :one, #times.running = :at{extra}",
                ConditionExpression="#state IN (:prepared, :submitted, :running) AND "
                "(attribute_not_exists(holder) OR holder = :holder OR lease_until < :now)",
                ExpressionAttributeNames={"#state": "state", "#times": "times"},
                ExpressionAttributeValues={
                    **{":running": "RUNNING", ":prepared": "PREPARED", ":submitted": "SUBMITTED", ":holder": holder},
                    **{":attempt": attempt, ":until": seconds() + LEASE_S, ":now": seconds(), ":one": 1, ":at": now()},
                    **{f":{name}": value for name, value in fields.items()},
                },
                ReturnValues="ALL_NEW",
            )
            return self._journal_run(_plain(answer["Attributes"]))
        except ClientError as error:
            _only_condition(error)
        current = self.run(model, run)
        return current if current.get("attempt") == attempt and current["state"] == "RUNNING" else None

    def report(self, model: str, run: str, epoch: int, progress: Item) -> bool:
        """Renew the lease and tell the progress; False when the run has another holder or has ended."""
        try:
            self.table.update_item(
                Key={"pk": f"MODEL#{model}", "sk": f"RUN#{run}"},
                UpdateExpression="SET lease_until = :until, progress = :progress",
                ConditionExpression="epoch = :epoch AND #state = :running",
                ExpressionAttributeNames={"#state": "state"},
                ExpressionAttributeValues=_stored(
                    {
                        **{":until": seconds() + LEASE_S, ":progress": {**progress, "at": now()}},
                        **{":epoch": epoch, ":running": "RUNNING"},
                    }
                ),
            )
        except ClientError as error:
            _only_condition(error)
            return False
        return True

    # ------------------------------------------------------------------ versions
    def register(self, model: str, run: str, epoch: int, fingerprint: str, fields: Item) -> int:
        """Give a finished bundle its version number: one transaction, fenced by the lease's epoch.

        Writes the version, its fingerprint, the model's head and the run's READY together or not at all. Returns the
        number; the number of the existing version when data, recipe and code already made one. Raises Conflict when
        another job took the run over.
        """
        for attempt in range(50):
            meta = self._get(f"MODEL#{model}", "META") or {}
            number = int(meta.get("head", 0)) + 1
            try:
                self.client.transact_write_items(
                    TransactItems=self._registration(model, run, epoch, fingerprint, number, fields)
                )
            except ClientError as error:
                if not _is_refusal(error):
                    raise
            settled = self._settled(model, run, epoch, fingerprint)
            if settled is not None:
                return settled
            time.sleep(random.uniform(0, 0.02 * (attempt + 1)))  # noqa: S311 - spreads writers, hides nothing
        raise Conflict(f"Run {run} could not be registered: too many writers.", remedy="Send the event again.")

    def adopt(self, model: str, run: str, version: int) -> Item:
        """End a run with a version that exists already: the same data, recipe and code made it."""
        return self.advance(model, run, "READY", allowed=LIVE, version=version, reused=True)

    def decide(self, model: str, run: str, version: int, decision: Item) -> None:
        """Write what the gate said of a run beside the run and, the first time, beside the version."""
        for key, condition in (
            (f"RUN#{run}", "attribute_exists(pk)"),
            (f"VERSION#{version:06d}", "attribute_exists(pk)"),
        ):
            self.table.update_item(
                Key={"pk": f"MODEL#{model}", "sk": key},
                UpdateExpression="SET decision = :decision",
                ConditionExpression=condition,
                ExpressionAttributeValues=_stored({":decision": decision}),
            )
        self._journal_run(self.run(model, run))
        self._journal_version(self.version(model, version))

    def _registration(
        self, model: str, run: str, epoch: int, fingerprint: str, number: int, fields: Item
    ) -> list[dict[str, Any]]:
        pk, name = f"MODEL#{model}", self.table.name
        version = {
            **{"pk": pk, "sk": f"VERSION#{number:06d}", "version": number, "model": model, "run": run},
            **{"fingerprint": fingerprint, "created": now(), **fields},
        }
        free = "attribute_not_exists(pk)"
        meta_set = "SET head = :number, task = :task, target = :target"
        return [
            {"Put": {"TableName": name, "Item": _stored(version), "ConditionExpression": free}},
            {
                "Put": {
                    "TableName": name,
                    "Item": {"pk": pk, "sk": f"FINGERPRINT#{fingerprint}", "version": number},
                    "ConditionExpression": free,
                }
            },
            {
                "Update": {
                    "TableName": name,
                    "Key": {"pk": pk, "sk": "META"},
                    "UpdateExpression": meta_set,
                    "ConditionExpression": "head = :before",
                    "ExpressionAttributeValues": {
                        **{":number": number, ":before": number - 1},
                        **{":task": fields.get("task", ""), ":target": fields.get("target", "")},
                    },
                }
            },
            {
                "Update": {
                    "TableName": name,
                    "Key": {"pk": pk, "sk": f"RUN#{run}"},
                    "UpdateExpression": "SET #state = :ready, version = :number, #times.ended = :at",
                    "ConditionExpression": "#state = :running AND epoch = :epoch",
                    "ExpressionAttributeNames": {"#state": "state", "#times": "times"},
                    "ExpressionAttributeValues": {
                        **{":ready": "READY", ":running": "RUNNING", ":number": number, ":epoch": epoch, ":at": now()}
                    },
                }
            },
        ]

    def _settled(self, model: str, run: str, epoch: int, fingerprint: str) -> int | None:
        """The version a run ended with, after reading back; None when nothing is decided yet; Conflict when fenced."""
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
        return None

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
        for _ in range(50):
            alias = self.alias(model)
            order = max(str(self.version(model, version).get("order", "")), str(alias["order"]) if alias else "")
            if self._move(model, alias, version, order=order, pinned=pin, by=by, why=why):
                return self._moved(model)
        raise Conflict(f"The alias of {model} could not be moved: too many writers.", remedy="Try again.")

    def rollback(self, model: str, *, by: str, why: str) -> Item:
        """Move the alias back to the version that served before, pinned; raises Conflict where there is none."""
        alias = self.alias(model)
        if alias is None or alias.get("previous") is None:
            self.model(model)
            raise Conflict(
                f"Model {model!r} has no earlier version to return to.",
                code="NOTHING_TO_ROLL_BACK",
                remedy="Promote a version by its number.",
            )
        return self.promote(
            model, int(alias["previous"]), by=by, why=why or f"rollback from version {alias['version']}"
        )

    def _move(
        self, model: str, seen: Item | None, version: int, *, order: str, pinned: bool, by: str, why: str
    ) -> bool:
        target, pk, name = self.version(model, version), f"MODEL#{model}", self.table.name
        rev = 1 if seen is None else int(seen["rev"]) + 1
        previous = None if seen is None else int(seen["version"])
        if seen is not None and previous == version:
            previous = seen.get("previous")  # moving to where it stands must not forget what was before
        move = {
            **{"alias": CHAMPION, "model": model, "version": version, "run": target["run"], "bundle": target["bundle"]},
            **{"rev": rev, "order": order, "pinned": pinned, "by": by, "why": why, "at": now(), "previous": previous},
        }
        condition: Item = {"ConditionExpression": "attribute_not_exists(pk)"}
        if seen is not None:
            condition = {"ConditionExpression": "rev = :rev", "ExpressionAttributeValues": {":rev": rev - 1}}
        try:
            self.client.transact_write_items(
                TransactItems=[
                    {
                        "Put": {
                            "TableName": name,
                            "Item": _stored({"pk": pk, "sk": f"ALIAS#{CHAMPION}", **move}),
                            **condition,
                        }
                    },
                    {
                        "Put": {
                            "TableName": name,
                            "Item": _stored({"pk": pk, "sk": f"MOVE#{rev:06d}", **move}),
                            "ConditionExpression": "attribute_not_exists(pk)",
                        }
                    },
                    {
                        "ConditionCheck": {
                            "TableName": name,
                            "Key": {"pk": pk, "sk": f"VERSION#{version:06d}"},
                            "ConditionExpression": "attribute_exists(pk)",
                        }
                    },
                ]
            )
        except ClientError as error:
            if not _is_refusal(error):
                raise
            written = self._get(pk, f"MOVE#{rev:06d}")
            return written is not None and all(written[key] == value for key, value in move.items())
        return True

    def _moved(self, model: str) -> Item:
        alias = self.alias(model)
        if alias is None:
            raise Conflict(f"The alias of {model} disappeared.", remedy="Try again.")
        self._journal_alias(alias)
        return alias

    # ------------------------------------------------------------------ keys
    def key(self, digest: str) -> Item | None:
        """The API key with this SHA-256, or None."""
        return self._get(f"KEY#{digest}", "META")

    def keys(self) -> list[Item]:
        """Every API key, revoked ones too, without what could be used to call."""
        return [item for entry in self._query("KEYS", "") if (item := self.key(entry["sk"])) is not None]

    def put_key(self, digest: str, item: Item) -> None:
        """Store a key's hash with its id, name, role and times."""
        self.table.put_item(Item=_stored({**item, "pk": f"KEY#{digest}", "sk": "META"}))
        self.table.put_item(Item={"pk": "KEYS", "sk": digest})
        self._journal(f"keys/{digest}.json", {**item, "digest": digest})

    def revoke_key(self, key_id: str) -> Item:
        """Revoke a key by its id; raises NotFound (UNKNOWN_KEY)."""
        for entry in self._query("KEYS", ""):
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
            digest = value["digest"]
            return self.put_key(digest, {name: item for name, item in value.items() if name != "digest"})
        model = value["model"]
        self._ensure_model(model)
        pk = f"MODEL#{model}"
        if kind == "run":
            self.table.put_item(Item=_stored({"pk": pk, "sk": f"RUN#{value['run']}", **value}))
        elif kind == "version":
            number = int(value["version"])
            self.table.put_item(Item=_stored({"pk": pk, "sk": f"VERSION#{number:06d}", **value}))
            self.table.put_item(Item={"pk": pk, "sk": f"FINGERPRINT#{value['fingerprint']}", "version": number})
            self._raise_head(model, number, value)
        elif kind == "alias":
            self.table.put_item(Item=_stored({"pk": pk, "sk": f"MOVE#{int(value['rev']):06d}", **value}))
            current = self.alias(model)
            if current is None or current["rev"] < value["rev"]:
                self.table.put_item(Item=_stored({"pk": pk, "sk": f"ALIAS#{CHAMPION}", **value}))
        return None

    def _raise_head(self, model: str, number: int, value: Item) -> None:
        try:
            self.table.update_item(
                Key={"pk": f"MODEL#{model}", "sk": "META"},
                UpdateExpression="SET head = :number, task = :task, target = :target",
                ConditionExpression="head < :number",
                ExpressionAttributeValues={
                    **{":number": number, ":task": value.get("task", ""), ":target": value.get("target", "")}
                },
            )
        except ClientError as error:
            _only_condition(error)

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

    # ------------------------------------------------------------------ the table
    def _ensure_model(self, model: str) -> None:
        self.table.update_item(
            Key={"pk": f"MODEL#{model}", "sk": "META"},
            UpdateExpression="SET head = if_not_exists(head, :zero), created = if_not_exists(created, :at), "
            "model = :model",
            ExpressionAttributeValues={":zero": 0, ":at": now(), ":model": model},
        )
        self.table.put_item(Item={"pk": "MODELS", "sk": model})

    def _get(self, pk: str, sk: str) -> Item | None:
        item = self.table.get_item(Key={"pk": pk, "sk": sk}, ConsistentRead=True).get("Item")
        return None if item is None else _without_keys(_plain(item))

    def _query(self, pk: str, prefix: str) -> list[Item]:
        found: list[Item] = []
        expression = "pk = :pk" + (" AND begins_with(sk, :sk)" if prefix else "")
        query: Item = {
            "KeyConditionExpression": expression,
            "ExpressionAttributeValues": {":pk": pk, **({":sk": prefix} if prefix else {})},
            "ConsistentRead": True,
        }
        while True:
            answer = self.table.query(**query)
            found += [_plain(item) for item in answer["Items"]]
            if "LastEvaluatedKey" not in answer:
                return [_without_keys(item) if prefix else item for item in found]
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]


def _without_keys(item: Item) -> Item:
    return {name: value for name, value in item.items() if name not in ("pk", "sk")}


def _plain(value: Any) -> Any:
    """DynamoDB's numbers as int and float."""
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, dict):
        return {name: _plain(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value


def _stored(value: Any) -> Any:
    """int and float as DynamoDB's numbers."""
    if isinstance(value, float):
        return Decimal(repr(value))
    if isinstance(value, dict):
        return {name: _stored(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_stored(item) for item in value]
    return value


def _only_condition(error: ClientError) -> None:
    """Swallow a refused condition, raise anything else."""
    if error.response["Error"]["Code"] != "ConditionalCheckFailedException":
        raise error


def _is_refusal(error: ClientError) -> bool:
    """Whether a transaction was refused by a condition or by another writer (both: read back, then decide)."""
    return error.response["Error"]["Code"] in (
        "TransactionCanceledException",
        "TransactionConflictException",
        "TransactionInProgressException",
    )
