"""Runs the jobs of local Batch as processes: one at a time, attempt by attempt, until they end."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets as random
import shutil
import signal
import socket
import sys
from functools import partial
from pathlib import Path

from tidemill.local import launch
from tidemill.local.definitions import load_catalogue
from tidemill.local.jobs import (
    ACTIVE,
    CONTAINER_EXITED,
    ENDED,
    HOST_LOST,
    TIMED_OUT,
    Ending,
    Job,
    Table,
    attempt_of,
    now_ms,
    retried,
)
from tidemill.local.outbox import Outbox
from tidemill.local.process import INHERITED
from tidemill.local.state import REGION, Folder

GRACE_S = 30.0  # between SIGTERM and SIGKILL, Docker's default on a Batch host
STOP_GRACE_S = 10.0  # the same when the whole stack stops
READY_S = 0.2
FLUSH_S = 0.5
LINE_BYTES = 65536
LINES = 200
WAITING = "Waiting for the jobs before it: the local stack runs one at a time."

log = logging.getLogger("tidemill.batch")


class Runner:
    """The scheduler: takes the oldest runnable job when there is room."""

    def __init__(self, folder: Folder, table: Table, outbox: Outbox, endpoint: str, at_once: int = 1) -> None:
        self.folder, self.table, self.outbox, self.endpoint, self.at_once = folder, table, outbox, endpoint, at_once
        self.tokens: dict[str, str] = {}  # job -> what it shows to get its role's keys
        self._running: dict[str, asyncio.Task[None]] = {}
        self._processes: dict[str, list[asyncio.subprocess.Process]] = {}  # of each node, the main one first
        self._wake = asyncio.Event()
        self._kept: set[asyncio.Task[None]] = set()
        self._stopping = False

    async def run(self) -> None:
        """Wait for the first deployment, put right what a killed server left, then schedule for ever."""
        while not self.folder.catalogue.exists() or self.folder.unsettled.exists():
            await asyncio.sleep(READY_S)
        self._recover()
        while not self._stopping:
            waiting = [job for job in self.table.waiting() if job["jobId"] not in self._running]
            for job in waiting[: self.at_once - len(self._running)]:
                task = asyncio.create_task(self._attempt(job))
                self._running[job["jobId"]] = task
                task.add_done_callback(partial(self._freed, job["jobId"]))
            self._wake.clear()
            await self._wake.wait()

    def submit(self, job: Job) -> None:
        """Take a new job in."""
        self._set(job, "SUBMITTED")
        job["statusReason"] = WAITING
        self._set(job, "RUNNABLE")
        self._wake.set()

    def terminate(self, job: Job, reason: str) -> None:
        """End a job: at once where it waits, by SIGTERM and then SIGKILL where it runs."""
        job["isTerminated"] = True
        if job["status"] in ENDED:
            return
        job["_terminated"] = reason
        self.table.save(job)
        if processes := self._processes.get(job["jobId"]):
            self._keep(asyncio.create_task(_end(processes, GRACE_S)))
        elif job["jobId"] not in self._running:
            self._end(job, "FAILED", reason)

    async def stop(self) -> None:
        """End the running jobs so that they start again with the stack; such an attempt is not counted."""
        self._stopping = True
        self._wake.set()
        await asyncio.gather(*(_end(processes, STOP_GRACE_S) for processes in self._processes.values()))
        await asyncio.gather(*self._running.values(), return_exceptions=True)

    def _keep(self, task: asyncio.Task[None]) -> None:
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    def _freed(self, key: str, task: asyncio.Task[None]) -> None:
        del self._running[key]
        if not task.cancelled() and task.exception() is not None:
            log.error("job %s broke local Batch", key, exc_info=task.exception())
        self._wake.set()

    def _recover(self) -> None:
        """Jobs that ran when the server was killed have lost their host, as on a Spot interruption."""
        for job in list(self.table.jobs.values()):
            if job["status"] in ACTIVE:
                self._settle(job, Ending(None, HOST_LOST))

    def _set(self, job: Job, status: str) -> None:
        job["status"] = status
        self.table.save(job)
        self.outbox.tell(job)

    def _end(self, job: Job, status: str, reason: str) -> None:
        job["statusReason"], job["stoppedAt"] = reason, now_ms()
        self.tokens.pop(job["jobId"], None)
        shutil.rmtree(self._work(job), ignore_errors=True)
        self._set(job, status)

    def _settle(self, job: Job, ending: Ending) -> None:
        """After an attempt: the end of the job, or its next attempt."""
        if "_terminated" in job:
            ending = Ending(ending.exit_code, job["_terminated"], final=True)
        job["attempts"].append(attempt_of(job, ending))
        job["container"].update(job["attempts"][-1]["container"])
        if retried(ending, job["retryStrategy"], len(job["attempts"])):
            job["statusReason"] = ending.status_reason
            self._set(job, "RUNNABLE")
        else:
            won = ending.exit_code == 0 and not ending.final
            self._end(job, "SUCCEEDED" if won else "FAILED", ending.status_reason)

    async def _attempt(self, job: Job) -> None:
        """One attempt from start to end."""
        job["container"].pop("exitCode", None)
        job["container"].pop("reason", None)
        stream = f"{job['jobDefinition'].rpartition('/')[2].partition(':')[0]}/default/{random.token_hex(16)}"
        job["container"]["logStreamName"] = stream
        job.pop("statusReason", None)
        self._set(job, "STARTING")
        self.outbox.open_log(stream)
        processes = self._processes[job["jobId"]] = await self._launch(job)
        job["startedAt"] = now_ms()
        self._set(job, "RUNNING")
        if "_terminated" in job:  # asked for while it started
            self._keep(asyncio.create_task(_end(processes, GRACE_S)))
        reading = [self._read_output(job, node, process, stream) for node, process in enumerate(processes)]
        read = asyncio.gather(*reading)
        ending = await self._ending(job, processes)
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(read, timeout=5)
        del self._processes[job["jobId"]]
        if self._stopping and ending.exit_code != 0:
            job["statusReason"] = "The local stack was stopped."
            self._set(job, "RUNNABLE")
        else:
            self._settle(job, ending)

    async def _ending(self, job: Job, processes: list[asyncio.subprocess.Process]) -> Ending:
        """How the attempt ended: as its main node did, with which the others are ended."""
        process = processes[0]
        limit = job.get("timeout", {}).get("attemptDurationSeconds")
        try:
            await asyncio.wait_for(process.wait(), timeout=limit)
            timed_out = False
        except TimeoutError:
            timed_out = True
            await _end(processes, GRACE_S)
        for each in processes:
            _kill_group(each)
        code = process.returncode or 0
        code = 128 - code if code < 0 else code
        if timed_out:
            return Ending(code, TIMED_OUT, final=True)
        reason = "CannotStartContainerError: the command was not found" if code == launch.NOT_FOUND else ""
        return Ending(code, CONTAINER_EXITED, reason)

    async def _launch(self, job: Job) -> list[asyncio.subprocess.Process]:
        """Start the command, once for each node."""
        words = job["container"]["command"]
        command = [sys.executable, *words[1:]] if words[:1] in (["python"], ["python3"]) else words
        work = self._work(job)
        shutil.rmtree(work, ignore_errors=True)  # every attempt starts with empty volumes
        work.mkdir(parents=True, exist_ok=True, mode=0o700)
        given = self._environment(job, work)
        return [
            await asyncio.create_subprocess_exec(
                sys.executable, "-I", "-S", launch.__file__, str(os.getpid()), *command,
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
                start_new_session=True, cwd=work, env={**given, **node}, limit=LINE_BYTES,
            )
            for node in _nodes(job)
        ]  # fmt: skip

    def _environment(self, job: Job, work: Path) -> dict[str, str]:
        """What the container would see, with a folder in the place of each mounted volume."""
        catalogue = load_catalogue(self.folder)
        mounts = job.get("_mounts", [])
        given = {item["name"]: _mounted(item["value"], mounts, work) for item in job["container"]["environment"]}
        token = self.tokens.setdefault(job["jobId"], random.token_urlsafe(32))
        return {
            **{name: os.environ[name] for name in INHERITED if name in os.environ},
            "TMPDIR": str(work),
            "JAX_COMPILATION_CACHE_DIR": os.environ.get("JAX_COMPILATION_CACHE_DIR") or str(self.folder.compiled),
            "TIDEMILL_LOG_STREAM": str(job["container"].get("logStreamName", "")),
            "PYTHONPATH": os.pathsep.join(catalogue.python_path if catalogue else ()),
            "PYTHONUNBUFFERED": "1",
            **given,
            "AWS_BATCH_JOB_ID": job["jobId"],
            "AWS_BATCH_JOB_ATTEMPT": str(len(job["attempts"]) + 1),
            "AWS_BATCH_JQ_NAME": job["jobQueue"].rpartition("/")[2],
            "AWS_BATCH_CE_NAME": "local",
            "AWS_REGION": REGION,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{self.endpoint}/_tidemill/jobs/{job['jobId']}/credentials",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN": token,
        }

    def _work(self, job: Job) -> Path:
        return self.folder.scratch / "jobs" / str(job["jobId"])

    async def _read_output(self, job: Job, node: int, process: asyncio.subprocess.Process, stream: str) -> None:
        """Copy lines to the job's file at once, and to the log in groups; those of other nodes with their number."""
        assert process.stdout is not None  # noqa: S101
        lines: list[str] = []
        flushed = asyncio.get_running_loop().time()
        reading = asyncio.create_task(_line(process.stdout))
        with (self.folder.logs / "jobs" / f"{job['jobId']}.log").open("a") as file:
            while True:
                await asyncio.wait({reading}, timeout=FLUSH_S)
                line = reading.result() if reading.done() else None
                if line:
                    text = line.decode(errors="replace").rstrip("\r\n")
                    lines.append(f"[node {node}] {text}" if node else text)
                    file.write(lines[-1] + "\n")
                    file.flush()
                now = asyncio.get_running_loop().time()
                if lines and (not line or now - flushed > FLUSH_S or len(lines) >= LINES):
                    self.outbox.write_log(stream, lines)
                    lines, flushed = [], now
                if line == b"":
                    return
                if line is not None:
                    reading = asyncio.create_task(_line(process.stdout))


