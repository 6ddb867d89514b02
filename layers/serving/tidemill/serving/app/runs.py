"""Runs and what their training jobs wrote."""

from __future__ import annotations

import time
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tidemill.core import costs, prices
from tidemill.core.jobs import wait_of
from tidemill.core.retries import is_held, job_of
from tidemill.serving.app import shapes
from tidemill.serving.app.access import OPERATE
from tidemill.serving.app.parameters import ModelName, RunId, Since, UploadId
from tidemill.serving.app.plain import public
from tidemill.serving.app.world import Item, World

LOG_GROUP = "/aws/batch/job"
LOG_PAGE = 1000
ENDED = frozenset({"READY", "REJECTED", "FAILED", "SUPERSEDED", "CANCELLED"})


def routes(world: World) -> APIRouter:
    """The run routes over one world."""
    router = APIRouter(tags=["runs"])
    registry = world.registry

    @router.get("/models/{model}/runs", response_model=shapes.Runs, openapi_extra=OPERATE)
    def list_runs(name: ModelName, upload: UploadId = None) -> JSONResponse:
        """List the runs of a model, newest first; `upload` finds the run of one upload."""
        found = registry.runs(name)
        if not found:
            registry.model(name)  # raises UnknownModel
        if upload is not None:
            found = [with_wait(world, run) for run in found if of_upload(run, upload)]
        return JSONResponse({"runs": [shown(run) for run in found]})

    @router.get("/models/{model}/runs/{run}", response_model=shapes.Run, openapi_extra=OPERATE)
    def get_run(name: ModelName, run: RunId) -> JSONResponse:
        """Show a run: its state, how far it is, why it waits, and how it ended."""
        return JSONResponse(shown(with_wait(world, registry.run(name, run))))

    @router.get("/models/{model}/runs/{run}/logs", response_model=shapes.Logs, openapi_extra=OPERATE)
    def get_logs(name: ModelName, run: RunId, since: Since = 0) -> JSONResponse:
        """Read what the training job of a run wrote, oldest first, a page at a time."""
        return JSONResponse(_page(world, registry.run(name, run), since))

    return router


def shown(run: Item) -> dict[str, Any]:
    """A run with what its job has cost."""
    return {**public(run), "cost": costs.spent(run, prices.load())}


def with_wait(world: World, run: Item) -> Item:
    """The run with the reason why its job waits, where it does; a run is shown whether Batch answers or not."""
    waits = run["state"] == "SUBMITTED" or (run["state"] == "RUNNING" and not is_held(run))
    name = job_of(run) if waits else None
    if world.batch is None or not name:
        return run
    try:
        wait = wait_of(world.batch, name)
    except (BotoCoreError, ClientError):
        return run
    return {**run, "wait": wait} if wait else run


def of_upload(run: Item, upload: str) -> bool:
    """Whether a run came from this upload: its key is uploads/{model}/[retrain/]{upload}/{filename}."""
    parts = str((run.get("upload") or {}).get("key", "")).split("/")
    return upload in parts[2:-1]


def _page(world: World, run: Item, since: int) -> dict[str, Any]:
    """One page of the run's log stream, and where the next page starts.

    The next page begins with the last millisecond of this one, because more lines may still come with that time.
    """
    stream = _stream(run)
    events = _events(world, stream, since) if stream else []
    lines: list[Item] = [
        {"at_ms": int(event["timestamp"]), "message": str(event["message"])[:8192]} for event in events
    ]
    last = int(lines[-1]["at_ms"]) if lines else since
    stuck = len(lines) >= LOG_PAGE and last == since
    return {"lines": lines, "next": last + 1 if stuck else last, "ended": run.get("state") in ENDED}


def _stream(run: Item) -> str:
    """Where the run's job wrote: told by the job itself, or by its end when it died too early for that."""
    where = str((run.get("reason") or {}).get("where") or "")
    return str(run.get("log_stream") or "") or ("" if where.startswith("s3://") else where)


def _events(world: World, stream: str, since: int) -> list[Item]:
    try:
        found = world.logs.get_log_events(
            logGroupName=LOG_GROUP,
            logStreamName=stream,
            startTime=since,
            endTime=time.time_ns() // 1_000_000 + 60_000,
            startFromHead=True,
            limit=LOG_PAGE,
        )
    except ClientError as error:
        if error.response.get("Error", {}).get("Code") == "ResourceNotFoundException":
            return []  # the job has not written its first line yet
        raise
    events: list[Item] = found["events"]
    return events
