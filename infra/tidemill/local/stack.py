"""Start, stop and ask after the local stack: `up`, `down`, `status`."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tidemill.core.progress import Progress, Report, silent
from tidemill.local import deploy, recovery
from tidemill.local.clients import admin_client, root_client
from tidemill.local.errors import PortInUse, ServerFailed
from tidemill.local.state import (
    ADMIN_HEADER,
    REGION,
    Folder,
    Secrets,
    alive,
    identity,
    locked,
    read_json,
    read_secrets,
    same_boot,
    write_json,
    write_secrets,
)

START_S = 60.0
STOP_S = 30.0
LOG_BYTES = 8 << 20
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "LD_LIBRARY_PATH", "XLA_FLAGS", "JAX_PLATFORMS",
              "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


@dataclass(frozen=True)
class Stack:
    """A running local stack: where it listens, who may call it, what it deployed, and how it last stopped."""

    endpoint: str
    batch_endpoint: str
    region: str
    account: str
    state: Path
    root: Path
    port: int
    pid: int
    clean: bool
    digest: str = ""
    name: str = deploy.STACK
    outputs: Mapping[str, str] = field(default_factory=dict)
    resources: Mapping[str, str] = field(default_factory=dict)
    secrets: Secrets | None = field(default=None, repr=False)

    @property
    def credentials(self) -> dict[str, str]:
        """The administrator's key, as the environment variables that every AWS client reads."""
        assert self.secrets is not None  # noqa: S101
        return {
            "AWS_ACCESS_KEY_ID": self.secrets.access_key_id,
            "AWS_SECRET_ACCESS_KEY": self.secrets.secret_access_key,
            "AWS_REGION": self.region,
            "AWS_DEFAULT_REGION": self.region,
            "AWS_ENDPOINT_URL": self.endpoint,
        }

    @property
    def api_url(self) -> str:
        """The HTTP API by path: it works in every client (names below .localhost do not resolve everywhere)."""
        host = self.outputs.get("ApiUrl", "").partition("://")[2]
        return f"{self.endpoint}/_aws/execute-api/{host.partition('.')[0]}" if host else ""

    @property
    def console_url(self) -> str:
        """The HTTP API by name, for a browser: an origin of its own."""
        host = self.outputs.get("ApiUrl", "").partition("://")[2]
        return f"http://{host.partition('.')[0]}.execute-api.localhost:{self.port}" if host else ""

    def client(self, service: str) -> Any:
        """A boto3 client with the administrator's key."""
        assert self.secrets is not None  # noqa: S101
        return admin_client(service, self.endpoint, self.secrets)


def up(
    root: Path, state: Path, *, port: int = 4566, parameters: Mapping[str, str] | None = None, report: Report = silent
) -> Stack:
    """Start the local stack and deploy the repository's template to it.

    Calling it again is harmless: a running stack is returned, after an update where template or code changed.
    `clean` is False when the last stop was not: all but the objects of S3 was made anew, so rebuild the registry.
    """
    folder = Folder(state.resolve()).create()
    with locked(folder):
        secrets = read_secrets(folder)
        running = _running(folder, secrets)
        clean = True
        if running is None:
            clean = not folder.running.exists()
            running = _start(folder, secrets, root, port, clean, report)
        secrets = _administrator(running.endpoint, secrets, folder)
        wanted = deploy.plan(root, secrets, parameters)
        if not clean:
            recovery.adopt_buckets(running.endpoint, secrets, wanted, running.name, running.resources, report)
        deployed = _deployed(running, secrets, wanted, report)
        stack = replace(running, root=root.resolve(), clean=clean, digest=wanted.digest, secrets=secrets,
                        outputs=deployed.outputs, resources=deployed.resources)
        _write(folder, stack)
        return stack


def down(state: Path, *, report: Report = silent) -> bool:
    """Stop the local stack and all it started; False where none was running."""
    folder = Folder(state.resolve())
    if not folder.root.is_dir():
        return False
    with locked(folder):
        process = read_json(folder.running)
        if not alive(process):
            return False
        report(Progress("stop", 0, 1, "Saving and stopping"))
        _stop(int(process["pid"]), process["identity"])
        report(Progress("stop", 1, 1, "Stopped"))
        return True


def status(state: Path) -> Stack | None:
    """The running stack of a state folder, None where none runs."""
    folder = Folder(state.resolve())
    return _running(folder, read_secrets(folder)) if folder.secrets.exists() else None


def _running(folder: Folder, secrets: Secrets) -> Stack | None:
    """The stack written down, if its process is alive and answers."""
    process = read_json(folder.running)
    if not alive(process):
        return None
    endpoint = f"http://127.0.0.1:{process['port']}"
    if not _healthy(endpoint, secrets):
        _stop(int(process["pid"]), process["identity"])  # it hangs: end it, the next start recovers
        return None
    kept = read_json(folder.record) or {}
    base = {**kept, "endpoint": endpoint, "batch_endpoint": endpoint, "port": process["port"], "pid": process["pid"]}
    return _read(folder, base, secrets)


