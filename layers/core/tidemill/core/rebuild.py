"""The registry, made again from its journal in S3: for a lost table, or a local stack that was killed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

from tidemill.core import attempts, reports, schedules
from tidemill.core.registry import TERMINAL, Item, Registry
from tidemill.core.scorings import Scorings
from tidemill.core.storage import Storage

KINDS = {
    "runs": "run",
    "versions": "version",
    "aliases": "alias",
    "reports": "report",
    "scorings": "scoring",
    "retrains": "retrain",
    "schedules": "switch",
}
ELSEWHERE: dict[str, Callable[[Registry, Item], None]] = {"retrain": attempts.restore, "switch": schedules.put_switch}


def rebuild(registry: Registry, artifacts: Storage) -> tuple[Counter[str], list[Item]]:
    """Restore every journalled item; returns how many of each kind, and the runs that still have work to do.

    May be called on a table that is not empty: journalled items replace what stands there. The registry should be
    given without a journal, so that nothing is written back while it is read.
    """
    counts: Counter[str] = Counter()
    unfinished: list[Item] = []
    for entry in artifacts.keys("registry/"):
        parts = entry["Key"].split("/")
        kind = "key" if parts[1] == "keys" else KINDS.get(parts[3], "") if len(parts) == 5 else ""
        if not kind:
            continue
        value = artifacts.read_json(entry["Key"])
        if kind == "report":
            reports.restore(registry, value)
        elif kind == "scoring":
            Scorings(registry).restore(value)
        elif kind in ELSEWHERE:
            ELSEWHERE[kind](registry, value)
        else:
            registry.restore(kind, value)
        counts[kind] += 1
        if kind == "run" and needs_work(value):
            unfinished.append(value)
    return counts, unfinished


def needs_work(run: Item) -> bool:
    """Whether something must still happen to a run: it has not ended, or the gate has not spoken yet."""
    return run["state"] not in TERMINAL or (run["state"] == "READY" and "decision" not in run)
