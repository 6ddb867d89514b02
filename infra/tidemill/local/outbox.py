"""What local Batch tells others, in order: state changes to EventBridge, output lines to CloudWatch Logs."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from tidemill.local.clients import root_client
from tidemill.local.jobs import Job, shown
from tidemill.local.state import Secrets

SOURCE = "local.batch"  # PutEvents may not speak for aws.batch, here as on AWS
LOG_GROUP = "/aws/batch/job"
TRIES = 10
PAUSE_S = 0.5
EVENT_BYTES = 200_000  # of CloudWatch's 256 KiB for one line

log = logging.getLogger("tidemill.batch")


class Outbox:
    """Calls that are made one after the other by one task, each tried again until it is answered."""

    def __init__(self, endpoint: str, secrets: Secrets) -> None:
        self._events = root_client("events", endpoint, secrets)
        self._logs = root_client("logs", endpoint, secrets)
        self._queue: asyncio.Queue[Callable[[], Any]] = asyncio.Queue()

    def tell(self, job: Job) -> None:
        """Announce the state a job is in now."""
        entry = {
            "Source": SOURCE,
            "DetailType": "Batch Job State Change",
            "Resources": [job["jobArn"]],
            "Detail": json.dumps(shown(job)),
        }
        self._queue.put_nowait(lambda: self._events.put_events(Entries=[entry]))

    def open_log(self, stream: str) -> None:
        """Make the group, if it is not there, and a stream."""

        def create() -> None:
            with contextlib.suppress(self._logs.exceptions.ResourceAlreadyExistsException):
                self._logs.create_log_group(logGroupName=LOG_GROUP)
            with contextlib.suppress(self._logs.exceptions.ResourceAlreadyExistsException):
                self._logs.create_log_stream(logGroupName=LOG_GROUP, logStreamName=stream)

        self._queue.put_nowait(create)

    def write_log(self, stream: str, lines: list[str]) -> None:
        """Append lines to a stream."""
        at = int(time.time() * 1000)
        events = [{"timestamp": at, "message": line[:EVENT_BYTES] or " "} for line in lines]
        call = {"logGroupName": LOG_GROUP, "logStreamName": stream, "logEvents": events}
        self._queue.put_nowait(lambda: self._logs.put_log_events(**call))

    async def drained(self) -> None:
        """Return when all was said."""
        await self._queue.join()

    async def run(self) -> None:
        """Make the calls, for ever."""
        while True:
            call = await self._queue.get()
            await self._made(call)
            self._queue.task_done()

    async def _made(self, call: Callable[[], Any]) -> None:
        for left in reversed(range(TRIES)):
            try:
                await asyncio.to_thread(call)
                return
            except (BotoCoreError, ClientError) as error:
                if left == 0:
                    log.warning("gave up telling: %s", error)
                await asyncio.sleep(PAUSE_S)
