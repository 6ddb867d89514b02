"""One call of the command: where things are, how to speak, and what the outside is. Tests put their own in."""

from __future__ import annotations

import os
import time
import traceback
import webbrowser
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click
import httpx

from tidemill.cli.client import Api
from tidemill.cli.failures import UNEXPECTED, exit_code
from tidemill.cli.places import Places, find_root
from tidemill.cli.screen import Screen
from tidemill.core.errors import TidemillError

if TYPE_CHECKING:  # the registry brings boto3 along, which takes longer than most commands
    from tidemill.core.registry import Registry

Command = TypeVar("Command", bound=Callable[..., Any])


@dataclass
class Session:
    """The context object of every command."""

    places: Places
    screen: Screen = field(default_factory=Screen)
    transport: httpx.BaseTransport | None = None
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    browse: Callable[[str], bool] = webbrowser.open
    registry: Registry | None = None  # tests only: instead of the one of a running stack

    @classmethod
    def of_process(cls) -> Session:
        """The session of a command line."""
        return cls(Places(find_root(Path.cwd()), dict(os.environ)))

    def api(self, role: str = "operate") -> Api:
        """The API, called with a key that has the role."""
        return Api(self.places.url(), self.places.key(role), self.transport)


def json_option(command: Command) -> Command:
    """The option --json, on every command."""

    def remember(context: click.Context, _: click.Parameter, value: bool) -> None:
        session = context.find_object(Session)
        if session is not None:
            session.screen.as_json = value

    option = click.option(
        "--json",
        "as_json",
        is_flag=True,
        expose_value=False,
        callback=remember,
        is_eager=True,
        help="Print one JSON document on stdout; progress goes to stderr.",
    )
    return option(command)


pass_session = click.make_pass_decorator(Session)


class Tool(click.Group):
    """A group whose commands end with an exit code and a sentence, never with a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except TidemillError as error:
            session = ctx.find_object(Session) or Session.of_process()
            session.screen.error(error)
            raise click.exceptions.Exit(exit_code(error)) from error
        except (click.ClickException, click.exceptions.Exit, click.Abort):
            raise
        except Exception as error:  # the outermost door of the command
            session = ctx.find_object(Session) or Session.of_process()
            session.screen.error(_unexpected(session, error))
            raise click.exceptions.Exit(UNEXPECTED) from error


class _Bug(TidemillError):
    code, title = "UNEXPECTED", "Something unexpected"


def _unexpected(session: Session, error: Exception) -> TidemillError:
    """A bug as a person should meet it: one line, and the place where the rest stands."""
    path = session.places.state / "logs" / "last-error.txt"
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.write_text("".join(traceback.format_exception(error)))
        remedy = f"The details are in {path}; `tidemill doctor` looks for usual causes."
    except OSError:
        remedy = "`tidemill doctor` looks for usual causes."
    return _Bug(f"{type(error).__name__}: {str(error)[:300]}", remedy=remedy)


def quietly(function: Callable[[], Any], default: Any = None) -> Any:
    """The value of a call that may fail without harm: for nice-to-have lines only."""
    try:
        return function()
    except TidemillError:
        return default
