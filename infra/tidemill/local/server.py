"""The server process: MiniStack, unpatched, behind the guard and beside local Batch, on one loopback port.

`python -m tidemill.local.server --state FOLDER --port PORT`; started by `stack.up`, stopped by SIGTERM.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import signal
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

from tidemill.local.guard import Application, Guard, Message, Receive, Scope, Send
from tidemill.local.state import REGION, Folder, Secrets, identity, read_secrets, write_json

MINISTACK = "1.5.33"
API_CALLS = 4  # concurrent calls of the HTTP API: one worker process each
FUNCTIONS = 32  # concurrent invocations in all; a throttled queue message waits out its visibility, so leave room
KEEP_ALIVE_S = 75
GRACE_S = 3


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


def without_workers(inner: Application, end_workers: Callable[[], None]) -> Application:
    """End the function workers just before MiniStack saves its state, so that none still changes it."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        async def received() -> Message:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                await asyncio.to_thread(end_workers)
            return message

        await inner(scope, received if scope["type"] == "lifespan" else receive, send)

    return application


async def serve(folder: Folder, secrets: Secrets, port: int) -> None:
    """Serve until SIGTERM or SIGINT, then save and stop."""
    import hypercorn.asyncio
    from hypercorn.config import Config
    from ministack.app import app
    from ministack.core import lambda_runtime

    from tidemill.local.batch import Batch

    batch = Batch(folder, secrets, port)
    guard = Guard(
        without_workers(app, lambda_runtime.reset),
        admin=secrets.admin,
        root_key=secrets.root_access_key_id,
        batch=batch.application,
        api_calls=API_CALLS,
    )
    config = Config()
    config.bind = [f"127.0.0.1:{port}"]
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.graceful_timeout = GRACE_S
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)

    async def stopped() -> None:
        await asked.wait()
        await batch.stop()  # while the stack still answers: a job saves its state on the way out

    batch.start()
    await hypercorn.asyncio.serve(guard, config, shutdown_trigger=stopped)


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
    write_json(folder.running, {"pid": os.getpid(), "identity": identity(os.getpid()), "port": arguments.port})
    asyncio.run(serve(folder, secrets, arguments.port))
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
