"""tidemill demo: from nothing to a prediction, with the times and the lines to repeat it by hand."""

from __future__ import annotations

import csv
import json
import shlex
from pathlib import Path
from typing import Any

import click

from tidemill.cli import stack
from tidemill.cli.ask import ask, show_explanations, show_predictions
from tidemill.cli.cost import in_words
from tidemill.cli.failures import NoFile
from tidemill.cli.models import save_card
from tidemill.cli.push import see_through, send, spec_text
from tidemill.cli.screen import seconds
from tidemill.cli.session import Session, json_option, pass_session, quietly

MODEL, TARGET = "adult-demo", "income"
DATA = Path("tests/data/adult-3000.csv")
Item = dict[str, Any]


@click.command()
@click.option("--port", envvar="TIDEMILL_PORT", default=stack.PORT, show_default=True, help="The port on 127.0.0.1.")
@click.option("--timeout", default=900.0, show_default=True, help="Seconds to wait for the model at most.")
@json_option
@pass_session
def demo(session: Session, port: int, timeout: float) -> None:
    """Start the stack, train a model on 3,000 census rows, predict and explain one row. The stack stays up."""
    file = session.places.root / DATA
    if not file.is_file():
        raise NoFile(f"{file} is missing.", remedy="Run the demo from the repository.")
    screen = session.screen
    started = session.clock()
    found: Item = {"stack": stack.start(session, port)}
    found["up_s"] = session.clock() - started
    screen.say(f"The stack is up after {seconds(found['up_s'])}: {found['stack']['url']}", "bold")

    began = session.clock()
    api = session.api()
    upload = send(session, api, file, MODEL, spec_text(None, TARGET, None))
    code, end = see_through(session, api, MODEL, upload, timeout)
    found |= end
    if end["run"]["state"] != "READY":
        screen.document(found)
        raise click.exceptions.Exit(code)
    row = _first_row(file, api.get(f"/models/{MODEL}"))
    asked = session.clock()
    found["predictions"] = ask(session, MODEL, "predict", [row], {})
    found["times_s"]["first prediction"] = session.clock() - asked
    found["upload_to_prediction_s"] = session.clock() - began
    show_predictions(screen, found["predictions"])
    found["explanations"] = ask(session, MODEL, "explain", [row], {})
    show_explanations(screen, found["explanations"])
    found["card"] = str(quietly(lambda: save_card(session, api, MODEL, None, None)) or "")
    found["curl"] = curl_lines(found["stack"]["url"], session.places.keys_file, row)
    found["cost"] = api.get(f"/models/{MODEL}/versions/{end['run']['version']}").get("cost")
    _tell(session, found)
    screen.document(found)


def _first_row(file: Path, model: Item) -> Item:
    """The first row of the data without its answer, numbers as numbers where the model reads numbers."""
    with file.open(newline="", encoding="utf-8") as lines:
        row = next(csv.DictReader(lines))
    columns = (model.get("input") or {}).get("columns", [])
    numbers = {column["name"] for column in columns if column["kind"] == "number"}
    return {
        name: json.loads(value) if name in numbers and value else value or None
        for name, value in row.items()
        if name != TARGET
    }


def curl_lines(url: str, keys_file: Path, row: Item) -> list[str]:
    """Lines to copy; the key is read from its file so that it stays out of the shell's history."""
    read = f"import json; print(json.load(open({str(keys_file)!r}))['predict'])"  # single quotes only
    body = shlex.quote(json.dumps({"rows": [row]}))
    head = '-H "x-api-key: $TIDEMILL_KEY" -H "content-type: application/json"'
    return [
        f'export TIDEMILL_KEY=$(python3 -c "{read}")',
        f'curl -sS {url}/models/{MODEL} -H "x-api-key: $TIDEMILL_KEY"',
        *(f"curl -sS {url}/models/{MODEL}/{verb} {head} -d {body}" for verb in ("predict", "explain")),
    ]


def _tell(session: Session, found: Item) -> None:
    screen = session.screen
    screen.say(f"First prediction: {seconds(found['times_s']['first prediction'])}")
    screen.say(f"From upload to first prediction: {seconds(found['upload_to_prediction_s'])}", "bold green")
    for line in in_words(found["cost"] or {}):
        screen.say(line)
    screen.say()
    screen.say("Try it yourself:", "bold")
    for line in found["curl"]:
        screen.say(line)
    screen.say()
    if found["card"]:
        screen.say(f"The card: {found['card']}")
    screen.say(f"Docs:     {found['stack']['console_url']}/docs   (user: key, password: a key)")
    screen.say("The stack stays up; `tidemill down` stops it.")
