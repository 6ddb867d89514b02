"""tidemill predict and explain: rows in, answers of the version in service out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from tidemill.cli.given import rows_of
from tidemill.cli.marked import save_heat_maps, show_marks
from tidemill.cli.rows import Row, batches
from tidemill.cli.screen import Screen, bar, number
from tidemill.cli.session import Session, json_option, pass_session

Item = dict[str, Any]
SHOWN = 100  # rows in a table for a person; --json has all
Command = TypeVar("Command", bound=Callable[..., Any])


def rows_options(command: Command) -> Command:
    """The ways to give rows, and how many of them to take."""
    command = click.option("--text", "texts", multiple=True, help="A text; may be given several times.")(command)
    command = click.option("--limit", type=click.IntRange(min=1), help="Take the first N rows only.")(command)
    command = click.option("--file", "-f", "file", help="Rows in CSV or JSON lines; '-' reads standard input.")(command)
    command = click.option("--row", help='One row as JSON: \'{"age": 39, "job": "clerk"}\'.')(command)
    return click.argument("pictures", nargs=-1, type=click.Path(path_type=Path))(command)


@click.command()
@click.argument("model")
@rows_options
@click.option("--interval", type=float, help="Add the bounds that hold the true value in this share of rows: 0.9.")
@click.option(
    "--set", "label_set", type=float, help="Add the labels that hold the true one in this share of rows: 0.9."
)
@json_option
@pass_session
def predict(
    session: Session,
    model: str,
    pictures: tuple[Path, ...],
    row: str | None,
    file: str | None,
    limit: int | None,
    texts: tuple[str, ...],
    interval: float | None,
    label_set: float | None,
) -> None:
    """Predict rows, PICTURES (files) or texts with MODEL's version in service."""
    levels = {name: level for name, level in (("interval", interval), ("set", label_set)) if level is not None}
    rows = rows_of(session.api("predict"), model, row, file, pictures, texts)[:limit]
    found = ask(session, model, "predict", rows, levels)
    show_predictions(session.screen, found, [path.name for path in pictures])
    session.screen.document(found)


@click.command()
@click.argument("model")
@rows_options
@click.option("--target", help="The label to explain (default: the predicted one).")
@click.option("--out", "-o", type=click.Path(path_type=Path), help="Where to write the heat-map of a picture.")
@json_option
@pass_session
def explain(
    session: Session,
    model: str,
    pictures: tuple[Path, ...],
    row: str | None,
    file: str | None,
    limit: int | None,
    texts: tuple[str, ...],
    target: str | None,
    out: Path | None,
) -> None:
    """Say what every column of a row, pixel of PICTURES (files) or word of a text added to MODEL's prediction."""
    extra = {"target": target} if target else {}
    rows = rows_of(session.api("predict"), model, row, file, pictures, texts)[:limit]
    found = ask(session, model, "explain", rows, extra)
    names = [path.name for path in pictures]
    show_explanations(session.screen, found, rows, names)
    if out is not None or not session.screen.as_json:
        save_heat_maps(session.screen, found, names, out)
    session.screen.document(found)


def ask(session: Session, model: str, verb: str, rows: list[Item], more: Item) -> Item:
    """The answers for all rows, in as many requests as it takes; every list of the answers joined."""
    api = session.api("predict")
    joined: Item = {}
    for batch in batches(rows, verb):
        answer = api.post(f"/models/{model}/{verb}", {"rows": batch, **more})
        for name, value in answer.items():
            joined[name] = [*joined.get(name, []), *value] if isinstance(value, list) else value
    return joined


def show_predictions(screen: Screen, found: Item, names: Sequence[str] = ()) -> None:
    """A line a row: the label and its probability, or the value; then what else the answers hold."""
    predictions = found.get("predictions", [])
    more = [name for name in MORE if any(name in item for item in predictions)]
    rows = [
        (_name(names, place), *_shown(item), *(MORE[name](item.get(name)) for name in more))
        for place, item in enumerate(predictions[:SHOWN], start=1)
    ]
    screen.table(
        ["picture" if names else "row", "prediction", "", *more],
        rows,
        f"{found.get('model')} version {found.get('version')}",
    )
    if len(predictions) > SHOWN:
        screen.say(f"... and {len(predictions) - SHOWN} more rows; --json prints all.")


def _name(names: Sequence[str], place: int) -> str:
    """What a row is called: its file, or its number."""
    return names[place - 1] if place <= len(names) else str(place)


def _decision(value: Any) -> str:
    """What to do about a row, and the rule that says so."""
    if not isinstance(value, dict):
        return "-"
    rule = f"{value.get('label')} from {number(value.get('threshold'))}"
    return f"act ({rule})" if value.get("act") else f"do not act ({rule})"


MORE: dict[str, Callable[[Any], str]] = {  # columns that only some answers have
    "low": number,
    "high": number,
    "set": lambda labels: ", ".join(map(str, labels or [])),
    "decision": _decision,
    "noticed": lambda told: "; ".join(f"{column}: {what}" for column, what in (told or {}).items()),
}


def _shown(item: Item) -> tuple[str, str]:
    if "label" not in item:
        return number(item.get("value")), ""
    ranked = sorted((item.get("probabilities") or {}).items(), key=lambda pair: -pair[1])
    return str(item["label"]), "  ".join(f"{label} {value:.1%}" for label, value in ranked[:5])


def show_explanations(screen: Screen, found: Item, rows: Sequence[Row] = (), names: Sequence[str] = ()) -> None:
    """What was predicted for each row, and what of it led there: columns, words, or pixels, which go to a file."""
    for place, (prediction, about) in enumerate(explained(found)[:SHOWN], start=1):
        label, chances = _shown(prediction)
        screen.say(f"{names[place - 1] if names else f'Row {place}'}: {label}  {chances}".rstrip(), "bold")
        what = f"the probability of {about['target']}" if about.get("target") is not None else "the value"
        screen.say(f"{what} goes from {number(about.get('baseline'))} (average) to {number(about.get('prediction'))}:")
        if "rest" in about:
            show_marks(screen, rows[place - 1] if place <= len(rows) else {}, about)
        elif "heatmap" not in about:
            _show_columns(screen, about.get("contributions", []))


def _show_columns(screen: Screen, parts: list[Item]) -> None:
    """Every column, its value, what it added, and a bar."""
    largest = max((abs(part["contribution"]) for part in parts), default=0.0)
    lines = [
        (part["column"], _value(part.get("value")), f"{part['contribution']:+.4g}", bar(part["contribution"], largest))
        for part in parts
    ]
    screen.table(["column", "value", "adds", ""], lines)


def explained(found: Item) -> list[tuple[Item, Item]]:
    """Predictions with their explanations, which stand beside them or within them."""
    predictions = found.get("predictions", [])
    beside = found.get("explanations") or []
    return [(item, beside[place] if place < len(beside) else item) for place, item in enumerate(predictions)]


def _value(value: Any) -> str:
    return "(none)" if value is None else number(value)
