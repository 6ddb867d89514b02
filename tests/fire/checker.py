"""The one who looks: what must hold of a registry and its buckets after every call, and when nothing is on its way.

It knows nothing of the code that made them: it reads the table's items, the objects, Batch's jobs and a log of what
happened, and says in sentences what is broken. The same checker is given the product, the product with a guard taken
out, and a naive design. I1 to I9 and L1 are the invariants by which a run is judged:

I1 every acknowledged upload comes to an end, and stays there; I2 one version of data, recipe and code, numbered
without gaps; I3 the alias is at a version that is registered and whose files are all there, with the right hashes; I4
it moves in the order of uploads, unless a person says otherwise; I5 no job without a run, no run with two jobs at a
time; I6 every end has its reason and was told; I7 rows read = used + quarantined; I8 a scoring names a version that
was in service while it was made; I9 no run learned from bytes of another upload; J the journal in S3 says what the
table says; L1 good uploads are served.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.memory_aws import MemoryAws, Place

TERMINAL = frozenset({"READY", "REJECTED", "FAILED", "SUPERSEDED", "CANCELLED"})
ALIVE = frozenset({"SUBMITTED", "PENDING", "RUNNABLE", "STARTING", "RUNNING"})
Item = dict[str, Any]


@dataclass
class Log:
    """What happened, in order: uploads, deliveries, events, and each change of an alias or a run."""

    entries: list[Item] = field(default_factory=list)
    last: dict[Place, Any] = field(default_factory=dict)  # the items as last seen
    proved: set[Any] = field(default_factory=set)  # folders whose hashes were compared

    def record(self, op: str, **more: Any) -> None:
        """Write down that something happened."""
        self.entries.append({"op": op, **more})

    def of(self, op: str) -> list[Item]:
        """All that happened of one kind."""
        return [entry for entry in self.entries if entry["op"] == op]

    def look(self, aws: MemoryAws, at_ms: int) -> None:
        """After each call: what changed of runs and aliases, and whether each alias can be served from."""
        for place, item in aws.items.items():
            kind = place[1].partition("#")[0]
            if kind == "RUN" and self.last.get(place) is not item:
                self._run(place, plain(item), at_ms)
                self.last[place] = item
            elif kind == "ALIAS":
                if self.last.get(place) is not item:
                    self.record("alias", at_ms=at_ms, order_then=None, **plain(item))
                    self.last[place] = item
                self._served(aws, place, item)

    def _run(self, place: Place, run: Item, at_ms: int) -> None:
        before = plain(self.last[place]) if place in self.last else {}
        if run["state"] != before.get("state"):
            self.record("run", **{name: run.get(name) for name in ("run", "state", "version", "order")})
        if before.get("state") in TERMINAL and run["state"] != before["state"]:
            self.record("broken", why=f"I1: run {run['run']} went from its end {before['state']} to {run['state']}")
        held = before.get("holder") if before.get("state") == "RUNNING" == run["state"] else None
        if held and run.get("holder") != held and before.get("lease_until", 0) >= self.second(at_ms):
            self.record("broken", why=f"I5: job {run.get('holder')} took run {run['run']} from {held}, which had it")

    def second(self, at_ms: int) -> int:
        """The second of the world's clock in which leases are written."""
        return FIRST_SECOND + at_ms // 1000

    def _served(self, aws: MemoryAws, place: Place, item: Item) -> None:
        prefix, number = item.get("bundle", {}).get("S", ""), item["version"]["N"]
        found = _complete(aws, prefix, self.proved)
        if found:
            self.record("broken", why=f"I3: the alias is at version {number}, and {found}")
        if (place[0], f"VERSION#{int(number):06d}") not in aws.items:
            self.record("broken", why=f"I3: the alias is at version {number}, which is not registered")

    def copied(self) -> tuple[list[Item], dict[Place, Any]]:
        """The log so far."""
        return list(self.entries), dict(self.last)

    def restore(self, state: tuple[list[Item], dict[Place, Any]]) -> None:
        """Go back to a copied log."""
        self.entries, self.last = list(state[0]), dict(state[1])


FIRST_SECOND = 1793491200  # 2026-11-01, when every run begins


