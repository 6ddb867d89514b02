"""The registry, made again from its journal in S3: for a lost table, or a local stack that was killed.

May go on while the mill is at work: what serving needs (keys, then versions and aliases) comes back first, and nothing
that has moved on meanwhile is put back to where the journal saw it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

from tidemill.core import reports
from tidemill.core.history import CHAMPION
from tidemill.core.registry import LIVE, TERMINAL, Item, Registry
from tidemill.core.scorings import LIVE as SCORING
from tidemill.core.storage import Storage

AT_ONCE = 8  # calls under way; a client of boto3 keeps ten connections
PIECE = 100  # items that one thread puts
KINDS = {
    "keys": "key",
    "versions": "version",
    "aliases": "alias",
    "runs": "run",
    "reports": "report",
    "scorings": "scoring",
    "retrains": "retrain",
    "schedules": "switch",
}
ORDER = tuple(KINDS.values())  # what serving needs comes first
Read = dict[str, list[Item]]


def rebuild(registry: Registry, artifacts: Storage) -> tuple[Counter[str], list[Item]]:
    """Restore every journalled item; returns how many of each kind, and the runs that still have work to do.

    May be called on a table that is not empty: journalled items replace what stands there, unless that is further. The
    registry should be given without a journal, so that nothing is written back while it is read.
    """
    with ThreadPoolExecutor(AT_ONCE) as pool:
        read = _read(artifacts, pool)
        items = list(_items(read))
        _all(pool, registry.table.put_all, [items[at : at + PIECE] for at in range(0, len(items), PIECE)])
        _all(pool, partial(_restore_alias, registry), newest(read["alias"], "rev"))
        _all(pool, partial(_restore_model, registry), _models(read))
        _all(pool, partial(_restore_run, registry), read["run"])
        _all(pool, partial(_restore_scoring, registry), read["scoring"])
        _all(pool, partial(reports.restore, registry), newest(read["report"], "time"))
    counts = Counter({kind: len(values) for kind, values in read.items() if values})
    return counts, [run for run in read["run"] if needs_work(run)]


def needs_work(run: Item) -> bool:
    """Whether something must still happen to a run: it has not ended, or the gate has not spoken yet."""
    return run["state"] not in TERMINAL or (run["state"] == "READY" and "decision" not in run)


def newest(items: list[Item], by: str) -> list[Item]:
    """Of each model the item that comes last."""
    last: dict[str, Item] = {}
    for item in sorted(items, key=lambda item: item[by]):
        last[item["model"]] = item
    return list(last.values())


def _read(artifacts: Storage, pool: ThreadPoolExecutor) -> Read:
    """The journal, kind by kind, each in the order of its keys."""
    named = [(_kind(entry["Key"]), entry["Key"]) for entry in artifacts.keys("registry/")]
    wanted = sorted((ORDER.index(kind), key) for kind, key in named if kind)
    read: Read = defaultdict(list)
    values = pool.map(artifacts.read_json, [key for _, key in wanted])
    for (place, _), value in zip(wanted, values, strict=True):
        read[ORDER[place]].append(value)
    return read


def _kind(key: str) -> str:
    """What a journalled object is, from registry/keys/... or registry/models/{model}/{kinds}/...; empty for others."""
    parts = key.split("/")
    return KINDS["keys"] if parts[1] == "keys" else KINDS.get(parts[3], "") if len(parts) == 5 else ""


def _items(read: Read) -> Iterator[Item]:
    """The items that nobody moves on once they are written, keys included."""
    for key in read["key"]:
        digest = key["digest"]
        yield {**{name: value for name, value in key.items() if name != "digest"}, "pk": f"KEY#{digest}", "sk": "META"}
        yield {"pk": "KEYS", "sk": digest}
    for version in read["version"]:
        pk, number = f"MODEL#{version['model']}", int(version["version"])
        yield {"pk": pk, "sk": f"VERSION#{number:06d}", **version}
        yield {"pk": pk, "sk": f"FINGERPRINT#{version['fingerprint']}", "version": number}
    names = {"alias": ("MOVE", "rev"), "report": ("REPORT", "time"), "retrain": ("RETRAIN", "at")}
    for kind, (sk, name) in names.items():
        for item in read[kind]:
            which = f"{item[name]:06d}" if kind == "alias" else item[name]
            yield {"pk": f"MODEL#{item['model']}", "sk": f"{sk}#{which}", **item}
    yield from ({"pk": f"MODEL#{item['model']}", "sk": "SCHEDULE", **item} for item in read["switch"])


def _models(read: Read) -> list[Item]:
    """What is kept of each model itself: since when there is one, how many versions, of which task and target."""
    models: dict[str, Item] = {}
    for run in read["run"]:
        received = (run.get("times") or {}).get("received", "")
        known = models.setdefault(run["model"], {"model": run["model"], "head": 0, "created": received})
        known["created"] = min(known["created"], received)
    for last in newest(read["version"], "version"):
        known = models.setdefault(last["model"], {"model": last["model"], "created": last["created"]})
        known |= {"head": int(last["version"]), "task": last.get("task", ""), "target": last.get("target", "")}
    return list(models.values())


def _restore_model(registry: Registry, model: Item) -> None:
    pk, told = f"MODEL#{model['model']}", ("task", "target") if "task" in model else ()
    sets = "SET head = :head, model = :model" + "".join(f", {name} = :{name}" for name in told)
    values = {f":{name}": model[name] for name in ("head", "model", *told)}
    registry.table.update(pk, "META", sets, values, condition="attribute_not_exists(head) OR head <= :head")
    at, earlier = {":at": model["created"]}, "attribute_not_exists(created) OR created > :at"
    registry.table.update(pk, "META", "SET created = :at", at, condition=earlier)
    registry.table.put({"pk": "MODELS", "sk": model["model"]})


def _restore_alias(registry: Registry, alias: Item) -> None:
    item = {"pk": f"MODEL#{alias['model']}", "sk": f"ALIAS#{CHAMPION}", **alias}
    registry.table.put_where(item, "attribute_not_exists(pk) OR rev <= :rev", {":rev": alias["rev"]})


def _restore_run(registry: Registry, run: Item) -> None:
    """A run that is further in the table stays; one that was given back to be trained again is further than before."""
    before = LIVE[: LIVE.index(run["state"]) + 1] if run["state"] in LIVE else (*LIVE, run["state"])
    values: Item = {f":s{index}": state for index, state in enumerate(before)}
    here = f"epoch <= :epoch AND #state IN ({', '.join(values)})"
    item = {"pk": f"MODEL#{run['model']}", "sk": f"RUN#{run['run']}", **run}
    values |= {":epoch": run.get("epoch", 0), ":retries": run.get("retries", 0)}
    condition = f"attribute_not_exists(pk) OR retries < :retries OR ({here})"
    registry.table.put_where(item, condition, values, {"#state": "state"})


def _restore_scoring(registry: Registry, scoring: Item) -> None:
    before = SCORING[:1] if scoring["state"] == SCORING[0] else (*SCORING, scoring["state"])
    values = {f":s{index}": state for index, state in enumerate(before)}
    item = {"pk": f"MODEL#{scoring['model']}", "sk": f"SCORING#{scoring['scoring']}", **scoring}
    condition = f"attribute_not_exists(pk) OR #state IN ({', '.join(values)})"
    registry.table.put_where(item, condition, values, {"#state": "state"})


def _all(pool: ThreadPoolExecutor, do: Callable[[Any], object], items: list[Any]) -> None:
    """Do it with every item; raises what the first that failed raised."""
    for _ in pool.map(do, items):
        pass
