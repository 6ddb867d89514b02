"""tidemill models, runs, logs, card: what there is."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import click

from tidemill.cli.client import Api
from tidemill.cli.failures import NoFile
from tidemill.cli.session import Session, json_option, pass_session
from tidemill.cli.trials import show_search
from tidemill.cli.watch import TERMINAL, WHY, show_decision, show_reason, show_rows, stage_times
from tidemill.core.errors import NotFound

Item = dict[str, Any]
_RUN = re.compile(r"r-[0-9a-f]{8,}")
LOG_POLL_S = 1.0


@click.command()
@json_option
@pass_session
def models(session: Session) -> None:
    """List every model, the version in service and the state of its last run."""
    found = session.api("predict").get("/models")
    rows = [
        (
            item["model"],
            item.get("task") or "-",
            item.get("champion") or "-",
            item.get("versions"),
            item.get("state") or "-",
        )
        for item in found["models"]
    ]
    if rows:
        session.screen.table(["model", "task", "in service", "versions", "last run"], rows)
    else:
        session.screen.say("No models yet. Make one: tidemill push FILE --model NAME --wait")
    session.screen.document(found)


@click.command()
@click.argument("name")
@click.option("--all", "everything", is_flag=True, help="Show every trial of a run, not the best ten.")
@json_option
@pass_session
def runs(session: Session, name: str, everything: bool) -> None:
    """List the runs of a model, or show one run and how its model was chosen: NAME is a model or a run id (r-...)."""
    api = session.api()
    if _RUN.fullmatch(name):
        found = find_run(api, name)
        found = api.get(f"/models/{found['model']}/runs/{name}")
        found = {**found, "search": search_of(api, found)}
        show_run(session, found)
        show_search(session.screen, found["search"], everything=everything)
    else:
        found = api.get(f"/models/{name}/runs")
        rows = [_line(run) for run in found["runs"]]
        session.screen.table(["run", "state", "version", "received", "how it stands"], rows)
    session.screen.document(found)


def _line(run: Item) -> tuple[Any, ...]:
    progress, decision, reason = (run.get(name) or {} for name in ("progress", "decision", "reason"))
    said = reason.get("message") or decision.get("message") or progress.get("stage") or ""
    return run["run"], run["state"], run.get("version") or "-", (run.get("times") or {}).get("received", "-"), said


def show_run(session: Session, run: Item) -> None:
    """One run, for a person."""
    screen = session.screen
    upload = run.get("upload") or {}
    screen.say(f"{run['run']} of {run['model']}: {run['state']}", "bold")
    screen.say(f"Upload: {upload.get('key')} ({upload.get('size_bytes')} bytes)")
    if trigger := run.get("trigger"):
        screen.say(f"Trained again because of {WHY[trigger['why']]}, with {trigger['labelled']} labelled rows.")
    if run["state"] not in TERMINAL and (progress := run.get("progress")):
        count = f" {progress.get('step') or 0}/{progress['steps']}" if progress.get("steps") else ""
        screen.say(f"Now: {progress.get('stage')}{count} {progress.get('message') or ''}".rstrip())
    if wait := run.get("wait"):
        screen.say(f"Waiting: {wait.get('message')}", "yellow")
    if run.get("retries"):
        again = run.get("interrupted") or {}
        screen.say(f"Begun again {run['retries']} times, last because: {again.get('why')}")
    if reason := run.get("reason"):
        show_reason(screen, reason)
    show_rows(screen, run)
    if run["state"] == "READY":
        show_decision(screen, run)
    times = stage_times(run)
    screen.table(["stage", "seconds"], [(name, f"{value:.2f}") for name, value in times.items() if value is not None])


def search_of(api: Api, run: Item) -> Item | None:
    """What was tried in a run; None where it has no version, or one from before that was kept."""
    if run["state"] != "READY" or not run.get("version"):
        return None
    found: Item | None = api.get(f"/models/{run['model']}/versions/{run['version']}/search")["search"]
    return found


def find_run(api: Api, run: str) -> Item:
    """A run by its id alone, looked for in every model."""
    for model in api.get("/models")["models"]:
        for item in api.get(f"/models/{model['model']}/runs")["runs"]:
            if item["run"] == run:
                found: Item = item
                return found
    raise NotFound(f"No model has a run {run!r}.", code="UNKNOWN_RUN", remedy="List runs: tidemill runs MODEL.")


@click.command()
@click.argument("run")
@click.option("--follow", "-f", "follow_it", is_flag=True, help="Go on until the run has ended.")
@json_option
@pass_session
def logs(session: Session, run: str, follow_it: bool) -> None:
    """Print what the training job of RUN wrote."""
    api = session.api()
    path = f"/models/{find_run(api, run)['model']}/runs/{run}/logs"
    lines: list[Item] = []
    since, edge = 0, list[Item]()
    while True:
        page = api.get(path, since=since)
        fresh = [line for line in page["lines"] if line not in edge]
        for line in fresh:
            session.screen.say(line["message"])
        lines += fresh
        edge, since = [line for line in page["lines"] if line["at_ms"] == page["next"]], page["next"]
        if fresh:
            continue
        if page["ended"] or not follow_it:
            break
        session.sleep(LOG_POLL_S)
    if not lines:
        session.screen.say("No line is known of this run: its job has not written any, or there was no job.", "dim")
    session.screen.document({"run": run, "lines": lines})


@click.command()
@click.argument("model")
@click.option("--version", type=int, help="A version (default: the one in service).")
@click.option("--no-open", is_flag=True, help="Do not open a browser.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to write the card.")
@json_option
@pass_session
def card(session: Session, model: str, version: int | None, no_open: bool, output: Path | None) -> None:
    """Download MODEL's card and open it in a browser."""
    path = save_card(session, session.api("predict"), model, version, output)
    session.screen.say(f"The card: {path}")
    if not no_open and not session.screen.as_json:
        session.browse(path.resolve().as_uri())
    session.screen.document({"model": model, "version": version, "card": str(path)})


def save_card(session: Session, api: Api, model: str, version: int | None, output: Path | None) -> Path:
    """Write a card to a file; raises NoFile where that is not possible."""
    text = api.text(f"/models/{model}/card", **({"version": version} if version else {}))
    path = output or session.places.cards / (f"{model}-{version}.html" if version else f"{model}.html")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NoFile(f"{path} cannot be written ({error.strerror}).", remedy="Choose another place with -o.") from error
    return path
