"""Reading the request log: which rows came to a version in a window of time, and what it answered.

`serving.traffic` writes it and describes a record. Windows are cut by the time an object was written, which its key
says: a record is in exactly one window however late its environment wrote it.

Axes: n rows, k labels.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from tidemill.core.storage import Storage

Array = np.ndarray[Any, Any]
Record = dict[str, Any]

PREFIX = "traffic/"
MOST_FILES = 500  # read of a window, a sample of them where there are more: each takes some 20 ms and has 200 records
MOST_DAYS = 31  # a window is no longer
READERS = 8
BATCH = 32


@dataclass
class Window:
    """What was read of a window. Values stand by column; None is a missing value."""

    records: int = 0  # answered by the version
    others: int = 0  # answered by other versions, or by the challenger in the shadow
    refused: Counter[str] = field(default_factory=Counter)  # requests by the code of their refusal
    spoiled: int = 0  # lines that are no records
    files: int = 0
    files_read: int = 0
    first: str = ""  # times of the first and the last record
    last: str = ""
    columns: dict[str, list[Any]] = field(default_factory=dict)
    scores: list[Any] = field(default_factory=list)

    @property
    def rows(self) -> int:
        """The rows with scores."""
        return len(self.scores)


def read(artifacts: Storage, model: str, since: str, until: str, version: int, most_rows: int) -> Window:
    """The window of a version: objects written after `since` and not after `until` (ISO 8601, UTC)."""
    keys = list(keys_between(artifacts, model, since, until))
    chosen = sorted(keys, key=lambda key: zlib.crc32(key.encode()))[:MOST_FILES]
    window = Window(files=len(keys))
    for record in records(artifacts, sorted(chosen) if len(chosen) == len(keys) else chosen, window):
        _add(window, record, version, most_rows)
    return window


def scores_of(
    artifacts: Storage, model: str, until: str, version: int, wanted: set[tuple[str, int]]
) -> dict[tuple[str, int], Any]:
    """What the version answered to rows by request and row, the newest objects first; those not kept are left out."""
    since = (_moment(until) - timedelta(days=MOST_DAYS)).isoformat()
    keys = sorted(keys_between(artifacts, model, since, until), reverse=True)[: 2 * MOST_FILES]
    requests, found = {request for request, _ in wanted}, dict[tuple[str, int], Any]()
    for record in records(artifacts, keys) if wanted else ():
        if record["request"] not in requests or record["version"] != version or record.get("alias") == "shadow":
            continue
        for row, score in zip(record.get("index") or (), record.get("scores") or (), strict=False):
            if (record["request"], row) in wanted:
                found[record["request"], row] = score
        if len(found) == len(wanted):
            break
    return found


def keys_between(artifacts: Storage, model: str, since: str, until: str) -> Iterator[str]:
    """The keys of objects of the log that were written in a window."""
    first, last = _moment(since), _moment(until)
    day = max(first, last - timedelta(days=MOST_DAYS)).date()
    while day <= last.date():
        prefix = f"{PREFIX}{model}/{day:%Y-%m-%d}/"
        for entry in artifacts.keys(prefix):
            key = str(entry["Key"])
            written = _written(day.isoformat(), key.removeprefix(prefix))
            if written is not None and first < written <= last:
                yield key
        day += timedelta(days=1)


def records(artifacts: Storage, keys: Iterable[str], window: Window | None = None) -> Iterator[Record]:
    """The records of objects of the log; lines that are none are left out."""
    told, found = window if window is not None else Window(), list(keys)
    with ThreadPoolExecutor(READERS) as pool:
        for at in range(0, len(found), BATCH):  # a bounded number of objects in memory
            for body in pool.map(artifacts.read_bytes, found[at : at + BATCH]):
                told.files_read += 1
                yield from _lines(body, told)


def _lines(body: bytes, window: Window) -> Iterator[Record]:
    try:
        lines = gzip.decompress(body).splitlines()
    except (OSError, EOFError, zlib.error):
        window.spoiled += 1
        return
    for line in lines:
        try:
            record = json.loads(line)
            record["request"], record["status"], record["version"]
        except (ValueError, LookupError, TypeError):
            window.spoiled += 1
            continue
        yield record


def _add(window: Window, record: Record, version: int, most_rows: int) -> None:
    if record["version"] != version or record.get("alias") == "shadow":
        window.others += 1
        return
    window.records += 1
    at = str(record.get("at", ""))
    window.first, window.last = min(window.first or at, at), max(window.last, at)
    if record["status"] != 200:
        window.refused[str(record.get("code", record["status"]))] += 1
    if record.get("scores") and window.rows < most_rows:
        _add_rows(window, record)


def _add_rows(window: Window, record: Record) -> None:
    before, count = window.rows, len(record["scores"])
    columns = record.get("columns") or {}
    for name in columns.keys() | window.columns.keys():
        held = window.columns.setdefault(name, [None] * before)
        held += columns.get(name) or [None] * count
    window.scores += record["scores"]


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00")).astimezone(UTC)


def _written(day: str, name: str) -> datetime | None:
    """When an object was written, by its name HHMMSSmmm-environment-n.jsonl.gz; None for foreign objects."""
    try:
        return datetime.strptime(f"{day} {name[:9]}000 +0000", "%Y-%m-%d %H%M%S%f %z")
    except ValueError:
        return None
