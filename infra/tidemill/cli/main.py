"""The `tidemill` command."""

from __future__ import annotations

import click

from tidemill.cli.aliases import canary, history, pin, promote, rollback, unpin
from tidemill.cli.ask import explain, predict
from tidemill.cli.backbones import backbone
from tidemill.cli.cost import cost
from tidemill.cli.demo import demo
from tidemill.cli.deploy import deploy
from tidemill.cli.doctor import doctor
from tidemill.cli.drift import drift, feedback
from tidemill.cli.failures import EXIT_CODES
from tidemill.cli.keys import keys
from tidemill.cli.models import card, logs, models, runs
from tidemill.cli.push import push
from tidemill.cli.retrain import retrain, schedule
from tidemill.cli.score import score
from tidemill.cli.session import Session, Tool
from tidemill.cli.stack import down, status, up
from tidemill.cli.why import why
from tidemill.core.version import VERSION


@click.group(cls=Tool, epilog=EXIT_CODES, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(VERSION, message="%(version)s")
@click.pass_context
def main(context: click.Context) -> None:
    """Model-as-a-service without servers: push a data set, get a model behind an API.

    Commands talk to TIDEMILL_URL with TIDEMILL_KEY where those are set, else to the local stack of `tidemill up`.
    """
    if context.obj is None:
        context.obj = Session.of_process()


for command in (
    *(up, down, status, demo, doctor, deploy),
    *(push, models, runs, logs, card, predict, explain, keys),
    *(score, promote, rollback, pin, unpin, canary, history),
    *(*(retrain, schedule), backbone, cost),
    *(drift, feedback, why),
):
    main.add_command(command)


if __name__ == "__main__":
    main()