def check(aws: MemoryAws, log: Log, batch: dict[str, Item], rebuilt: dict[Place, Item] | None = None) -> list[str]:
    """What is broken, in sentences; none where every promise held. `rebuilt`: the table made again from the journal."""
    found = list(dict.fromkeys(entry["why"] for entry in log.of("broken")))
    found += [f"I1: a message of {entry['stage']} was given up" for entry in log.of("given up")]
    for model in sorted({place[0] for place in aws.items if place[0].startswith("MODEL#")}):
        table = {place[1]: plain(item) for place, item in aws.items.items() if place[0] == model}
        runs = [item for key, item in table.items() if key.startswith("RUN#")]
        versions = [item for key, item in table.items() if key.startswith("VERSION#")]
        found += _uploads(runs, log) + _versions(runs, versions, table.get("META", {})) + _moves(table, runs, log)
        found += _reasons(runs, log) + _rows(runs, table, aws) + _scorings(table, aws, log) + _live(runs, log)
        found += _own_bytes(runs)
    found += _jobs(aws, batch)
    return found + ([] if rebuilt is None else _journal(aws, rebuilt))


def _complete(aws: MemoryAws, prefix: str, proved: set[Any]) -> str:
    """Why a folder cannot be served from; empty where its manifest and every file agree."""
    manifest = aws.newest("artifacts", prefix + "MANIFEST.json")
    if manifest is None:
        return f"{prefix} has no manifest"
    listed = json.loads(manifest.body)["files"] if (prefix, manifest.version) not in proved else None
    if listed is None and (prefix, manifest.version, _stamp(aws, prefix)) in proved:
        return ""
    for entry in listed if listed is not None else json.loads(manifest.body)["files"]:
        file = aws.newest("artifacts", prefix + entry["name"])
        if file is None:
            return f"{prefix}{entry['name']} is missing"
        if hashlib.sha256(file.body).hexdigest() != entry["sha256"]:
            return f"{prefix}{entry['name']} differs from its manifest"
    proved |= {(prefix, manifest.version), (prefix, manifest.version, _stamp(aws, prefix))}
    return ""


def _stamp(aws: MemoryAws, prefix: str) -> tuple[Any, ...]:
    """Which versions of its files a folder has now."""
    return tuple(found[-1].version for place, found in aws.objects.items() if place[1].startswith(prefix))


def _uploads(runs: list[Item], log: Log) -> list[str]:
    """I1: each acknowledged upload has a run, and the run an end."""
    found = []
    for upload in log.of("uploaded"):
        if not upload["key"].startswith("uploads/"):
            continue
        mine = [run for run in runs if (run["upload"]["key"], _which(run["upload"])) == (upload["key"], _which(upload))]
        if len(mine) != 1:
            found.append(f"I1: the upload {upload['key']} has {len(mine)} runs")
        found += [f"I1: run {run['run']} stays {run['state']}" for run in mine if run["state"] not in TERMINAL]
    return found


def _which(upload: Item) -> str:
    return str(upload.get("version") or upload["etag"])


def _versions(runs: list[Item], versions: list[Item], meta: Item) -> list[str]:
    """I2: one version of each data, recipe and code; numbers without gaps; each READY run names one."""
    found, made = [], defaultdict(list)
    for version in versions:
        made[version["fingerprint"]].append(version["version"])
    found += [f"I2: versions {same} are of the same data, recipe and code" for same in made.values() if len(same) > 1]
    numbers = sorted(version["version"] for version in versions)
    if numbers != list(range(1, len(numbers) + 1)):
        found.append(f"I2: the versions are numbered {numbers}")
    if meta.get("head", 0) != len(numbers):
        found.append(f"I2: there are {len(numbers)} versions and the head is {meta.get('head')}")
    known = {version["version"]: version["fingerprint"] for version in versions}
    for run in runs:
        if run["state"] == "READY" and known.get(run.get("version")) != run["fingerprint"]:
            found.append(f"I2: run {run['run']} is READY with version {run.get('version')}, which is not its own")
    return found


