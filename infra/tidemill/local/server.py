"""The server process: MiniStack, unpatched, behind the guard and beside local Batch, on one loopback port.

`python -m tidemill.local.server --state FOLDER --port PORT`; started by `stack.up`, stopped by SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import socket
import sys
from importlib.metadata import version
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tidemill.local.errors import ServerFailed
from tidemill.local.state import REGION, Folder, Secrets, identity, read_secrets, write_json

MINISTACK = "1.5.33"
API_CALLS = 4  # concurrent calls of the HTTP API: MiniStack forks one worker process for each
FUNCTIONS = 32  # concurrent invocations in all; a throttled queue message waits out its visibility, so leave room
BACKLOG = 128


def settings(folder: Folder, secrets: Secrets, port: int) -> dict[str, str]:
    """MiniStack's whole configuration, as the environment it reads."""
    return {
        "GATEWAY_PORT": str(port),
        "MINISTACK_REGION": REGION,
        "MINISTACK_ACCOUNT_ID": secrets.account,
        "AWS_ACCESS_KEY_ID": secrets.root_access_key_id,
        "AWS_SECRET_ACCESS_KEY": secrets.root_secret_access_key,
        "AUTH": "true",
        "PERSIST_STATE": "1",
        "STATE_DIR": str(folder.services),
        "S3_PERSIST": "1",
        "S3_DATA_DIR": str(folder.objects),
        "TMPDIR": str(folder.scratch),
        "IOT_MTLS_ENABLED": "0",
        "SFTP_ENABLED": "0",
        "DOCKER_HOST": f"unix://{folder.root}/no-docker",
        "LAMBDA_EXECUTOR": "local",
        "LAMBDA_ACCOUNT_CONCURRENCY": str(FUNCTIONS),
        "LAMBDA_WARM_TTL_SECONDS": "60",
        "LOG_LEVEL": "INFO",
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def listen(port: int) -> socket.socket:
    """Take the port, on loopback only."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    listener.listen(BACKLOG)
    return listener


def check_version() -> None:
    """Raise unless MiniStack is the version all of this was proved with."""
    found = version("ministack")
    if found != MINISTACK:
        raise ServerFailed(
            f"MiniStack {found} is installed, {MINISTACK} is needed.", remedy=f"pip install ministack=={MINISTACK}"
        )


def main() -> None:
    """Take the folder, serve, and leave the mark of a clean stop."""
    parser = argparse.ArgumentParser(prog="tidemill.local.server")
    parser.add_argument("--state", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    arguments = parser.parse_args()
    folder = Folder(arguments.state.resolve())
    secrets = read_secrets(folder)
    os.umask(0o077)  # what MiniStack writes holds keys
    os.environ.update(settings(folder, secrets, arguments.port))
    _log_refusals(folder)
    check_version()
    from tidemill.local.composition import serve  # MiniStack reads the environment when it is imported

    listener = listen(arguments.port)
    write_json(folder.running, {"pid": os.getpid(), "identity": identity(os.getpid()), "port": arguments.port})
    asyncio.run(serve(folder, secrets, listener, API_CALLS))
    folder.running.unlink(missing_ok=True)
    sys.stdout.flush()
    os._exit(0)  # threads of MiniStack's pools would keep the process


def _log_refusals(folder: Folder) -> None:
    handler = RotatingFileHandler(folder.logs / "guard.log", maxBytes=1 << 20, backupCount=1)
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    log = logging.getLogger("tidemill.guard")
    log.addHandler(handler)
    log.propagate = False


if __name__ == "__main__":
    main()
