"""tidemill up, down, status: the local stack, from nothing to an address with keys."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

import click

from tidemill.cli.client import Api
from tidemill.cli.failures import UNREACHABLE, Missing
from tidemill.cli.keys import ensure_keys
from tidemill.cli.session import Session, json_option, pass_session, quietly
from tidemill.core.progress import Report

if TYPE_CHECKING:
    from tidemill.core.registry import Registry

Item = dict[str, Any]
PORT = 4566
WAITING = ("SUBMITTED", "RUNNING")  # states whose job may wait for a machine


@click.command()
@click.option("--port", envvar="TIDEMILL_PORT", default=PORT, show_default=True, help="The port on 127.0.0.1.")
@json_option
@pass_session
def up(session: Session, port: int) -> None:
    """Start the local stack, deploy the template to it, and make an operate and a predict key.

    Safe to repeat: a running stack is kept, and updated where template or code changed.
    """
    found = start(session, port)
    tell(session, found)
    session.screen.document(found)


def start(session: Session, port: int) -> Item:
    """Start or find the local stack, recover it where the last stop was not clean, and make sure keys exist."""
    places = session.places
    local = module("tidemill.local.stack")
    with session.screen.progress() as report:
        stack = local.up(places.root, places.state, port=port, report=report)
        recovered = None if stack.clean else _recover(stack, report)
        made = ensure_keys(session, registry_of(stack))
    return {
        "url": stack.api_url,
        "console_url": getattr(stack, "console_url", stack.api_url),
        "endpoint": stack.endpoint,
        "state": str(places.state),
        "keys": str(places.keys_file),
        "keys_made": made,
        "clean": stack.clean,
        "recovered": recovered,
    }


def _recover(stack: Any, report: Report) -> Any:
    """What came back after the last stop was not clean."""
    return module("tidemill.local.recover").recover(stack, report)


def registry_of(stack: Any) -> Registry:
    """The registry of a running local stack, with the administrator's rights and the journal."""
    from tidemill.core.registry import Registry
    from tidemill.core.storage import Storage

    table = stack.outputs["TableName"]
    journal = Storage(stack.outputs["ArtifactsBucketName"], stack.client("s3"))
    return Registry(table, journal, stack.resource("dynamodb"))


def tell(session: Session, found: Item) -> None:
    """Where the stack is and what to do next."""
    screen = session.screen
    if not found["clean"]:
        screen.say(f"The last stop was not clean; brought back from S3: {found['recovered']}", "yellow")
    screen.say(f"The API:  {found['url']}", "bold green")
    screen.say(f"Docs:     {found['console_url']}/docs   (user: key, password: a key)")
    screen.say(f"Keys:     {found['keys']}")
    screen.say("Next:     tidemill push FILE --model NAME --wait     or     tidemill demo")


@click.command()
@json_option
@pass_session
def down(session: Session) -> None:
    """Stop the local stack; data, models and keys stay for the next `tidemill up`."""
    with session.screen.progress() as report:
        stopped = module("tidemill.local.stack").down(session.places.state, report=report)
    session.screen.say("The stack is stopped; its state is kept." if stopped else "No stack was running.")
    session.screen.document({"stopped": stopped, "state": str(session.places.state)})


@click.command()
@json_option
@pass_session
def status(session: Session) -> None:
    """Say whether the stack answers, and what its models are doing."""
    url = session.places.url()
    health = quietly(lambda: Api(url, "", session.transport).get("/health"))
    if health is None:
        session.screen.say(f"{url} does not answer.", "red")
        session.screen.say("What to do: `tidemill up` starts the local stack; `tidemill doctor` looks for causes.")
        session.screen.document({"url": url, "answers": False})
        raise click.exceptions.Exit(UNREACHABLE)
    found = session.api("predict").get("/models")["models"]
    waits = _waits(session, found)
    session.screen.say(f"{url} answers (version {health.get('version')}).", "green")
    rows = [
        (item["model"], item.get("champion") or "-", item.get("state") or "-", waits.get(item["model"], ""))
        for item in found
    ]
    if rows:
        session.screen.table(["model", "in service", "last run", "waits because"], rows)
    session.screen.document({"url": url, "answers": True, "health": health, "models": found, "waits": waits})


def _waits(session: Session, models: list[dict[str, Any]]) -> dict[str, str]:
    """By model: why its last run waits for a machine."""
    found = {}
    for item in models:
        if item.get("state") in WAITING:
            run = session.api().get(f"/models/{item['model']}/runs/{item['last_run']}")
            found[item["model"]] = str((run.get("wait") or {}).get("message") or "")
    return {model: why for model, why in found.items() if why}


def module(name: str) -> Any:
    """A module of the local stack, loaded when a command needs it: it brings much along."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        raise Missing(
            f"The Python package {error.name!r} is not installed.",
            remedy="Install the local stack's requirements: pip install -r infra/requirements.txt.",
        ) from error