async def _line(reader: asyncio.StreamReader) -> bytes:
    """A line, or as much of one as fits."""
    try:
        return await reader.readuntil(b"\n")
    except asyncio.IncompleteReadError as error:
        return error.partial
    except asyncio.LimitOverrunError as error:
        return await reader.readexactly(error.consumed)


async def _end(processes: list[asyncio.subprocess.Process], grace_s: float) -> None:
    """SIGTERM to the command on every node, SIGKILL to all it started once the main one has ended."""
    for process in processes:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
    with contextlib.suppress(asyncio.TimeoutError):
        await asyncio.wait_for(processes[0].wait(), timeout=grace_s)
    for process in processes:
        _kill_group(process)


def _nodes(job: Job) -> list[dict[str, str]]:
    """What Batch tells each node of a job of itself and of the others; nothing where there is one."""
    count = int(job.get("nodeProperties", {}).get("numNodes", 1))
    if count == 1:
        return [{}]
    with socket.socket() as probe:  # on AWS every node has an address of its own, here they share one
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {"AWS_BATCH_JOB_NUM_NODES": str(count), "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0", "TIDEMILL_NODES_PORT": port}
    main = {"AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS": "127.0.0.1"}  # which the main node is not told
    return [
        {**shared, **(main if node else {}), "AWS_BATCH_JOB_NODE_INDEX": str(node), "AWS_BATCH_JOB_ID": f"{key}#{node}"}
        for node, key in enumerate([job["jobId"]] * count)
    ]


def _kill_group(process: asyncio.subprocess.Process) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _mounted(value: str, mounts: list[str], work: Path) -> str:
    """A path below a mounted volume becomes one below the job's own folder."""
    for mount in mounts:
        if value == mount or value.startswith(mount.rstrip("/") + "/"):
            target = work / value.lstrip("/")
            (work / mount.lstrip("/")).mkdir(parents=True, exist_ok=True)
            return str(target)
    return value
