"""What is counted of pictures while they are read, and what schema.json and profile.json say about them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tidemill.core.prepare.documents import FORMAT, wishes
from tidemill.core.prepare.picture_cells import COLUMN, Cell
from tidemill.core.readers.chunks import Warned
from tidemill.core.spec import Spec

FILE = "file"
_TINY = 8  # pixels of a side below which there is little to see
_EXAMPLES = 3
_NOTES = {
    "WARN_TYPE_MISMATCH": "pictures are named after another format than they have; their content decided",
    "WARN_FIRST_FRAME": "pictures are animations; their first frame is used",
}


@dataclass
class Counted:
    """What the used and the set aside pictures that could be read were like."""

    heights: list[int] = field(default_factory=list)
    widths: list[int] = field(default_factory=list)
    formats: Counter[str] = field(default_factory=Counter)
    modes: Counter[str] = field(default_factory=Counter)
    notes: Counter[str] = field(default_factory=Counter)
    grey: int = 0
    tiny: int = 0
    stored_bytes: int = 0

    def add(self, cell: Cell) -> None:
        """Count one picture."""
        picture = cell.picture
        self.heights.append(picture.height)
        self.widths.append(picture.width)
        self.formats[picture.format] += 1
        self.modes[picture.mode] += 1
        self.notes.update(picture.notes)
        self.grey += picture.grey
        self.tiny += min(picture.height, picture.width) < _TINY
        self.stored_bytes += len(cell.stored)

    def to_json(self) -> dict[str, Any]:
        """The counts as the profile stores them."""
        return {
            "read": len(self.heights),
            "height": _spread(self.heights),
            "width": _spread(self.widths),
            "formats": dict(sorted(self.formats.items())),
            "modes": dict(sorted(self.modes.items())),
            "grey": self.grey,
            "tiny": self.tiny,
            "stored_bytes": self.stored_bytes,
        }

    def warnings(self) -> list[Warned]:
        """What a person should know of them."""
        count = len(self.heights)
        found = [
            Warned(code, f"{self.notes[code]:,} {what}.", COLUMN) for code, what in _NOTES.items() if self.notes[code]
        ]
        if self.grey:
            which = "All pictures are" if self.grey == count else f"{self.grey:,} of {count:,} pictures are"
            found.append(Warned("PICTURES_GREY", f"{which} grey.", COLUMN))
        if self.tiny:
            message = f"{self.tiny:,} of {count:,} pictures have a side of fewer than {_TINY} pixels."
            found.append(Warned("PICTURES_TINY", message, COLUMN, "Are they icons of what was meant?"))
        return found


def _spread(values: list[int]) -> dict[str, int]:
    if not values:
        return {}
    return {"min": min(values), "median": int(np.median(values)), "max": max(values)}


def schema_of(
    model: str, dataset: str, spec: Spec, name: str, labels: list[str], rows: dict[str, int], distinct: int
) -> dict[str, Any]:
    """The schema of a dataset of pictures."""
    return {
        "format": FORMAT,
        "modality": "picture",
        "model": model,
        "dataset": dataset,
        "target": name,
        "task": "binary" if len(labels) == 2 else "multiclass",
        "labels": labels,
        "target_log1p": False,
        "columns": [
            {"name": COLUMN, "kind": "picture", "role": "feature", "reason": None, "missing": 0, "distinct": distinct},
            {"name": FILE, "kind": "category", "role": "id", "reason": "identifier", "missing": 0},
            {"name": name, "kind": "category", "role": "target", "reason": None, **_levels(labels)},
        ],
        "rows": rows,
        "shuffle": spec.preprocess.shuffle,
        "spec": wishes(spec),
    }


def _levels(labels: list[str]) -> dict[str, Any]:
    return {"missing": 0, "distinct": len(labels), "levels": labels, "rare": False}


def classes_of(labels: list[str], classes: np.ndarray, files: list[str]) -> list[dict[str, Any]]:
    """Every class with its number of pictures and the first files of it by name."""
    entries = []
    for place, label in enumerate(labels):
        names = sorted(files[row] for row in np.flatnonzero(classes == place).tolist())
        entries.append({"label": label, "rows": len(names), "examples": names[:_EXAMPLES]})
    return entries
