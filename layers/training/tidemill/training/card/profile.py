"""What the uploaded pictures or texts are like: sizes, kinds and lengths, and how many there are of each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tidemill.training.card import bars
from tidemill.training.card.text import number, percent, visible
from tidemill.training.card.words import modality_of

Facts = dict[str, Any]
MODES = {  # of Pillow; others by their own name
    "1": "black and white",
    "L": "grey",
    "LA": "grey with transparency",
    "P": "palette",
    "RGB": "colour",
    "RGBA": "colour with transparency",
}


def profile(schema: Facts, found: Facts) -> Facts | None:
    """The profile as facts of the card; None for tables, whose columns tell it."""
    modality = modality_of(schema)
    if modality == "picture":
        return {**(found.get("pictures") or {}), "classes": found.get("classes") or []}
    if modality == "text":
        columns = found.get("columns") or {}
        name = next((column["name"] for column in schema["columns"] if column.get("kind") == "text"), "")
        return {"column": name, **(columns.get(name) or {}), "classes": _classes(columns.get(schema["target"]) or {})}
    return None


def _classes(target: Facts) -> list[Facts]:
    """The most frequent classes, which is what the profile of a table's target keeps."""
    return [{"label": item["value"], "rows": item["rows"], "examples": []} for item in target.get("top") or []]


def sentences(card: Facts) -> list[str]:
    """What a person reads of it; nothing of what was not counted."""
    found = card["data"]["profile"]
    if not found:
        return []
    said = _of_pictures(found) if modality_of(card) == "picture" else _of_texts(found)
    return [sentence for sentence in said if sentence]


def _of_pictures(found: Facts) -> list[str]:
    return [
        _sizes(found),
        _counted("Files", found.get("formats"), {}),
        _counted("Colours", found.get("modes"), MODES),
        f"With a side of fewer than 8 pixels: {number(found['tiny'])}." if found.get("tiny") else "",
    ]


def _sizes(found: Facts) -> str:
    """One size, or from the smallest to the largest."""
    height, width = found.get("height"), found.get("width")
    if not height or not width:
        return ""
    if height["min"] == height["max"] and width["min"] == width["max"]:
        return f"All pictures are {number(width['min'])} pixels wide and {number(height['min'])} high."
    sides = [
        f"{number(side['min'])} to {number(side['max'])} pixels {word} (half of them up to {number(side['median'])})"
        for side, word in ((width, "wide"), (height, "high"))
    ]
    return f"Pictures are {' and '.join(sides)}."


def _counted(what: str, counts: Facts | None, names: dict[str, str]) -> str:
    ranked = sorted((counts or {}).items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{names.get(name, visible(name, 20))} {number(count)}" for name, count in ranked)
    return f"{what}: {listed}." if listed else ""


def _of_texts(found: Facts) -> list[str]:
    length, share, hidden = found.get("characters"), found.get("cjk_share"), found.get("invisible")
    ends = f"{number(length['min'])} to {number(length['max'])}" if length else ""
    return [
        f"Texts have {ends} characters, {number(length['mean'])} on average." if length else "",
        f"{number(found['distinct'])} of them are different." if found.get("distinct") else "",
        f"{percent(share)} are written in Chinese or Japanese characters for the most part." if share else "",
        f"{number(hidden)} hold characters that nobody sees; they are not learned from." if hidden else "",
    ]


def classes(card: Facts) -> Markup | None:
    """How many there are of each class, the largest first."""
    found = (card["data"]["profile"] or {}).get("classes") or []
    if not found:
        return None
    ranked = sorted(found, key=lambda item: -item["rows"])[: bars.BARS]
    rows = [(visible(item["label"], 40), float(item["rows"])) for item in ranked]
    said = f"The largest class is {rows[0][0]} with {number(rows[0][1])}, the smallest shown {rows[-1][0]}."
    return bars.rows_of_bars("classes", "Classes", said, rows, written=number)


def smaller(card: Facts) -> int:
    """Classes that the drawing leaves out."""
    known = len((card["data"]["profile"] or {}).get("classes") or [])
    return max(known, len(card["labels"])) - min(known, bars.BARS) if known else 0


def lengths(card: Facts) -> Markup | None:
    """How many texts have at most so many characters, by doublings."""
    found = (card["data"]["profile"] or {}).get("lengths") or {}
    steps: Sequence[tuple[int, int]] = list(zip(found.get("up_to") or [], found.get("counts") or [], strict=False))
    used = [at for at, (_, count) in enumerate(steps) if count]
    if not used:
        return None
    rows = [
        (f"{number(most // 2 + 1)} to {number(most)}" if most > 2 else number(most), float(count))
        for most, count in steps[used[0] : used[-1] + 1]
    ]
    most_frequent = max(rows, key=lambda row: row[1])[0]
    said = f"Texts by their number of characters; most have {most_frequent}."
    return bars.rows_of_bars("lengths", "Lengths of the texts", said, rows, written=number)
