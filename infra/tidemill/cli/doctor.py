"""tidemill doctor: the usual causes of trouble, looked at one by one, each with its remedy."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import stat
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import click
from rich.text import Text

from tidemill.cli.client import Api
from tidemill.cli.failures import UNEXPECTED
from tidemill.cli.pipeline import Check, pipeline
from tidemill.cli.places import read_json
from tidemill.cli.session import Session, json_option, pass_session, quietly
from tidemill.cli.stack import PORT
from tidemill.core.errors import TidemillError

OLDEST_PYTHON = (3, 11)
LEAST_DISK_GB, ENOUGH_DISK_GB = 0.5, 3.0  # an upload of 1 GiB exists three times: object, spool, dataset
ENOUGH_MEMORY_GB = 2.0  # the stack takes 0.3, a function 0.5, a training job 1
MOST_SKEW_S = 300  # AWS refuses signatures that are older
PACKAGES = (
    "boto3",
    "ministack",
    "samtranslator",
    "fastapi",
    "mangum",
    "onnxruntime",
    "pyarrow",
    "jax",
    "flax",
    "optax",
)


@click.command(epilog="Exit code 1: at least one check is bad.")
@click.option("--port", envvar="TIDEMILL_PORT", default=PORT, show_default=True, help="The port the stack should use.")
@json_option
@pass_session
def doctor(session: Session, port: int) -> None:
    """Check Python, packages, ports, the stack, disk, clock and left-over state; say what to do."""
    checks = list(examine(session, port))
    signs = {"good": Text("good", "green"), "note": Text("note", "yellow"), "bad": Text("bad", "bold red")}
    rows = [(signs[check.result], check.name, check.found) for check in checks]
    session.screen.table(["", "check", "found"], rows)
    for check in checks:
        if check.remedy and check.result != "good":
            session.screen.say(f"{check.name}: {check.remedy}")
    session.screen.document({"checks": [asdict(check) for check in checks]})
    if any(check.result == "bad" for check in checks):
        raise click.exceptions.Exit(UNEXPECTED)


def examine(session: Session, port: int) -> Iterator[Check]:
    """Every check, in the order in which one would repair things."""
    yield _python()
    yield _environment()
    yield _packages()
    yield _repository(session.places.root)
    yield _disk(session.places.root)
    yield _memory()
    yield _left_over(session.places.state)
    yield _port(session.places.state, port)
    yield _stack(session)
    yield _clock(session)
    yield _keys(session)
    yield from pipeline(session)


def _python() -> Check:
    version = ".".join(map(str, sys.version_info[:3]))
    if sys.version_info < OLDEST_PYTHON:
        return Check("Python", "bad", version, "Use Python 3.11 or later.")
    return Check("Python", "good", f"{version} ({sys.executable})")


def _environment() -> Check:
    if sys.prefix == sys.base_prefix:
        return Check("Environment", "note", "no virtual environment", "Make one, so that pinned versions are used.")
    return Check("Environment", "good", sys.prefix)


def _packages() -> Check:
    lacking = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if lacking:
        return Check("Packages", "bad", f"missing: {', '.join(lacking)}", "Install the requirements: `make install`.")
    return Check("Packages", "good", f"{len(PACKAGES)} of {len(PACKAGES)}")


def _repository(root: Path) -> Check:
    if not (root / "template.yaml").is_file():
        return Check("Repository", "bad", f"no template.yaml in {root}", "Run the command inside the repository.")
    return Check("Repository", "good", str(root))


def _disk(root: Path) -> Check:
    free = shutil.disk_usage(root).free / 1e9
    if free < LEAST_DISK_GB:
        return Check("Disk", "bad", f"{free:.1f} GB free", "Free some space; the stack keeps its state in .tidemill.")
    if free < ENOUGH_DISK_GB:
        return Check("Disk", "note", f"{free:.1f} GB free", "Large uploads need more: three times their size.")
    return Check("Disk", "good", f"{free:.0f} GB free")


def _memory() -> Check:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable")) / 1e6
    except (OSError, StopIteration, ValueError):
        return Check("Memory", "good", "cannot be read on this system")
    if free < ENOUGH_MEMORY_GB:
        return Check("Memory", "note", f"{free:.1f} GB free", "Close something: training may be killed.")
    return Check("Memory", "good", f"{free:.0f} GB free")


def _left_over(state: Path) -> Check:
    process = read_json(state / "running.json")
    if not state.is_dir():
        return Check("State", "good", f"none yet in {state}")
    if process and not _alive(int(process.get("pid", 0))):
        return Check("State", "note", "the last stop was not clean", "`tidemill up` repairs that by itself.")
    return Check("State", "good", str(state))


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _port(state: Path, port: int) -> Check:
    process = read_json(state / "running.json") or {}
    if process.get("port") == port and _alive(int(process.get("pid", 0))):
        return Check("Port", "good", f"{port} is the stack's")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            return Check("Port", "bad", f"{port}: {error.strerror}", "Stop what uses it, or `tidemill up --port 4577`.")
    return Check("Port", "good", f"{port} is free")


def _stack(session: Session) -> Check:
    try:
        url = session.places.url()
    except TidemillError:
        return Check("Stack", "note", "none is known", "`tidemill up` starts one.")
    if quietly(lambda: Api(url, "", session.transport).get("/health")) is None:
        return Check("Stack", "note", f"{url} does not answer", "`tidemill up` starts it.")
    return Check("Stack", "good", url)


def _clock(session: Session) -> Check:
    """The clock against the newest thing we know to be in the past."""
    template = session.places.root / "template.yaml"
    known = template.stat().st_mtime if template.is_file() else 0.0
    if time.time() + MOST_SKEW_S < known:
        return Check("Clock", "bad", time.strftime("%Y-%m-%d %H:%M"), "Set the clock: signatures depend on it.")
    return Check("Clock", "good", time.strftime("%Y-%m-%d %H:%M %Z"))


def _keys(session: Session) -> Check:
    path = session.places.keys_file
    if session.places.environment.get("TIDEMILL_KEY"):
        return Check("Keys", "good", "TIDEMILL_KEY is set")
    if not path.exists():
        return Check("Keys", "note", f"no {path}", "`tidemill up` makes them.")
    if stat.S_IMODE(path.stat().st_mode) & 0o077:
        return Check("Keys", "bad", f"{path} can be read by others", f"Close it: chmod 600 {path}")
    return Check("Keys", "good", str(path))
