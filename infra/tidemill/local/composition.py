"""MiniStack with our guard in front and our Batch beside it, as one ASGI application on one listener.

MiniStack reads its settings when it is imported: import this module only after they are set.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from functools import partial

import hypercorn.asyncio
from hypercorn.config import Config
from ministack.app import app
from ministack.core import iam_evaluator, lambda_runtime
from ministack.core.iam_evaluator import AuthError, CredentialResolutionError, EvalContext, resolve_credential

from tidemill.local.batch import Batch
from tidemill.local.guard import Application, Guard, Message, Receive, Scope, Send
from tidemill.local.state import REGION, Folder, Secrets

KEEP_ALIVE_S = 75
GRACE_S = 3
WATCH_S = 5


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


def is_known(account: str, key: str) -> bool:
    """Whether MiniStack has issued an access key; an expired one is for MiniStack to refuse."""
    found = resolve_credential(key, account)
    return not (isinstance(found, CredentialResolutionError) and found.code == "UnrecognizedClientException")


def may_list(account: str, key_id: str, bucket: str, key: str) -> bool:
    """Whether the holder of a key may learn that an object is missing: s3:ListBucket, with its key as the prefix."""
    who = iam_evaluator.resolve_principal(key_id, account)
    if isinstance(who, AuthError) or who.policies is None:
        return True  # nobody, whom MiniStack has refused already, or the administrator
    context = {"s3:prefix": key, "aws:tagkeys": None}
    asked = EvalContext(
        principal_arn=who.arn,
        principal_type=who.type,
        principal_account=who.account,
        action="s3:ListBucket",
        resource_arn=f"arn:aws:s3:::{bucket}",
        region=REGION,
        service_context=context,
        principal_keys=who.keys,
    )
    return bool(iam_evaluator.evaluate(asked, who.policies, *who.limits).decision == "Allow")


async def watch(folder: Folder) -> None:
    """End at once when the state folder is gone: nothing can be kept, and nobody could find this process again."""
    while folder.running.exists():
        await asyncio.sleep(WATCH_S)
    os._exit(1)


async def serve(folder: Folder, secrets: Secrets, listener: socket.socket, api_calls: int) -> None:
    """Serve until SIGTERM or SIGINT, then save and stop."""
    batch = Batch(folder, secrets, listener.getsockname()[1])
    guard = Guard(
        without_workers(app, lambda_runtime.reset),
        admin=secrets.admin,
        root_key=secrets.root_access_key_id,
        known=partial(is_known, secrets.account),
        may_list=partial(may_list, secrets.account),
        batch=batch.application,
        api_calls=api_calls,
    )
    config = Config()
    config.bind = [f"fd://{listener.fileno()}"]
    config.keep_alive_timeout = KEEP_ALIVE_S
    config.graceful_timeout = GRACE_S
    asked = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)

    async def stopped() -> None:
        await asked.wait()
        await batch.stop()  # while the stack still answers: a job saves its state on the way out

    batch.start()
    watching = asyncio.create_task(watch(folder))
    await hypercorn.asyncio.serve(guard, config, shutdown_trigger=stopped)
    watching.cancel()
