"""tidemill retrain, schedule: train again from the newest data and feedback, and when that happens by itself."""

from __future__ import annotations

from typing import Any

import click

from tidemill.cli.client import Api
from tidemill.cli.failures import OK, REFUSED, TookTooLong
from tidemill.cli.session import Session, json_option, pass_session
from tidemill.cli.watch import WHY, follow, show_end, show_reason, stage_times

Item = dict[str, Any]
ANSWER_S = 300.0  # Retrain reads the whole upload and the request log before it says something
POLL_S = 0.5


@click.command()
@click.argument("model")
@click.option("--why", default="", help="The reason, for the record.")
@click.option("--list", "list_them", is_flag=True, help="Show what came of earlier wishes, start nothing.")
@click.option("--wait", is_flag=True, help="Follow the training to its end.")
@click.option("--timeout", type=float, default=3600.0, show_default=True, help="Seconds to wait.")
@json_option
@pass_session
def retrain(session: Session, model: str, why: str, list_them: bool, wait: bool, timeout: float) -> None:
    """Train MODEL again from the newest data and the rows labelled since, or say why there is nothing to learn."""
    api = session.api()
    if list_them:
        found = api.get(f"/models/{model}/retrains")
        rows = [_line(item) for item in found["retrains"]]
        session.screen.table(["when", "woken by", "came of it", ""], rows)
        session.screen.document(found)
        return
    asked = api.post(f"/models/{model}/retrain", {"why": why})
    attempt = _answer(session, api, model, asked["ask"])
    code, run = _show(session, attempt), None
    if wait and attempt["state"] == "STARTED":
        run = follow(session, api, model, attempt["upload"], timeout)
        show_end(session.screen, run, None, stage_times(run))
        code = OK if (run.get("decision") or {}).get("promoted") else REFUSED
    session.screen.document({"retrain": attempt, "run": run})
    raise click.exceptions.Exit(code)


def _answer(session: Session, api: Api, model: str, ask: str) -> Item:
    """What came of the wish with this number; raises TookTooLong."""
    started = session.clock()
    while session.clock() - started < ANSWER_S:
        for item in api.get(f"/models/{model}/retrains")["retrains"]:
            if item.get("ask") == ask:
                found: Item = item
                return found
        session.sleep(POLL_S)
    raise TookTooLong(
        f"After {ANSWER_S:.0f} s nobody has answered the wish. It stands without this command.",
        remedy=f"Look again with `tidemill retrain {model} --list`; see `tidemill doctor`.",
    )


def _show(session: Session, attempt: Item) -> int:
    if attempt["state"] != "STARTED":
        show_reason(session.screen, attempt["reason"])
        return REFUSED
    rows = attempt["rows"]
    session.screen.say(
        f"Training again from {rows['base']} rows and {rows['labelled']} labelled ones (upload {attempt['upload']}).",
        "green",
    )
    for name, what in (
        ("unmatched", "belong to requests that the log does not hold"),
        ("hidden", "have columns whose values are not kept"),
    ):
        if rows[name]:
            session.screen.say(f"{rows[name]} labels {what}; nothing is learned from them.", "yellow")
    return OK


def _line(item: Item) -> tuple[Any, ...]:
    rows, reason = item.get("rows") or {}, item.get("reason") or {}
    if item["state"] == "STARTED":
        said = f"upload {item['upload']}: {rows.get('base')} rows and {rows.get('labelled')} labelled ones"
    else:
        said = f"{reason.get('code')}: {reason.get('message')}"
        said += f" ({item['again']} times more, last at {item['last']})" if item.get("again") else ""
    return item["at"], WHY.get(item["why"], item["why"]), item["state"], said


@click.command()
@click.argument("model")
@click.option("--pause", "paused", flag_value="yes", default=None, help="Let nothing start by itself.")
@click.option("--resume", "paused", flag_value="no", help="Let it go on.")
@json_option
@pass_session
def schedule(session: Session, model: str, paused: str | None) -> None:
    """Show when MODEL is watched and trained again by itself; pause that, or let it go on."""
    api, path = session.api(), f"/models/{model}/schedule"
    found = api.get(path) if paused is None else api.post(path, {"paused": paused == "yes"})
    screen = session.screen
    if found["version"] is None:
        screen.say(f"{model} has no version in service, so there is nothing to schedule yet.")
    else:
        screen.say(f"Trained again: {found['retrain'] or 'by no clock'}{_also(found)}.")
        screen.say(f"Watched: {found['monitor'] or 'by no clock'}.")
    if found["paused"]:
        by = f" by {found['switch']['by']} since {found['switch']['at']}" if found.get("switch") else ""
        screen.say(f"Paused{by}: nothing starts by itself. Let it go on: tidemill schedule {model} --resume", "yellow")
    screen.document(found)


def _also(found: Item) -> str:
    also = ["on drift"] if found["on_drift"] else []
    also += [f"with every {found['min_new_labels']} new labels"] if found["min_new_labels"] else []
    return f", {' and '.join(also)}" if also else ""
