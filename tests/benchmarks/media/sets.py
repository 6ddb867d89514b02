"""The sets of texts and pictures: where each lies, what its columns mean, and how a large one is sampled.

"SET@N" is the set with N rows to learn from, drawn anew by every seed; the test rows stay those of the whole set.
"""

from __future__ import annotations

import csv
import random
import sys
from pathlib import Path
from typing import Any

LARGEST = 10_000  # texts; of more, as many are drawn with a fixed seed, the same for every model and every seed
TEST, VALIDATION = 0.2, 0.15  # shares; five seeds make five parts of the rows
TEXTS = ("zh_sentiment", "movie_sentiment", "spam_mail", "news20", "debian_sections")
PICTURES = ("mnist10k", "stamps", "clipart8")
LABELLED = ("movie_sentiment@100", "movie_sentiment@1000")  # few labels, where a frozen network may help most
DROPPED = {"movie_sentiment": ["score"]}  # the label as a number


def spec_of(name: str, seed: int) -> dict[str, Any]:
    """What tidemill.toml says of a set; another seed is another division of its rows."""
    data = {"drop": DROPPED[name]} if name in DROPPED else {}
    texts = {} if name in PICTURES else {"target": "label", "text": "text", **data}
    return {"data": texts, "split": {"seed": seed, "test": TEST, "validation": VALIDATION}}


def source_of(folder: Path) -> Path:
    """The file with the rows: of a set in two files, the one to train on."""
    for name in ("data.csv", "train.csv", "images.zip"):
        if (folder / name).exists():
            return folder / name
    raise SystemExit(f"{folder} has no data.csv, train.csv or images.zip: write the set there first.")


def sample(source: Path, out: Path) -> Path:
    """The file itself, or a file of LARGEST of its rows drawn with seed 0."""
    if source.suffix != ".csv":
        return source
    csv.field_size_limit(sys.maxsize)
    with source.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    if len(rows) <= LARGEST:
        return source
    out.parent.mkdir(parents=True, exist_ok=True)
    with out.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *random.Random(0).sample(rows, LARGEST)])
    return out
