"""reference.npz: what the training rows looked like, column by column and in the scores, for whoever watches for drift.

Numbers (moments too) are kept as quantiles, categories as counts of levels. Names and levels stand in one JSON text,
which keeps every character. No pickle.
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np

from tidemill.core.errors import BadBundle

Array = np.ndarray[Any, Any]

FORMAT = 1
QUANTILES = 1001  # enough for a Kolmogorov-Smirnov test: its steps are far below what a thousand rows can tell
LEVELS = 1000  # the most frequent; the others are counted together


@dataclass(frozen=True, eq=False)
class Summary:
    """One column of numbers (quantiles, levels empty) or of categories (levels and their counts)."""

    name: str
    rows: int  # with missing ones
    missing: int
    values: Array  # quantiles from lowest to highest, or the count of each level
    levels: tuple[str, ...] = ()
    other: int = 0  # rows of levels that are not named
    category: bool = False


@dataclass(frozen=True, eq=False)
class Reference:
    """The input columns, the target, and the model's answers on the training rows (one summary a label, or one)."""

    columns: tuple[Summary, ...]
    target: Summary
    scores: tuple[Summary, ...]


def fit(columns: Mapping[str, Array], target: tuple[str, Array], labels: Sequence[str], scores: Array) -> Reference:
    """Summarise training columns, the target (its name and values) and the answers [n, k] to the training rows."""
    name, values = target
    score_nk = np.asarray(scores, np.float64).reshape(len(values), -1)
    names = list(labels) or [name]
    return Reference(
        tuple(summarise(column, part) for column, part in columns.items()),
        summarise(name, values),
        tuple(summarise(label, score_nk[:, index]) for index, label in enumerate(names)),
    )


def summarise(name: str, values: Array) -> Summary:
    """One column as a summary."""
    return _of_levels(name, values) if values.dtype.kind in "OUS" else _of_numbers(name, values)


def _of_numbers(name: str, values: Array) -> Summary:
    known = np.asarray(values, np.float64)
    known = known[np.isfinite(known)]
    points = np.linspace(0, 1, min(QUANTILES, max(len(known), 1)))
    quantiles = np.quantile(known, points) if len(known) else np.empty(0)
    return Summary(name, len(values), len(values) - len(known), quantiles)


def _of_levels(name: str, values: Array) -> Summary:
    counts: Counter[str | None] = Counter(None if value is None else str(value) for value in values.tolist())
    missing = counts.pop(None, 0)
    ranked = sorted(((level, count) for level, count in counts.items() if level is not None), key=_most_first)
    kept = ranked[:LEVELS]
    return Summary(
        name,
        len(values),
        missing,
        np.array([count for _, count in kept], dtype=np.int64),
        levels=tuple(level for level, _ in kept),
        other=sum(count for _, count in ranked[LEVELS:]),
        category=True,
    )


def _most_first(ranked: tuple[str, int]) -> tuple[int, str]:
    return -ranked[1], ranked[0]


def save(path: Path, reference: Reference) -> None:
    """Write reference.npz; equal references give equal bytes."""
    summaries = [*reference.columns, reference.target, *reference.scores]
    about = {
        "format": FORMAT,
        "columns": len(reference.columns),
        "summaries": [
            {
                "name": s.name,
                "rows": s.rows,
                "missing": s.missing,
                "levels": s.levels,
                "other": s.other,
                "category": s.category,
            }
            for s in summaries
        ],
    }
    arrays = {f"v{index}": summary.values for index, summary in enumerate(summaries)}
    text = np.frombuffer(json.dumps(about).encode(), np.uint8)
    np.savez_compressed(path, allow_pickle=False, about=text, **arrays)


def load(path: Path) -> Reference:
    """Read what `save` wrote; raises BadBundle for anything else."""
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            about = json.loads(stored["about"].tobytes())
            if about["format"] != FORMAT:
                raise ValueError(f"format {about['format']!r}")
            summaries = [
                Summary(**{**item, "levels": tuple(item["levels"])}, values=stored[f"v{index}"])
                for index, item in enumerate(about["summaries"])
            ]
            count = int(about["columns"])
            return Reference(tuple(summaries[:count]), summaries[count], tuple(summaries[count + 1 :]))
    except (OSError, EOFError, ValueError, LookupError, TypeError, BadZipFile, zlib.error) as error:
        raise BadBundle(f"{path.name} is no reference: {error}.", remedy="Train the model again.") from error
