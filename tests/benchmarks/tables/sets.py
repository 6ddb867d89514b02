"""The real tables of the comparison: where each lies, what it predicts, and how a large one is sampled."""

from __future__ import annotations

import csv
import json
import random
from pathlib import Path

LARGEST = 10_000  # rows; of more, as many are drawn with a fixed seed, the same for every model and every seed

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


def sample(source: Path, out: Path) -> Path:
    """The file itself, or a file of LARGEST of its rows drawn with seed 0."""
    with source.open(newline="") as file:
        header, *rows = csv.reader(file)
    if len(rows) <= LARGEST:
        return source
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="") as file:
        csv.writer(file).writerows([header, *random.Random(0).sample(rows, LARGEST)])
    return out
