"""A handler or a job as a process of its own, which can be killed, stopped, starved and outlived.

Forked, not started anew: a process that imports the mill costs a second, and what is looked at is its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import boto3
from tests.fire.proxy import Request

from tidemill.core import clients

DIED = 70  # the exit code of a child whose work raised


@dataclass
class Child:
    """A process at work, and the pipe its answer comes by."""

    pid: int
    pipe: int

    def join(self, timeout_s: float = 120.0) -> Any:
        """Its answer; None where it was killed or raised. Past the time it is killed, as a function is."""
        deadline = time.monotonic() + timeout_s
        while os.waitpid(self.pid, os.WNOHANG)[0] == 0:
            if time.monotonic() > deadline:
                self.signal(signal.SIGKILL)
                os.waitpid(self.pid, 0)
                break
            time.sleep(0.005)
        with os.fdopen(self.pipe) as pipe:
            text = pipe.read()
        return json.loads(text) if text else None

    def signal(self, number: int) -> None:
        """Send it a signal, if it is still there."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


def start(do: Callable[[], Any], limits: dict[int, int] | None = None) -> Child:
    """Fork a child that does it under limits (RLIMIT_* -> bytes)."""
    reading, writing = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writing)
        return Child(pid, reading)
    code = DIED
    try:  # the child: nothing of pytest may go on in it
        os.close(reading)
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that a full disk is an error, as it is
        clients.forget()
        boto3.DEFAULT_SESSION = None
        for kind, most in (limits or {}).items():
            resource.setrlimit(kind, (most, most))
        answer = json.dumps(do()).encode()
        os.write(writing, answer)
        code = 0
    finally:
        os._exit(code)


def later(seconds: int) -> int:
    """The time of a clock that is ahead."""
    return int(time.time()) + seconds


@dataclass
class Deaths:
    """Kills the child at its first call, the next one at its second, and so on until one lives.

    `stage` names whose calls count; `moment` whether AWS has done the call by then.
    """

    stage: str
    moment: str  # "before" or "after"
    at: int = 1
    calls: int = 0
    killed: int = 0
    child: Child | None = None
    names: list[str] = field(default_factory=list)

    def choose(self, request: Request) -> str:
        """The act for a request: the kill where its turn has come."""
        if self.child is None:
            return ""
        self.calls += 1
        if self.calls != self.at:
            return ""
        self.names.append(request.name)
        return f"kill {self.moment}"

    def kill(self, request: Request) -> None:
        """End the child at this call."""
        assert self.child is not None
        self.child.signal(signal.SIGKILL)
        self.killed += 1
        self.at += 1

    def run(self, stage: str, do: Callable[[], Any]) -> Any:
        """Do it in a child, which may die; None where it did."""
        if stage != self.stage:
            return do()
        self.calls, doomed = 0, self.killed
        # The child waits until we know its pid: its first call may be its last.
        reading, writing = os.pipe()

        def told() -> Any:
            os.read(reading, 1)
            return do()

        self.child = start(told)
        os.write(writing, b"1")
        answer = self.child.join()
        self.child = None
        os.close(reading)
        os.close(writing)
        return None if self.killed > doomed else answer