def _read(folder: Folder, kept: Mapping[str, Any], secrets: Secrets) -> Stack:
    return Stack(
        endpoint=kept["endpoint"], batch_endpoint=kept["batch_endpoint"], region=REGION, account=secrets.account,
        state=folder.root, root=Path(kept.get("root", ".")), port=kept["port"], pid=kept["pid"],
        clean=kept.get("clean", True), digest=kept.get("digest", ""), outputs=kept.get("outputs", {}),
        resources=kept.get("resources", {}), secrets=secrets,
    )


def _write(folder: Folder, stack: Stack) -> None:
    kept = {key: value for key, value in asdict(replace(stack, secrets=None)).items() if key != "secrets"}
    write_json(folder.record, {**kept, "state": str(stack.state), "root": str(stack.root)})


def _start(folder: Folder, secrets: Secrets, root: Path, port: int, clean: bool, report: Report) -> Stack:
    """Start the server process and wait until it answers."""
    _clear_leftovers(folder)
    if not clean:
        report(Progress("start", 0, 1, "The last stop was not clean: keeping the objects, making the rest anew"))
        recovery.forget_services(folder)
    _check_port(port)
    report(Progress("start", 0, 1, f"Starting on port {port}"))
    log = folder.logs / "server.log"
    if log.exists() and log.stat().st_size > LOG_BYTES:
        log.replace(log.with_suffix(".1.log"))
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", "tidemill.local.server", "--state", str(folder.root), "--port", str(port)],
            stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True, cwd=folder.root,
            env={name: os.environ[name] for name in _INHERITED if name in os.environ},
        )
    endpoint = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + START_S
    while not _healthy(endpoint, secrets):
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            raise _not_started(log, port)
        time.sleep(0.05)
    process.returncode = 0  # it outlives us: nobody here waits for it
    kept = read_json(folder.record) or {}
    return _read(folder, {**kept, "endpoint": endpoint, "batch_endpoint": endpoint, "port": port, "pid": process.pid,
                          "root": str(root)}, secrets)


def _not_started(log: Path, port: int) -> ServerFailed:
    tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
    return ServerFailed(f"The server on port {port} did not start. The end of {log}:\n{tail}",
                        remedy="Read the log; try `tidemill doctor`.")


def _check_port(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise PortInUse(f"Port {port} on 127.0.0.1 is in use by another program ({error.strerror}).",
                            remedy="Stop that program or choose another port with --port.", port=port) from error


def _healthy(endpoint: str, secrets: Secrets) -> bool:
    """Whether our own server answers there: it alone knows the admin key."""
    request = urllib.request.Request(f"{endpoint}/_ministack/health", headers={ADMIN_HEADER: secrets.admin})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(request, timeout=5) as answer:
            return bool(json.load(answer)["auth"] == "enabled")
    except (OSError, ValueError, KeyError):
        return False


def _administrator(endpoint: str, secrets: Secrets, folder: Folder) -> Secrets:
    """The keys, with those of an IAM user that exists: made at the first start and after an unclean stop."""
    if secrets.access_key_id:
        try:
            admin_client("sts", endpoint, secrets).get_caller_identity()
            return secrets
        except ClientError:
            pass  # the server has forgotten the user
    iam = root_client("iam", endpoint, secrets)
    iam.create_user(UserName="tidemill-admin")
    iam.attach_user_policy(UserName="tidemill-admin", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    key = iam.create_access_key(UserName="tidemill-admin")["AccessKey"]
    made = replace(secrets, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])
    write_secrets(folder, made)
    return made


def _deployed(running: Stack, secrets: Secrets, wanted: deploy.Plan, report: Report) -> deploy.Deployed:
    """Deploy unless exactly this was deployed and is still there."""
    if running.digest == wanted.digest and running.outputs:
        cloudformation = admin_client("cloudformation", running.endpoint, secrets)
        if deploy.stack_status(cloudformation, running.name) in ("CREATE_COMPLETE", "UPDATE_COMPLETE"):
            return deploy.Deployed(dict(running.outputs), dict(running.resources))
    return deploy.deploy(running.endpoint, secrets, wanted, name=running.name, report=report)


def _stop(pid: int, known: str) -> None:
    """SIGTERM, patience, SIGKILL; then whatever is left of its process group."""
    os.kill(pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while identity(pid) == known and time.monotonic() < deadline:
        time.sleep(0.05)
    if identity(pid) == known:
        os.kill(pid, signal.SIGKILL)
    _kill_group(pid)


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
