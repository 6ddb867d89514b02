"""The server process seen from outside: start it, ask whether it answers, stop it and all it started."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

from tidemill.local.errors import PortInUse, ServerFailed
from tidemill.local.state import ADMIN_HEADER, Folder, Secrets, identity, read_json, same_boot

START_S = 60.0
STOP_S = 30.0
LOG_BYTES = 8 << 20
# What the server, and through it functions and jobs, take over from the person's shell: no keys, no proxies.
INHERITED = (
    "PATH",
    "HOME",
    "LANG",
    "LC_ALL",
    "TZ",
    "LD_LIBRARY_PATH",
    "XLA_FLAGS",
    "JAX_PLATFORMS",
    "JAX_COMPILATION_CACHE_DIR",
    "CUDA_VISIBLE_DEVICES",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
)


def start(folder: Folder, secrets: Secrets, port: int) -> int:
    """Start the server in a session of its own and wait until it answers; returns its pid."""
    _clear_leftovers(folder)
    _check_port(port)
    log = folder.logs / "server.log"
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".1.log"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidemill.local.server", "--state", str(folder.root), "--port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            cwd=folder.root,
            env={name: os.environ[name] for name in INHERITED if name in os.environ},
        )
    deadline = time.monotonic() + START_S
    while not healthy(port, secrets):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise _not_started(log, port)
        time.sleep(0.05)
    process.returncode = 0  # it outlives us: nobody here waits for it
    return process.pid


def stop(pid: int, known: str) -> None:
    """SIGTERM, patience, SIGKILL; then whatever is left of its process group."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while identity(pid) == known and time.monotonic() < deadline:
        time.sleep(0.05)
    if identity(pid) == known:
        os.kill(pid, signal.SIGKILL)
    _kill_group(pid)


def healthy(port: int, secrets: Secrets) -> bool:
    """Whether our own server answers there: only it knows the admin key."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    try:
        connection.request("GET", "/_ministack/health", headers={ADMIN_HEADER: secrets.admin})
        return bool(json.load(connection.getresponse())["auth"] == "enabled")
    except (OSError, ValueError, KeyError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _not_started(log: Path, port: int) -> ServerFailed:
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    return ServerFailed(
        f"The server on port {port} did not start. The end of {log}:\n{tail}",
        remedy="Read the log; try `tidemill doctor`.",
    )


def _check_port(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortInUse(
                f"Port {port} on 127.0.0.1 is in use by another program ({error.strerror}).",
                remedy="Stop that program or choose another port with --port.",
                port=port,
            ) from error


def _clear_leftovers(folder: Folder) -> None:
    """End what a killed server left running, and empty its temporary folder."""
    process = read_json(folder.running)
    if process and identity(int(process["pid"])) is None and same_boot(process):
        _kill_group(int(process["pid"]))
    shutil.rmtree(folder.scratch, ignore_errors=True)
    folder.create()


def _kill_group(group: int) -> None:
    try:
        os.killpg(group, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        return
