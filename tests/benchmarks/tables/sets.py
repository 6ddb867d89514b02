"""The real tables of the comparison: where each lies, what it predicts, and how a large one is divided."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

LARGEST = 10_000  # rows; a larger set is learned from in part, and tested on half of its rows
LEARNED = {"train": 7_000, "validation": 1_500}  # rows of a larger set, drawn anew by every seed
TESTED = 0.5  # of the rows of a larger set: what decides on shuttle is one row in some hundred

TARGETS = {
    "titanic": "survived",
    "resume_callbacks": "received_callback",
    "charity_mailing": "respond",
    "credit": "Status",
    "loans": "Class",
    "taxi_tips": "tip",
    "adult": "income",
    "letters": "lettr",
    "shuttle": "Class",
    "ames_housing": "Sale_Price",
    "computer_prices": "price",
    "diamonds": "price",
}


def target_of(folder: Path) -> str:
    """The column to predict: what meta.json names, else what stands above."""
    meta = folder / "meta.json"
    named = json.loads(meta.read_text()).get("target") if meta.exists() else None
    return str(named or TARGETS[folder.name])


def source_of(folder: Path) -> Path:
    """The file with the rows: of a set in two files, the one to train on."""
    for name in ("data.csv", "train.csv"):
        if (folder / name).exists():
            return folder / name
    raise SystemExit(f"{folder} has neither data.csv nor train.csv: write the set there first.")


def spec_of(folder: Path, seed: int) -> dict[str, Any]:
    """What tidemill.toml says of a set; another seed is another division of its rows."""
    test = {"test": TESTED} if is_large(folder) else {}
    return {"data": {"target": target_of(folder)}, "split": {"seed": seed, **test}}


def is_large(folder: Path) -> bool:
    """Whether a set has more than LARGEST lines under its header."""
    with source_of(folder).open("rb") as file:
        return sum(1 for _ in file) - 1 > LARGEST
