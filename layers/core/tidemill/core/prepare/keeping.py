"""Choose among the converted rows those that are used: duplicates and classes too small to learn may go."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidemill.core.limits import limit
from tidemill.core.prepare import passes
from tidemill.core.prepare.quarantine import Quarantine
from tidemill.core.prepare.spool import ROW, Spool
from tidemill.core.prepare.target import order_labels


@dataclass(frozen=True)
class Kept:
    """Which converted rows are used, with the hashes, labels and classes of all, and the number of duplicates."""

    keep: np.ndarray
    hashes: np.ndarray
    targets: np.ndarray
    labels: list[str]
    classes: np.ndarray | None
    duplicates: int

    @property
    def used(self) -> int:
        """How many rows are used."""
        return int(np.count_nonzero(self.keep))


def keep_rows(
    raw: Spool,
    typed: Spool,
    converted: passes.Converted,
    recipe: passes.Recipe,
    drop_duplicates: bool,
    quarantine: Quarantine,
) -> Kept:
    """The rows to use; the others go to the quarantine."""
    hashes, targets = converted.hashes, converted.targets
    keep = np.ones(len(hashes), bool)
    if (duplicates := count_equals(hashes, targets)) and drop_duplicates:
        keep = first_of_equals(hashes, targets)
        _set_aside(raw, typed, ~keep, "DUPLICATE_ROW", "an equal row stands before it", None, quarantine)
    if not recipe.classes:
        return Kept(keep, hashes, targets, [], None, duplicates)
    labels, classes = _classes(typed, recipe.target.name)
    small = keep & (np.bincount(classes[keep], minlength=len(labels))[classes] < limit("class_rows"))
    reason = "the class has too few rows to learn and test it"
    _set_aside(raw, typed, small, "CLASS_TOO_SMALL", reason, recipe.target.name, quarantine)
    keep &= ~small
    labels, classes = _relabelled(labels, classes, keep)
    return Kept(keep, hashes, targets, labels, classes, duplicates)


def count_equals(hashes: np.ndarray, targets: np.ndarray) -> int:
    """How many rows equal an earlier one in features and target."""
    both = _whole_rows(hashes, targets)
    both.sort()
    return int(np.count_nonzero(both[1:] == both[:-1]))


def first_of_equals(hashes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Where the first of each set of equal rows stands."""
    _, first = np.unique(_whole_rows(hashes, targets), return_index=True)
    keep = np.zeros(len(hashes), bool)
    keep[first] = True
    return keep


def _whole_rows(hashes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """A hash of features and target together."""
    both: np.ndarray = targets * np.uint64(0x9E3779B97F4A7C15)
    both ^= hashes
    return both


def _set_aside(
    raw: Spool,
    typed: Spool,
    chosen: np.ndarray,
    code: str,
    reason: str,
    column: str | None,
    quarantine: Quarantine,
) -> None:
    if chosen.any():
        rows = np.concatenate([chunk[ROW].to_numpy() for chunk in typed.chunks([ROW])])
        passes.set_aside(raw, rows[chosen], code, reason, column, quarantine)


def _classes(typed: Spool, name: str) -> tuple[list[str], np.ndarray]:
    """Every label, and the class of each converted row."""
    places: dict[str, int] = {}
    parts = [np.empty(0, np.int16)]
    for chunk in typed.chunks([name]):
        column = chunk[name]
        table = np.array([places.setdefault(text, len(places)) for text in column.dictionary.to_pylist()], np.int16)
        parts.append(table[column.indices.to_numpy()])
    return list(places), np.concatenate(parts)


def _relabelled(labels: list[str], classes: np.ndarray, keep: np.ndarray) -> tuple[list[str], np.ndarray]:
    """Labels that are still used, in their final order, and classes as places in it (0 where a row is not kept)."""
    used = np.unique(classes[keep])
    final = order_labels([labels[place] for place in used.tolist()])
    places = {label: place for place, label in enumerate(final)}
    table = np.array([places.get(label, 0) for label in labels] or [0], np.int16)
    return final, table[classes]