def _moves(table: dict[str, Item], runs: list[Item], log: Log) -> list[str]:
    """I4: the alias moves on to later uploads only; a person's word holds until a person's word; each move is kept."""
    orders: dict[int, str] = defaultdict(str)  # of each version, the latest upload that it was made or reused for
    found, before = [], None
    for alias in log.entries:
        if alias["op"] == "run" and alias["state"] == "READY":
            orders[alias["version"]] = max(orders[alias["version"]], alias["order"])
        if alias["op"] != "alias":
            continue
        by_person = str(alias.get("by", "")).startswith("person")
        if before is not None and not by_person and alias["version"] != before["version"]:
            if before.get("pinned"):
                found.append(f"I4: version {before['version']} was pinned and {alias['version']} replaced it")
            if orders[alias["version"]] < orders[before["version"]]:
                found.append(f"I4: the alias went back from version {before['version']} to {alias['version']}")
        before = alias
    moved = {entry["rev"] for entry in log.of("alias") if "rev" in entry}
    kept = {int(key.partition("#")[2]) for key in table if key.startswith("MOVE#")}
    if moved != kept:
        found.append(f"I4: the alias had the revisions {sorted(moved)}; {sorted(kept)} are written down")
    return found + _ends_at_the_latest(table.get("ALIAS#champion"), runs, orders)


def _ends_at_the_latest(alias: Item | None, runs: list[Item], orders: dict[int, str]) -> list[str]:
    """I4: what was refused for being older is older, and what was promoted last serves."""
    if alias is None:
        return ["I4: a version was promoted and none serves"] if any(_promoted(run) for run in runs) else []
    found = []
    for run in runs:
        late = run["order"] > orders[alias["version"]]
        if _promoted(run) and late and not alias.get("pinned"):
            found.append(f"I4: run {run['run']} was promoted and an earlier upload's version {alias['version']} serves")
        if (run.get("decision") or {}).get("code") == "OLDER_UPLOAD" and run["order"] == max(r["order"] for r in runs):
            found.append(f"I4: run {run['run']} was refused as older and is the latest")
    return found


def _promoted(run: Item) -> bool:
    return run["state"] == "READY" and bool((run.get("decision") or {}).get("promoted"))


def _reasons(runs: list[Item], log: Log) -> list[str]:
    """I6: every end that is not a version says why, every version says what the gate said, and both were told."""
    found = []
    told = {(entry["name"], entry["detail"].get("run")) for entry in log.of("told")}
    for run in runs:
        ready = run["state"] == "READY"
        reason = (run.get("decision") if ready else run.get("reason")) or {}
        if run["state"] in TERMINAL and not (reason.get("code") and reason.get("message")):
            found.append(f"I6: run {run['run']} is {run['state']} and nobody knows why")
            continue
        names = {
            "READY": ("ModelPromoted", "ModelRefused", "ModelChallenged"),
            "SUPERSEDED": ("DatasetSuperseded",),
        }.get(run["state"], ("RunFailed", "DatasetRejected"))
        if run["state"] in TERMINAL and not any((name, run["run"]) in told for name in names):
            found.append(f"I6: nobody was told that run {run['run']} is {run['state']} ({reason['code']})")
    return found


def _rows(runs: list[Item], table: dict[str, Item], aws: MemoryAws) -> list[str]:
    """I7: every row that was read was used or set aside."""
    found = []
    for run in runs:
        rows = run.get("rows")
        if rows is not None and rows["read"] != rows["used"] + rows["quarantined"]:
            found.append(f"I7: run {run['run']} read {rows['read']} rows, used {rows['used']}")
        if rows is None and run["state"] == "READY":
            found.append(f"I7: run {run['run']} does not say what became of its rows")
    return found


def _scorings(table: dict[str, Item], aws: MemoryAws, log: Log) -> list[str]:
    """I7, I8: each file to be scored has an end, all its rows, and a version that was in service meanwhile."""
    found = []
    scored = [item for key, item in table.items() if key.startswith("SCORING#")]
    if len(scored) != len([entry for entry in log.of("uploaded") if entry["key"].startswith("requests/")]):
        found.append(f"I1: there are {len(scored)} scorings, and not as many files to be scored")
    for item in scored:
        if item["state"] not in ("DONE", "REJECTED", "FAILED"):
            found.append(f"I1: scoring {item['scoring']} stays {item['state']}")
        if item["state"] != "DONE":
            continue
        rows = item["rows"]
        if rows["in"] != rows["out"] + rows["rejected"]:
            found.append(f"I7: scoring {item['scoring']} read {rows['in']} rows and gave {rows['out']}")
        if item["version"] not in _in_service(item["request"]["key"], log):
            found.append(f"I8: scoring {item['scoring']} names version {item['version']}, which was not in service")
        if why := _complete(aws, item["results"], set()):
            found.append(f"I3: scoring {item['scoring']} is DONE, and {why}")
    return found


