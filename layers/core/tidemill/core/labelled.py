"""What became of rows that were predicted: labels people sent, joined with the rows in the request log.

Labels lie in `labels/{model}/*.jsonl`, one {"request", "row", "label", "at"} a line. Requests lie in
`traffic/{model}/{day}/*.jsonl.gz`, one a line; of the sampled ones `index` names the rows that were kept and `columns`
their values. The log is forgotten after some months, so rows once found are kept: `labelled/{model}/rows.jsonl.gz`.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import zlib
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from tidemill.core.errors import NotFound
from tidemill.core.limits import limit
from tidemill.core.storage import Storage

READERS, BATCH = 8, 32  # files of the log read at once, and held

Row = dict[str, Any]
Place = tuple[str, int]  # a request's id and the row's number in it
Found = dict[Place, tuple[str, Row]]  # the request's time and the row's columns


@dataclass(frozen=True)
class Labelled:
    """A row as it was sent for prediction, and what it turned out to be."""

    row: Row
    label: Any


@dataclass(frozen=True)
class Feedback:
    """Labelled rows, the oldest request first, and how many labels have none: not in the log, or values kept back."""

    rows: tuple[Labelled, ...] = ()
    unmatched: int = 0
    hidden: int = 0

    @property
    def digest(self) -> str:
        """The content: equal rows with equal labels, whatever the order, give equal digests."""
        lines = sorted(json.dumps([item.row, item.label], sort_keys=True, default=str) for item in self.rows)
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def read_feedback(model: str, artifacts: Storage, columns: Collection[str]) -> Feedback:
    """Every labelled row of a model that has all of `columns`; of more than the limit, those of the newest requests."""
    labels, kept = _labels(model, artifacts), _kept(model, artifacts)
    found = {place: kept[place] for place in labels if place in kept}
    fresh = _rows(model, artifacts, labels.keys() - found.keys())
    found |= fresh
    chosen = sorted(found, key=lambda place: (found[place][0], place))[-limit("labelled_rows") :]
    if fresh:
        _keep(model, artifacts, {place: found[place] for place in chosen})
    whole = [place for place in chosen if all(name in found[place][1] for name in columns)]
    rows = tuple(Labelled(found[place][1], labels[place]) for place in whole)
    return Feedback(rows, len(labels) - len(found), len(chosen) - len(whole))


def labels_in(body: bytes) -> list[tuple[Place, Any, str]]:
    """The labels in one file, each with its time; lines that are none are passed over: nothing is learned from them."""
    return [
        ((str(item["request"]), int(item.get("row", 0))), item["label"], str(item.get("at", "")))
        for item in _lines(body)
        if "request" in item and item.get("label") is not None
    ]


def _labels(model: str, artifacts: Storage) -> dict[Place, Any]:
    """The newest label of every row that has one."""
    said = [
        item for body in _bodies(artifacts, sorted(_keys(artifacts, f"labels/{model}/"))) for item in labels_in(body)
    ]
    return {place: label for place, label, _ in sorted(said, key=lambda item: item[2])}


def _rows(model: str, artifacts: Storage, wanted: Collection[Place]) -> Found:
    """The rows that are wanted, looked for from the newest file of the log to the oldest that are read."""
    requests, places, found = {request for request, _ in wanted}, set(wanted), Found()
    if not requests:
        return found
    newest = sorted(_keys(artifacts, f"traffic/{model}/"), reverse=True)[: limit("traffic_files")]
    for body in _bodies(artifacts, newest):
        for record in _lines(_unpacked(body)):
            if record.get("request") in requests and record.get("alias") != "shadow":
                requests.discard(record["request"])
                rows = {(record["request"], at): row for at, row in rows_of(record)}
                found |= {place: (str(record.get("at", "")), rows[place]) for place in rows.keys() & places}
        if not requests:
            break
    return found


def rows_of(record: Row) -> Iterator[tuple[int, Row]]:
    """The rows kept of a request, each with its number in it."""
    columns = record.get("columns") or {}
    for at, number in enumerate(record.get("index") or []):
        yield int(number), {name: values[at] for name, values in columns.items()}


def _kept(model: str, artifacts: Storage) -> Found:
    """The rows that earlier calls have found."""
    try:
        body = artifacts.read_bytes(f"labelled/{model}/rows.jsonl.gz")
    except NotFound:
        return {}
    return {(item["request"], item["row"]): (item["at"], item["columns"]) for item in _lines(_unpacked(body))}


def _keep(model: str, artifacts: Storage, found: Found) -> None:
    """Remember rows. Two calls at once forget each other's; those are found again while the log has them."""
    lines = [
        json.dumps({"request": request, "row": row, "at": at, "columns": columns})
        for (request, row), (at, columns) in found.items()
    ]
    body = gzip.compress("\n".join(lines).encode(), mtime=0)
    artifacts.write_bytes(f"labelled/{model}/rows.jsonl.gz", body, "application/gzip")


def _keys(artifacts: Storage, prefix: str) -> list[str]:
    return [str(item["Key"]) for item in artifacts.keys(prefix)]


def _bodies(artifacts: Storage, keys: list[str]) -> Iterator[bytes]:
    """The contents of files in their order, some read ahead."""
    with ThreadPoolExecutor(READERS) as pool:
        for start in range(0, len(keys), BATCH):
            yield from pool.map(artifacts.read_bytes, keys[start : start + BATCH])


def _unpacked(body: bytes) -> bytes:
    try:
        return gzip.decompress(body)
    except (OSError, EOFError, zlib.error):  # a broken file of the log costs its rows, not the training
        return b""


def _lines(body: bytes) -> Iterator[Row]:
    for line in body.splitlines():
        try:
            value = json.loads(line)
        except ValueError:
            continue
        if isinstance(value, dict):
            yield value
