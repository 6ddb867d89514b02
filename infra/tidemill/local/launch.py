"""Run one command that dies with the process that started it: `python launch.py PARENT_PID COMMAND...`.

On Linux the kernel does it (PR_SET_PDEATHSIG survives exec); elsewhere this process stays and watches its parent.
Only the standard library, so that it starts in a few milliseconds.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1  # linux/prctl.h
WATCH_S = 0.5
NOT_FOUND = 127  # what a shell answers


def exec_tied(parent: int, command: list[str]) -> None:
    """Become the command, to be killed by the kernel when the parent dies."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before we asked
        os.kill(os.getpid(), signal.SIGKILL)
    os.execvp(command[0], command)  # noqa: S606


def watch(parent: int, command: list[str]) -> int:
    """Run the command as a child, pass SIGTERM on, kill it when the parent is gone; returns its exit code."""
    child = subprocess.Popen(command)
    signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    while os.getppid() == parent:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = child.wait(timeout=WATCH_S)
            return 128 - code if code < 0 else code
    child.kill()
    return 128 + signal.SIGKILL


def main() -> None:
    """Choose what the system offers."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    try:
        if sys.platform.startswith("linux"):
            exec_tied(parent, command)
        sys.exit(watch(parent, command))
    except OSError as error:
        print(f"CannotStartContainerError: {command[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(NOT_FOUND)


if __name__ == "__main__":
    main()
