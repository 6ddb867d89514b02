"""The edges of patience: at which second the sweep takes a thing for lost, sends it again, or gives it up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.edges.edge import Edge

from tidemill.core.limits import limit
from tidemill.core.settings import Settings
from tidemill.core.stalled import message_of
from tidemill.core.sweep import Sweep

AT = datetime(2026, 6, 1, tzinfo=UTC)
LONG_AGO = "2026-01-01T00:00:00+00:00"
UPLOAD = {"bucket": "b", "key": "uploads/m/u/t.csv", "size_bytes": 1, "etag": "e", "sequencer": "0A", "time": LONG_AGO}


class World:
    """A registry, a bucket, queues and Batch with at most one thing in each, and what is done to them."""

    def __init__(self, run: Any = None, entry: Any = None, job: Any = None, until: datetime | None = None) -> None:
        self.run_now, self.entry, self.job = run, entry, job
        self.mark = {"swept_at": AT.isoformat(), "awake_since": LONG_AGO}
        self.mark |= {"uploads_until": until.isoformat(), "requests_until": until.isoformat()} if until else {}
        self.did: list[str] = []
        self.bucket, self.table, self.client = "b", self, self

    def get(self, pk: str, sk: str) -> Any:
        """The mark of the sweep before, or the run."""
        return self.mark if pk == "SWEEP" else self.run_now

    def query(self, pk: str, prefix: str = "") -> list[Any]:
        """The one model."""
        return [{"sk": "m"}] if pk == "MODELS" and self.run_now else []

    def runs(self, model: str) -> list[Any]:
        """The one run."""
        return [self.run_now] if self.run_now else []

    def update(self, *_: Any, **__: Any) -> Any:
        """Everything may be changed."""
        return {}

    def alias(self, model: str) -> None:
        """Nothing is in service."""

    def receive(self, *_: Any) -> None:
        """Note that an upload was found."""
        self.did.append("found")

    def advance(self, *_: Any, **__: Any) -> None:
        """Note that a run was given its end."""
        self.did.append("given up")

    def decide(self, *_: Any) -> None:
        """Note that a version was given its end."""
        self.did.append("given up")

    def send_message(self, **_: Any) -> None:
        """Note that a message was sent."""
        self.did.append("sent")

    def terminate_job(self, **_: Any) -> None:
        """Note that a job was ended."""
        self.did.append("ended")

    def get_paginator(self, operation: str) -> Any:
        """The list of objects, or that of jobs."""
        return self

    def paginate(self, **asked: Any) -> Iterator[dict[str, Any]]:
        """One page."""
        listed = asked.get("jobStatus") == "RUNNING" and self.job
        here = self.entry and asked.get("Prefix") == "uploads/"
        yield {"jobSummaryList": [self.job] if listed else [], "Versions": [self.entry] if here else []}

    def describe_jobs(self, jobs: list[str]) -> dict[str, Any]:
        """The job, which has failed where no other is known."""
        return {"jobs": [self.job or {"jobId": "j", "status": "FAILED"}]}

    def swept(self, queue: str = "") -> str:
        """What a sweep does, in a word."""
        any_of: Any = self
        Sweep(any_of, any_of, any_of, Settings(job_queue=queue), any_of, any_of, at=AT).run()
        return self.did[0] if self.did else ""


def ago(age_s: int) -> datetime:
    """So many seconds before the sweep."""
    return AT - timedelta(seconds=age_s)


def run_in(state: str, age_s: int, **more: Any) -> dict[str, Any]:
    """A run that came into its state so long ago."""
    times = {"received": LONG_AGO, state.lower(): ago(age_s).isoformat(), "ended": ago(age_s).isoformat()}
    return {"run": "r-1", "model": "m", "state": state, "version": 1, "upload": UPLOAD, "times": times, **more}


def waiting(state: str) -> Callable[[int, Path], str]:
    """A run that has been in a state for so long, whose job, where it needs one, has failed."""
    held = {"job": "j"} if state in ("SUBMITTED", "RUNNING") else {}
    return lambda age_s, _: World(run_in(state, age_s, **held)).swept()


def upload(age_s: int, mark: datetime | None = None) -> str:
    """An upload of which no run is known."""
    entry = {"Key": "uploads/m/u/t.csv", "LastModified": ago(age_s), "Size": 1, "ETag": '"e"', "IsLatest": True}
    return World(entry=entry, until=mark).swept()


def overlap(age_s: int, folder: Path) -> str:
    """An upload from so long before the end of what the sweep before looked through."""
    return upload(age_s + limit("sweep_upload"), ago(limit("sweep_upload")))


def orphan(age_s: int, folder: Path) -> str:
    """A job without a run, submitted so long ago."""
    names = {"model": "m", "run": "r-1"}
    made = int(ago(age_s).timestamp() * 1000)
    return World(job={"jobId": "j", "createdAt": made, "status": "RUNNING", "parameters": names}).swept("queue")


def scoring(age_s: int, folder: Path) -> str:
    """A scoring of which nothing was heard for so long."""
    item = {"state": "RUNNING", "times": {"started": ago(age_s).isoformat()}, "request": UPLOAD}
    return "sent" if message_of(item, None, AT) else ""


STATES = ("RECEIVED", "PREPARED", "SUBMITTED", "RUNNING", "READY")
EDGES = {
    **{f"again_{state.lower()}": Edge(waiting(state), "", at="sent", step=-1) for state in STATES},
    **{f"late_{state.lower()}": Edge(waiting(state), "given up", at="sent") for state in STATES},
    "again_scoring": Edge(scoring, "", at="sent", step=-1),
    "sweep_upload": Edge(lambda age_s, _: upload(age_s), "", at="found", step=-1),
    "sweep_overlap": Edge(overlap, "", at="found"),
    "sweep_job": Edge(orphan, "ended"),
}
