"""Reports of Monitor in the table and in S3: `MODEL#m | REPORT#time`, and `MODEL#m | MONITOR`, where Monitor stands.

A report and the move of MONITOR to it are one transaction, so that of two Monitors woken at once one writes. What must
be told of it stands in MONITOR as `pending` until it was told: a Monitor that dies in between leaves that to the next.
"""

from __future__ import annotations

from typing import Any

from tidemill.core.clock import now
from tidemill.core.errors import NotFound
from tidemill.core.registry import Item, Registry
from tidemill.core.table import without_keys

PREFIX = "reports/"
SK = "MONITOR"
NEWEST = "latest"


def key_of(model: str, time: str, kind: str) -> str:
    """Where a report lies: kind is json or html."""
    return f"{PREFIX}{model}/{time}.{kind}"


def state(registry: Registry, model: str) -> Item:
    """Where Monitor stands with a model: report, until, version, drifting, pending, waiting; empty before the first."""
    return registry.table.get(f"MODEL#{model}", SK) or {}


def wait(registry: Registry, model: str, rows: int, least: int) -> None:
    """Write down that there are too few rows for a report yet."""
    values = {":waiting": {"rows": rows, "least": least, "at": now()}}
    registry.table.update(f"MODEL#{model}", SK, "SET waiting = :waiting", values)


def record(registry: Registry, item: Item, seen: str | None, pending: Item | None) -> bool:
    """Write a report's item and move MONITOR to it; False when another Monitor has moved it meanwhile."""
    pk = f"MODEL#{item['model']}"
    values: Item = {":report": item["time"], ":until": item["until"], ":version": item["version"]}
    values |= {":drifting": item["drifted"], ":pending": pending}
    guard = "attribute_not_exists(report)"
    if seen is not None:
        guard, values[":seen"] = "report = :seen", seen
    move = {
        "Key": {"pk": pk, "sk": SK},
        "UpdateExpression": "SET report = :report, #until = :until, version = :version, drifting = :drifting, "
        "pending = :pending REMOVE waiting",
        "ConditionExpression": guard,
        "ExpressionAttributeNames": {"#until": "until"},
        "ExpressionAttributeValues": values,
    }
    put = {
        "Item": {"pk": pk, "sk": f"REPORT#{item['time']}", **item},
        "ConditionExpression": "attribute_not_exists(pk)",
    }
    registry.table.transact({"Put": put}, {"Update": move})
    written = registry.table.get(pk, f"REPORT#{item['time']}")
    if written != item:
        return False
    _journal(registry, item)
    return True


def told(registry: Registry, model: str, time: str) -> None:
    """Write down that what was pending of a report has been told."""
    condition, names = "report = :report", {":none": None, ":report": time}
    registry.table.update(f"MODEL#{model}", SK, "SET pending = :none", names, condition=condition)


def listed(registry: Any, model: str) -> list[Item]:
    """The reports of a model, newest first."""
    return [without_keys(item) for item in registry.table.query(f"MODEL#{model}", "REPORT#")[::-1]]


def one(registry: Any, model: str, time: str) -> Item:
    """One report by its time, or the newest; raises NotFound (UNKNOWN_REPORT)."""
    if time == NEWEST:
        time = str((registry.table.get(f"MODEL#{model}", SK) or {}).get("report", ""))
    item: Item | None = registry.table.get(f"MODEL#{model}", f"REPORT#{time}") if time else None
    if item is None:
        raise NotFound(
            f"Model {model!r} has no report {time!r}." if time else f"Model {model!r} has no report yet.",
            code="UNKNOWN_REPORT",
            remedy="List its reports; one is made when enough rows came since the last.",
        )
    return item


def restore(registry: Registry, item: Item) -> None:
    """Put one journalled report back; MONITOR goes to the newest."""
    pk = f"MODEL#{item['model']}"
    registry.table.put({"pk": pk, "sk": f"REPORT#{item['time']}", **item})
    if str(state(registry, item["model"]).get("report", "")) < item["time"]:
        moved = {"report": item["time"], "until": item["until"], "version": item["version"]}
        registry.table.put({"pk": pk, "sk": SK, **moved, "drifting": item["drifted"], "pending": None})


def _journal(registry: Registry, item: Item) -> None:
    if registry.journal is not None:
        registry.journal.write_json(f"registry/models/{item['model']}/reports/{item['time']}.json", item)
