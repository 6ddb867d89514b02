"""Explanations of pictures and texts: heat-maps as files, texts with coloured words."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.text import Text

from tidemill.cli.failures import NoFile
from tidemill.cli.screen import Screen, bar

Item = dict[str, Any]
STRONGEST = 10  # words in the table below a text
# Weak to strong. Orange and blue, as in heat-maps: people with any colour vision tell them apart.
FOR = ("orange3", "dark_orange", "bold reverse dark_orange")
AGAINST = ("sky_blue3", "dodger_blue1", "bold reverse dodger_blue1")


def save_heat_maps(screen: Screen, found: Item, names: Sequence[str], out: Path | None) -> list[Path]:
    """Write every heat-map to a file: OUT for one, OUT-1, OUT-2 ... for several; else NAME-heat.png here."""
    maps = [about.get("heatmap") for about in found.get("explanations") or []]
    saved = []
    for place, heat in enumerate(maps):
        if heat is None:
            continue
        name = Path(names[place]).stem if place < len(names) else f"row-{place + 1}"
        path = Path(f"{name}-heat.png") if out is None else out
        if out is not None and len(maps) > 1:
            path = out.with_name(f"{out.stem}-{place + 1}{out.suffix or '.png'}")
        saved.append(_write(path, base64.b64decode(heat)))
        screen.say(f"{path}: orange and red spoke for the answer, blue against it.")
    return saved


def _write(path: Path, content: bytes) -> Path:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        raise NoFile(f"{path} cannot be written ({error.strerror}).", remedy="Choose another with --out.") from error
    return path


def show_marks(screen: Screen, row: Mapping[str, Any], about: Item) -> None:
    """The text with its words coloured, then the strongest of them as a table."""
    parts = about.get("contributions", [])
    largest = max((abs(part["contribution"]) for part in parts), default=0.0)
    if text := _text_of(row, parts):
        screen.out.print(marked(text, parts, largest))
        screen.say("Orange spoke for the answer, blue against it.", "dim")
    strongest = sorted(parts, key=lambda part: -abs(part["contribution"]))[:STRONGEST]
    rows = [
        (_printable(part["text"]), f"{part['contribution']:+.4g}", bar(part["contribution"], largest))
        for part in strongest
    ]
    screen.table(["word", "adds", ""], rows)


def marked(text: str, parts: Sequence[Item], largest: float) -> Text:
    """A text in which every part has the colour of what it added."""
    shown = Text(_printable(text))
    for part in parts:
        share = abs(part["contribution"]) / largest if largest else 0.0
        styles = FOR if part["contribution"] > 0 else AGAINST
        shown.stylize(styles[min(len(styles) - 1, int(share * len(styles)))], part["start"], part["end"])
    return shown


def _printable(text: str) -> str:
    """The text without what a terminal would obey; as long as before, so that marks keep their places."""
    return "".join(sign if sign.isprintable() or sign in "\n\t" else "\ufffd" for sign in text)


def _text_of(row: Mapping[str, Any], parts: Sequence[Item]) -> str:
    """The cell of a row that the parts are of; empty where the row only names a file."""
    for cell in row.values():
        if isinstance(cell, str) and parts and all(cell[p["start"] : p["end"]] == p["text"] for p in parts):
            return cell
    return ""
