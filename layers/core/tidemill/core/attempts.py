"""What came of every wish to train a model again: `MODEL#m | RETRAIN#time`, the reason where nothing was started."""

from __future__ import annotations

import time
from typing import Any

from tidemill.core.clock import now
from tidemill.core.registry import Item, Registry
from tidemill.core.table import without_keys

STARTED = "STARTED"
REFUSED = "REFUSED"


def attempts(model: str, registry: Registry) -> list[Item]:
    """Every attempt, the newest first."""
    return [without_keys(item) for item in registry.table.query(f"MODEL#{model}", "RETRAIN#")[::-1]]


def started(model: str, registry: Registry, why: str, upload: str, **fields: Any) -> Item:
    """Write down that an upload was made to be learned from; once, however often the same wish comes."""
    for item in attempts(model, registry):
        if item.get("upload") == upload:
            return journalled(registry, item)
    at = _new_time(model, registry)
    return _put(registry, {"model": model, "at": at, "state": STARTED, "why": why, "upload": upload, **fields})


def refused(model: str, registry: Registry, why: str, reason: Item, **fields: Any) -> Item:
    """Write down why nothing was started. A clock that is refused again for the same reason is counted, not listed."""
    item = {"model": model, "at": _new_time(model, registry), "state": REFUSED, "why": why, "reason": reason, **fields}
    last = next(iter(attempts(model, registry)), None)
    if last is not None and "ask" not in item and _same(last, item):
        return _put(registry, {**last, "again": int(last.get("again", 0)) + 1, "last": item["at"]})
    return _put(registry, item)


def _new_time(model: str, registry: Registry) -> str:
    """A time that no other attempt has: to the millisecond, it is what tells them apart."""
    while registry.table.get(f"MODEL#{model}", f"RETRAIN#{(at := now())}") is not None:
        time.sleep(0.001)
    return at


def _same(last: Item, item: Item) -> bool:
    return all(last.get(name) == item[name] for name in ("state", "why")) and (
        last.get("reason", {}).get("code") == item["reason"]["code"] and "ask" not in last
    )


def _put(registry: Registry, item: Item) -> Item:
    registry.table.put({"pk": f"MODEL#{item['model']}", "sk": f"RETRAIN#{item['at']}", **item})
    return journalled(registry, item)


def journalled(registry: Registry, item: Item) -> Item:
    """The attempt, written into the journal too: again where it may have been the last thing a killed process did."""
    if registry.journal is not None:
        registry.journal.write_json(f"registry/models/{item['model']}/retrains/{item['at']}.json", item)
    return item
