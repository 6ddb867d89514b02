"""Start, stop and ask after the local stack: `up`, `down`, `status`."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from itertools import chain
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tidemill.core.progress import Progress, Report, silent
from tidemill.local import deploy, process
from tidemill.local.clients import admin_client, admin_resource, root_client
from tidemill.local.definitions import doubtful_patterns, save_catalogue
from tidemill.local.state import (
    REGION,
    Folder,
    Secrets,
    alive,
    locked,
    read_json,
    read_secrets,
    write_json,
    write_secrets,
)

ADMINISTRATOR = "tidemill-admin"


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
    secrets: Secrets = field(default_factory=Secrets, repr=False)

    @property
    def credentials(self) -> dict[str, str]:
        """The administrator's key and the endpoint, as the variables that every AWS client reads."""
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
        return f"{self.endpoint}/_aws/execute-api/{self._api_id}" if self._api_id else ""

    @property
    def console_url(self) -> str:
        """The HTTP API by name, for a browser: an origin of its own."""
        return f"http://{self._api_id}.execute-api.localhost:{self.port}" if self._api_id else ""

    @property
    def _api_id(self) -> str:
        return self.outputs.get("ApiUrl", "").partition("://")[2].partition(".")[0]

    def client(self, service: str) -> Any:
        """A boto3 client with the administrator's key."""
        return admin_client(service, self.endpoint, self.secrets)

    def resource(self, service: str) -> Any:
        """A boto3 resource with the administrator's key."""
        return admin_resource(service, self.endpoint, self.secrets)


def up(
    root: Path, state: Path, *, port: int = 4566, parameters: Mapping[str, str] | None = None, report: Report = silent
) -> Stack:
    """Start the local stack and deploy the repository's template to it.

    Calling it again is harmless: a running stack is returned, after an update where template or code changed.
    `clean` is False after an unclean stop: the objects of S3 are there, everything else was made anew. Rebuild the
    registry from S3, then call `settled`; until then every `up` says so again.
    """
    folder = Folder(state.resolve()).create()
    with locked(folder):
        secrets = read_secrets(folder)
        running = _running(folder, secrets) or _start(folder, secrets, port, report)
        secrets = _administrator(running.endpoint, secrets, folder)
        wanted = deploy.plan(root, secrets, parameters)
        deployed = _deployed(running, secrets, wanted, report)
        if wanted.digest != running.digest or not folder.catalogue.exists():
            catalogue = deploy.catalogue(root, running.endpoint, secrets, wanted, deployed, running.name)
            for sentence in chain.from_iterable(map(doubtful_patterns, catalogue.definitions)):
                report(Progress("deploy", 3, 3, sentence))
            save_catalogue(folder, catalogue)
        stack = replace(
            running,
            root=root.resolve(),
            clean=not folder.unsettled.exists(),
            digest=wanted.digest,
            secrets=secrets,
            outputs=deployed.outputs,
            resources=deployed.resources,
        )
        _write(folder, stack)
        return stack


def settled(state: Path) -> None:
    """Say that the registry was rebuilt after an unclean stop."""
    Folder(state.resolve()).unsettled.unlink(missing_ok=True)


def down(state: Path, *, report: Report = silent) -> bool:
    """Stop the local stack and all it started; False where none was running."""
    folder = Folder(state.resolve())
    if not folder.root.is_dir():
        return False
    with locked(folder):
        server = read_json(folder.running)
        if not alive(server):
            return False
        report(Progress("stop", 0, 1, "Saving and stopping"))
        process.stop(int(server["pid"]), server["identity"])
        shutil.rmtree(folder.scratch, ignore_errors=True)  # a worker that was just starting leaves its folder behind
        report(Progress("stop", 1, 1, "Stopped"))
        return True


def status(state: Path) -> Stack | None:
    """The running stack of a state folder, None where none runs."""
    folder = Folder(state.resolve())
    return _running(folder, read_secrets(folder)) if folder.secrets.exists() else None


def _running(folder: Folder, secrets: Secrets) -> Stack | None:
    """The stack written down, if its process is alive and answers."""
    server = read_json(folder.running)
    if not alive(server) or not process.healthy(server["port"], secrets):
        return None
    return _read(folder, secrets, server["port"], server["pid"])


def _start(folder: Folder, secrets: Secrets, port: int, report: Report) -> Stack:
    """Start the server; after an unclean stop without the state that is older than the objects."""
    server = read_json(folder.running)
    if alive(server):  # it does not answer any more
        process.stop(int(server["pid"]), server["identity"])
    if folder.running.exists():
        report(Progress("start", 0, 1, "The last stop was not clean: keeping the objects, making the rest anew"))
        folder.unsettled.touch()
        folder.catalogue.unlink(missing_ok=True)  # no job starts before its role and its table are there again
        shutil.rmtree(folder.services, ignore_errors=True)
    report(Progress("start", 0, 1, f"Starting on port {port}"))
    return _read(folder, secrets, port, process.start(folder.create(), secrets, port))


def _read(folder: Folder, secrets: Secrets, port: int, pid: int) -> Stack:
    kept = read_json(folder.record) or {}
    endpoint = f"http://127.0.0.1:{port}"
    return Stack(
        endpoint=endpoint,
        batch_endpoint=endpoint,
        region=REGION,
        account=secrets.account,
        state=folder.root,
        root=Path(kept.get("root", ".")),
        port=port,
        pid=pid,
        clean=not folder.unsettled.exists(),
        digest=kept.get("digest", ""),
        outputs=kept.get("outputs", {}),
        resources=kept.get("resources", {}),
        secrets=secrets,
    )


def _write(folder: Folder, stack: Stack) -> None:
    kept = asdict(stack) | {"state": str(stack.state), "root": str(stack.root)}
    del kept["secrets"]
    write_json(folder.record, kept)


def _administrator(endpoint: str, secrets: Secrets, folder: Folder) -> Secrets:
    """The keys, with those of an IAM user that exists: made at the first start and after an unclean stop."""
    if secrets.access_key_id:
        try:
            admin_client("sts", endpoint, secrets).get_caller_identity()
            return secrets
        except ClientError:
            pass  # the server has forgotten the user
    iam = root_client("iam", endpoint, secrets)
    iam.create_user(UserName=ADMINISTRATOR)
    iam.attach_user_policy(UserName=ADMINISTRATOR, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    key = iam.create_access_key(UserName=ADMINISTRATOR)["AccessKey"]
    made = replace(secrets, access_key_id=key["AccessKeyId"], secret_access_key=key["SecretAccessKey"])
    write_secrets(folder, made)
    return made


def _deployed(running: Stack, secrets: Secrets, wanted: deploy.Plan, report: Report) -> deploy.Deployed:
    """Deploy unless exactly this was deployed and is still there."""
    if running.digest == wanted.digest and running.outputs:
        cloudformation = admin_client("cloudformation", running.endpoint, secrets)
        if deploy.stack_status(cloudformation, running.name) in deploy.USABLE:
            return deploy.Deployed(dict(running.outputs), dict(running.resources))
    return deploy.deploy(running.endpoint, secrets, wanted, name=running.name, known=running.resources, report=report)
