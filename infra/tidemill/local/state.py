"""The folder of a local stack: where everything lives, its secrets, its lock and who is running in it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tidemill.local.errors import StackBusy

LOCK_PATIENCE_S = 120.0
REGION = "us-east-1"
ADMIN_HEADER = "x-tidemill-admin"


@dataclass(frozen=True)
class Folder:
    """The paths below one state folder (usually `.tidemill/`)."""

    root: Path

    @property
    def services(self) -> Path:
        """MiniStack's own state, one JSON file per service, written at a clean stop."""
        return self.root / "services"

    @property
    def objects(self) -> Path:
        """The objects of S3, written through: they survive anything."""
        return self.root / "s3"

    @property
    def batch(self) -> Path:
        """Job definitions and the job table."""
        return self.root / "batch"

    @property
    def catalogue(self) -> Path:
        """The queues and job definitions that were deployed."""
        return self.batch / "catalogue.json"

    @property
    def logs(self) -> Path:
        """server.log, guard.log and jobs/."""
        return self.root / "logs"

    @property
    def compiled(self) -> Path:
        """Programs that training jobs compiled; the next job of the same shapes starts seconds sooner."""
        return self.root / "compiled"

    @property
    def scratch(self) -> Path:
        """The temporary folder of the server and its functions."""
        return self.root / "tmp"

    @property
    def secrets(self) -> Path:
        """Keys, readable by the owner alone."""
        return self.root / "credentials.json"

    @property
    def record(self) -> Path:
        """What `up` last started and deployed."""
        return self.root / "stack.json"

    @property
    def running(self) -> Path:
        """Present while a server runs; left behind by one that was killed."""
        return self.root / "running.json"

    @property
    def unsettled(self) -> Path:
        """Present from an unclean stop until the registry is rebuilt."""
        return self.root / "unsettled"

    def create(self) -> Folder:
        """Make the folders, closed to other users of the machine."""
        for path in (self.root, self.services, self.objects, self.batch / "jobs", self.logs / "jobs", self.scratch):
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.root.chmod(0o700)
        return self


@dataclass(frozen=True)
class Secrets:
    """The keys of one local stack.

    The root pair is MiniStack's own and opens everything without a signature, so the guard only lets it pass
    together with the `admin` header. People and the CLI use the access pair, an IAM user whose signature is checked.
    """

    account: str = ""
    root_access_key_id: str = ""
    root_secret_access_key: str = ""
    admin: str = ""
    access_key_id: str = ""
    secret_access_key: str = ""


def read_secrets(folder: Folder) -> Secrets:
    """The keys of a state folder, made up at the first call."""
    try:
        return Secrets(**json.loads(folder.secrets.read_text()))
    except (OSError, ValueError, TypeError):
        made = Secrets(
            account=str(secrets.randbelow(9 * 10**11) + 10**11),  # 12 digits; ARNs that cannot be guessed
            root_access_key_id="TMROOT" + secrets.token_hex(12).upper(),
            root_secret_access_key=secrets.token_urlsafe(32),
            admin=secrets.token_urlsafe(32),
        )
        write_secrets(folder, made)
        return made


def write_secrets(folder: Folder, values: Secrets) -> None:
    """Keep the keys, for the owner alone."""
    write_json(folder.secrets, asdict(values), mode=0o600)


def write_json(path: Path, value: Any, mode: int = 0o644) -> None:
    """Replace a JSON file at once: a reader sees the old or the new one, whole."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as file:
        json.dump(value, file, indent=1)
    draft.replace(path)


def read_json(path: Path) -> Any:
    """The value of a JSON file, None where it is missing or torn."""
    try:
        return json.loads(path.read_text())
    except (OSError, ValueError):
        return None


@contextlib.contextmanager
def locked(folder: Folder, patience_s: float = LOCK_PATIENCE_S) -> Iterator[None]:
    """Hold the folder's lock; raises StackBusy if somebody else keeps it too long. The system frees it at death."""
    folder.root.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (folder.root / "lock").open("a") as file:
        deadline = time.monotonic() + patience_s
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as error:
                if time.monotonic() >= deadline:
                    raise StackBusy(
                        f"The local stack in {folder.root} is being started or stopped by another process.",
                        remedy="Wait for it to finish, then try again.",
                    ) from error
                time.sleep(0.1)
        yield


def identity(pid: int) -> str | None:
    """A name for the process now behind a pid that no later process can have, None where there is none."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return None if fields[0] == "Z" else f"{boot}:{fields[19]}"
    except (OSError, IndexError):
        if Path("/proc/self/stat").exists():
            return None
    shown = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return shown.stdout.strip() or None


def alive(process: dict[str, Any] | None) -> bool:
    """Whether the process written down as {"pid", "identity"} still runs."""
    return bool(process) and process is not None and identity(int(process["pid"])) == process["identity"]


def same_boot(process: dict[str, Any]) -> bool:
    """Whether the machine has not been restarted since (then its process groups may still be ours)."""
    mine = identity(os.getpid()) or ""
    return ":" in mine and str(process.get("identity", "")).partition(":")[0] == mine.partition(":")[0]
