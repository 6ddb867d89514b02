"""tidemill drift, feedback: do requests still look like the training data, and what was true of the predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from tidemill.cli.failures import NoFile
from tidemill.cli.rows import read_rows
from tidemill.cli.screen import number
from tidemill.cli.session import Session, json_option, pass_session
from tidemill.core.errors import BadRequest
from tidemill.core.limits import limit

Item = dict[str, Any]
SHOWN = 15  # tests of a report, the least likely first


@click.command()
@click.argument("model")
@click.option("--time", default="latest", show_default=True, help="The report of this time; --list shows the times.")
@click.option("--list", "all_of_them", is_flag=True, help="List the reports of MODEL instead of showing one.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the page with pictures.")
@json_option
@pass_session
def drift(session: Session, model: str, time: str, all_of_them: bool, output: Path | None) -> None:
    """Show whether the requests to MODEL still look like the data it was trained on."""
    api = session.api("predict")
    listed = api.get(f"/models/{model}/reports")
    if all_of_them or (time == "latest" and not listed["reports"]):
        _list(session, listed)
        return
    report = api.get(f"/models/{model}/reports/{time}")
    _show(session, report)
    if output is not None:
        _save(output, api.text(f"/models/{model}/reports/{report['time']}/page"))
        session.screen.say(f"The page: {output}")
    session.screen.document(report)


def _list(session: Session, listed: Item) -> None:
    screen, waiting = session.screen, listed.get("waiting") or {}
    rows = [(item["time"], item["version"], item["rows"], _named(item["drifted"])) for item in listed["reports"]]
    if rows:
        screen.table(["report", "version", "rows", "changed"], rows)
    if not rows or waiting:
        rows_told = f"{waiting['rows']} of {waiting['least']} rows came" if waiting else "nobody has looked yet"
        screen.say(f"{'No report yet' if not rows else 'The next report waits'}: {rows_told}.", "dim")
    screen.document(listed)


def _show(session: Session, report: Item) -> None:
    screen = session.screen
    screen.say(f"{report['model']}, version {report['version']}: {report['words']}", "bold")
    tests = sorted([*report["scores"], *report["columns"]], key=lambda item: (not _changed(item), item["p"]))
    rows = [
        (
            item["name"],
            item["test"],
            number(item["statistic"]),
            f"{item['p']:.2g}",
            " to ".join(f"{share:.1%}" for share in item["missing"]),
            number(item["psi"]),
            "changed" if _changed(item) else "",
        )
        for item in tests[:SHOWN]
    ]
    title = f"A chance below {report['bound']:.2g} counts"
    screen.table(["column", "test", "distance", "chance", "missing", "PSI", ""], rows, title)
    _show_performance(session, report["performance"])
    for said in report["quality"]:
        screen.say(f"- {said}")


def _show_performance(session: Session, told: Item) -> None:
    names = {"then": "test rows, then", "estimated": "estimated now, without labels", "real": "labelled rows, now"}
    rows = [
        (name, number(found["value"]), f"{number(found['low'])} to {number(found['high'])}", found.get("rows", ""))
        for key, name in names.items()
        if (found := told.get(key))
    ]
    session.screen.table([str(told["measure"]), "value", "95 % interval", "rows"], rows)
    session.screen.say(str(told["note"]), "dim")


def _changed(item: Item) -> bool:
    return bool(item["drifted"] or item["missing_drifted"])


def _named(drifted: list[str]) -> str:
    return ", ".join(drifted[:6]) + (" ..." if len(drifted) > 6 else "") if drifted else "nothing beyond chance"


def _save(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise NoFile(f"{path} cannot be written ({error.strerror}).", remedy="Choose another place with -o.") from error


@click.command()
@click.argument("file")
@click.option("--model", required=True, help="The model that was asked.")
@json_option
@pass_session
def feedback(session: Session, file: str, model: str) -> None:
    """Tell what was true of predictions: FILE has request, row and label (CSV, JSON lines; '-' reads standard input).

    `request` is the header x-request-id of the prediction, `row` its place in the request from 0 (0 where left out).
    """
    labels = [_label(item, place) for place, item in enumerate(read_rows(None, file), start=1)]
    api, kept, most = session.api("predict"), 0, limit("feedback_labels")
    for first in range(0, len(labels), most):
        kept += api.post(f"/models/{model}/feedback", {"labels": labels[first : first + most]})["labels"]
    session.screen.say(f"{kept} labels of {model} are kept.", "green")
    session.screen.document({"model": model, "labels": kept})


def _label(item: Item, place: int) -> Item:
    try:
        label = {"request": str(item["request"]), "row": int(item.get("row") or 0), "label": item["label"]}
    except (KeyError, ValueError, TypeError) as error:
        raise BadRequest(
            f"Row {place} is no label ({error}).",
            code="BAD_LABEL",
            remedy="The file needs the columns request, row and label; row is a whole number.",
        ) from error
    return label
