"""The request log: a record of every request to a model in service, gathered in memory and written to S3 in batches.

An object `traffic/{model}/{yyyy-mm-dd}/{HHMMSSmmm}-{environment}-{n}.jsonl.gz` has a record a line: request, at, model,
version, alias, route, status, ms, rows (how many the request had), code (of a refusal). Of the sampled requests also
`index` (which rows are kept), `columns` (their values by column, as they were sent, without private ones and without
pictures) and `scores` (probabilities in the order of the labels, or values).

The request that finds the log due writes it: the first of an environment, then whenever 30 seconds went by since the
last time or 200 records came together. A write that fails fails no request. What an environment gathered since its
last write is lost when it ends.
"""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Protocol

from tidemill.core.errors import TidemillError

DUE_RECORDS = 200
DUE_S = 30.0
DUE_BYTES = 1 << 20  # of lines, before they are packed
MOST_BYTES = 4 << 20  # kept while S3 does not answer; what comes then is dropped
GZIP = 31  # what tells zlib to write gzip; importing the module of that name costs a cold start a millisecond
RECORD_BYTES = 256 << 10  # a record of more keeps fewer rows

Note = dict[str, Any]
_ENCODER = json.JSONEncoder(allow_nan=False, check_circular=False, separators=(",", ":"), default=str)


class Objects(Protocol):
    """Where the log is written to."""

    def put_object(self, bucket: str, key: str, body: bytes, content_type: str) -> None: ...


@dataclass
class Seen:
    """What one request brought and got; `monitor` says what of it may be kept, None: nothing at all."""

    monitor: Mapping[str, Any] | None = None
    alias: str = "champion"
    columns: Sequence[str] = ()  # of the rows, those that may be kept
    rows: Sequence[Mapping[str, Any]] = ()
    answers: Sequence[Mapping[str, Any]] = ()
    beside: list[tuple[int, Seen]] = field(default_factory=list)  # versions that scored it unseen


@dataclass
class _Gathered:
    """The lines of one model that wait to be written."""

    lines: list[bytes] = field(default_factory=list)
    size: int = 0
    next_s: float = 0.0  # when they are due however few they are
    failed: bool = False  # the last write, so that only time makes them due


class Traffic:
    """The request log of one environment."""

    def __init__(self, objects: Objects, bucket: str, clock: Callable[[], float] = time.time) -> None:
        self.objects, self.bucket, self.clock = objects, bucket, clock
        self.environment, self.written = os.urandom(6).hex(), 0
        self.waiting: dict[str, _Gathered] = {}
        self.lock = threading.Lock()  # the control plane answers in several threads

    def keep(self, note: Note, seen: Seen) -> None:
        """Remember one request and write what is due; never raises, says in the note what was lost."""
        if seen.monitor is None or not seen.monitor.get("enabled", True):
            return
        try:
            line = self._line(note, seen)
            with self.lock:
                gathered = self.waiting.setdefault(note["model"], _Gathered())
                if gathered.size + len(line) <= MOST_BYTES:
                    gathered.lines.append(line)
                    gathered.size += len(line)
                else:
                    note["traffic"] = "FULL"
                for model in [name for name, held in self.waiting.items() if self._due(held)]:
                    self._write(model, self.waiting[model])
        except TidemillError as error:
            note["traffic"] = error.code
        except Exception as error:  # noqa: BLE001 - an answer must not fail because it cannot be written down
            note["traffic"] = type(error).__name__

    def _line(self, note: Note, seen: Seen) -> bytes:
        named = ("request", "model", "version", "route", "status", "ms", "rows", "code")
        at = datetime.fromtimestamp(self.clock(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        alias = note.get("alias", seen.alias)
        record = {**{name: note[name] for name in named if name in note}, "alias": alias, "at": at}
        limit = _rows_kept(str(note["request"]), seen.monitor or {})
        line = _ENCODER.encode(record | _values(seen, limit)).encode()
        while len(line) > RECORD_BYTES and limit:
            limit //= 2
            line = _ENCODER.encode(record | _values(seen, limit)).encode()
        return line

    def _due(self, held: _Gathered) -> bool:
        if not held.lines:
            return False
        full = len(held.lines) >= DUE_RECORDS or held.size >= DUE_BYTES
        return self.clock() >= held.next_s or (full and not held.failed)

    def _write(self, model: str, held: _Gathered) -> None:
        """One object; where it fails the lines stay, to be tried again when they are due by time."""
        body = zlib.compress(b"\n".join(held.lines) + b"\n", 6, wbits=GZIP)
        self.written += 1
        at = datetime.fromtimestamp(self.clock(), UTC)
        stamp = f"{at:%Y-%m-%d/%H%M%S}{at.microsecond // 1000:03d}"
        held.next_s, held.failed = self.clock() + DUE_S, True
        key = f"traffic/{model}/{stamp}-{self.environment}-{self.written}.jsonl.gz"
        self.objects.put_object(self.bucket, key, body, "application/gzip")
        held.lines, held.size, held.failed = [], 0, False


def _rows_kept(request: str, monitor: Mapping[str, Any]) -> int:
    """How many rows of a request may be kept: none where it is not in the sample, which its id decides."""
    drawn = zlib.crc32(request.encode()) / (1 << 32)
    return int(monitor.get("rows", 100)) if drawn < float(monitor.get("sample", 1.0)) else 0


def _values(seen: Seen, limit: int) -> Note:
    """The kept rows and their scores; without settings nobody knows what is private, and no value is kept."""
    if not limit or not seen.answers:
        return {}
    step = -(-len(seen.answers) // limit)
    index = range(0, len(seen.answers), step)
    private = set((seen.monitor or {}).get("private", ())) if seen.monitor else set(seen.columns)
    columns = {name: [seen.rows[at].get(name) for at in index] for name in seen.columns if name not in private}
    return {"index": list(index), "columns": columns, "scores": [_score(seen.answers[at]) for at in index]}


def _score(answer: Mapping[str, Any]) -> Any:
    return list(answer["probabilities"].values()) if "probabilities" in answer else answer["value"]
