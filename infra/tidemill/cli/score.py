"""tidemill score: a file of rows becomes a file of predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidemill.cli.client import Api
from tidemill.cli.failures import OK, REFUSED, UNEXPECTED, NoFile, TookTooLong
from tidemill.cli.push import send
from tidemill.cli.session import Session, json_option, pass_session
from tidemill.cli.watch import FIRST_POLL_S, LAST_POLL_S, show_reason
from tidemill.core.names import check_model
from tidemill.core.progress import Progress

Item = dict[str, Any]
ENDED = frozenset({"DONE", "REJECTED", "FAILED"})
_WAITING = {"": "waiting for the file's event to arrive", "RECEIVED": "about to be read"}


@click.command(epilog="Exit code 4: the file was rejected.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--model", required=True, help="The model whose version in service scores the file.")
@click.option("--wait", is_flag=True, help="Follow the scoring to its end.")
@click.option("--out", type=click.Path(path_type=Path), help="Wait, and write the predictions here (-: beside FILE).")
@click.option("--timeout", default=3600.0, show_default=True, help="Seconds to wait at most.")
@json_option
@pass_session
def score(session: Session, file: Path, model: str, wait: bool, out: Path | None, timeout: float) -> None:
    """Predict every row of FILE: CSV, JSON lines or Parquet (gzip too), or a zip of pictures or texts."""
    check_model(model)
    api = session.api("predict")
    upload = send(session, api, file, model, None, "score")
    if not wait and out is None:
        session.screen.say(f"Sent as {upload['upload']}. Its predictions come to results/{model}/; --wait follows it.")
        session.screen.document(upload)
        return
    scoring = _followed(session, api, model, upload["upload"], timeout)
    found = api.get(f"/models/{model}/scorings/{scoring['scoring']}")
    fetched = _fetched(session, api, found, file, out) if out is not None and found["state"] == "DONE" else []
    _show(session, found, fetched)
    session.screen.document({"upload": upload, "scoring": found, "fetched": [str(path) for path in fetched]})
    raise click.exceptions.Exit({"DONE": OK, "REJECTED": REFUSED}.get(found["state"], UNEXPECTED))


def _followed(session: Session, api: Api, model: str, upload: str, timeout_s: float) -> Item:
    """The scoring of an upload once it has ended; raises TookTooLong."""
    started = session.clock()
    with session.screen.progress() as report:
        for turn in range(10**9):
            found: list[Item] = api.get(f"/models/{model}/scorings", upload=upload)["scorings"]
            item = found[0] if found else {}
            report(_progress(item))
            if item.get("state") in ENDED:
                return item
            if session.clock() - started > timeout_s:
                raise TookTooLong(
                    f"After {timeout_s:.0f} s the scoring is {item.get('state', 'not received yet')}. "
                    "It goes on without this command.",
                    remedy="Wait longer with --timeout; its predictions come to the bucket all the same.",
                    scoring=item.get("scoring"),
                )
            session.sleep(min(FIRST_POLL_S * 1.2**turn, LAST_POLL_S) if turn < 20 else LAST_POLL_S)
    raise AssertionError("the loop ends by returning or raising")


def _progress(item: Item) -> Progress:
    state = str(item.get("state", ""))
    rows = (item.get("progress") or {}).get("rows")
    if state == "RUNNING":
        where = "by a job" if item.get("job") else "by the function"
        said = f"{rows['in']:,} rows read, {rows['rejected']:,} set aside" if rows else "reading"
        return Progress(state, 0, 0, f"version {item['version']}, {where}: {said}")
    return Progress(state or "SENT", 0, 0, _WAITING.get(state, ""))


def _fetched(session: Session, api: Api, found: Item, file: Path, out: Path) -> list[Path]:
    """Write predictions, and the rows set aside where there are any, to files."""
    urls = {entry["name"]: entry["url"] for entry in found["files"]}
    name = next(name for name in urls if name.startswith("predictions."))
    place = file.with_name(f"{file.name.partition('.')[0]}.{name}") if str(out) == "-" else out
    wanted = {place: urls[name]}
    if found["rows"]["rejected"]:
        wanted[place.with_name(f"{place.stem}.rejects.csv")] = urls["rejects.csv"]
    if not place.parent.is_dir():
        raise NoFile(f"{place.parent} is no folder.", remedy="Make it, or choose another place with --out.")
    with session.screen.progress() as report:
        for path, url in wanted.items():
            api.fetch_file(url, path, lambda done, whole: report(Progress("FETCHING", done, whole)))
    return list(wanted)


def _show(session: Session, found: Item, fetched: list[Path]) -> None:
    screen, done = session.screen, found["state"] == "DONE"
    said = f"{found['model']}: scoring {found['scoring']} is {found['state']}."
    screen.say(said, "bold green" if done else "bold red")
    if reason := found.get("reason"):
        show_reason(screen, reason)
    if done:
        rows = found["rows"]
        screen.say(
            f"Rows: {rows['in']:,} read, {rows['out']:,} predicted by version {found['version']}, "
            f"{rows['rejected']:,} set aside."
        )
        for path in fetched:
            screen.say(f"Written: {path}")
        if not fetched:
            screen.say(f"The files: {found['results']} in the artifacts bucket; --out FILE fetches them.")