def _in_service(key: str, log: Log) -> set[int]:
    """The versions that served at some moment since a file came."""
    serving: set[int] = set()
    came = False
    for entry in log.entries:
        came = came or (entry["op"] == "uploaded" and entry["key"] == key)
        if entry["op"] == "alias":
            serving = {*serving, entry["version"]} if came else {entry["version"]}
    return serving


def _jobs(aws: MemoryAws, batch: dict[str, Item]) -> list[str]:
    """I5: no job waits or runs for a run that has ended, or that there is not."""
    found = []
    for job in batch.values():
        asked = job["parameters"]
        run = plain(aws.items.get((f"MODEL#{asked['model']}", f"RUN#{asked.get('run', '')}"), {}))
        if job["status"] in ALIVE and run.get("state", "READY") in TERMINAL:
            found.append(f"I5: {job['jobId']} is {job['status']} for a run that is {run.get('state')}")
    return found


def _own_bytes(runs: list[Item]) -> list[str]:
    """I9: uploads that differ, under one key, never become one data set: one would have been read as the other."""
    read: dict[tuple[str, str], str] = {}
    found = []
    for run in sorted(runs, key=lambda run: str(run["run"])):
        etag = read.setdefault((run["upload"]["key"], run.get("dataset", run["run"])), run["upload"]["etag"])
        if etag != run["upload"]["etag"]:
            found.append(f"I9: run {run['run']} learned from another upload of {run['upload']['key']}")
    return found


def _live(runs: list[Item], log: Log) -> list[str]:
    """L1: good uploads become versions, or nothing else that is promised means anything."""
    good = {entry["key"] for entry in log.of("uploaded") if "/good" in entry["key"] or "/retrain/" in entry["key"]}
    mine = [run for run in runs if run["upload"]["key"] in good]
    newest = {run["upload"]["key"]: run["run"] for run in sorted(mine, key=lambda run: str(run["order"]))}
    ready = [
        run
        for run in mine
        if run["state"] == "READY"
        or run.get("reason", {}).get("code") == "SOURCE_DELETED"
        or (run["state"] == "SUPERSEDED" and run["run"] != newest[run["upload"]["key"]])
    ]
    return [f"L1: {len(ready)} of {len(mine)} good uploads are READY"] if len(ready) < 0.95 * len(mine) else []


_COMPARED = ("RUN#", "VERSION#", "FINGERPRINT#", "ALIAS#", "MOVE#", "SCORING#", "RETRAIN#")
_PASSING = frozenset({"progress", "lease_until", "tries", "swept"})


def _journal(aws: MemoryAws, rebuilt: dict[Place, Item]) -> list[str]:
    """J: a table made again from the journal is the table."""
    found = []
    for place in sorted({*aws.items, *rebuilt}):
        if not place[1].startswith(_COMPARED):
            continue
        was, now = (_lasting(plain(table.get(place, {}))) for table in (aws.items, rebuilt))
        if was != now:
            names = sorted(name for name in {*was, *now} if was.get(name) != now.get(name))
            found.append(f"J: {place[1]} would come back with other {', '.join(names)}")
    return found


def _lasting(item: Item) -> Item:
    return {name: value for name, value in item.items() if name not in _PASSING}


def plain(item: Item) -> Item:
    """An item as it travels, as Python sees it."""
    return {name: _plain(value) for name, value in item.items()}


def _plain(value: Item) -> Any:
    ((kind, held),) = value.items()
    if kind == "N":
        return int(held) if held.lstrip("-").isdigit() else float(held)
    if kind == "M":
        return plain(held)
    if kind == "L":
        return [_plain(one) for one in held]
    return None if kind == "NULL" else held
