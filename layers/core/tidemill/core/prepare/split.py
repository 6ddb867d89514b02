"""Divide rows into train, validation and test by their content, so that equal rows always fall together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tidemill.core.prepare.hashing import SPAN, mix

SPLITS = ("train", "validation", "test")
TRAIN, VALIDATION, TEST = range(3)
_ENOUGH = 10  # rows without which a split says nothing


@dataclass(frozen=True)
class Split:
    """Each row's split and hash, how it was made, and the sentence that says so.

    The hashes hold no seed: a row keeps its own, whichever way the rows are divided.
    """

    splits: np.ndarray
    hashes: np.ndarray
    method: str
    sentence: str


def divide(
    hashes: np.ndarray, targets: np.ndarray, classes: np.ndarray | None, validation: float, test: float, seed: int = 0
) -> Split:
    """The split by row hash; where that leaves a split unusable, by hash and occurrence, then by rank of the hash."""
    splits = by_share(reseeded(hashes, seed), validation, test)
    if usable(splits, classes, validation, test):
        return Split(splits, hashes, "content", "Rows are split by a hash of their features: equal rows fall together.")
    mixed = with_occurrence(hashes, targets)
    splits = by_share(reseeded(mixed, seed), validation, test)
    if usable(splits, classes, validation, test) and len(np.unique(hashes)) < len(hashes):
        return Split(
            splits,
            mixed,
            "occurrence",
            "Splitting by the features alone left a split unusable (many rows are equal), so equal rows are counted"
            " and the count is part of the hash: equal rows may stand in different splits.",
        )
    return Split(
        by_rank(reseeded(mixed, seed), classes, validation, test),
        mixed,
        "rank",
        "Splitting by hash left a split unusable, so rows are ranked by the hash within each class and cut at the"
        " shares asked for: a row's split depends on the other rows.",
    )


def reseeded(hashes: np.ndarray, seed: int) -> np.ndarray:
    """Hashes mixed again with a seed, one to one: equal ones stay equal, different ones different; 0 leaves them."""
    return mix(hashes ^ mix(np.array([seed], np.uint64))) if seed else hashes


def by_share(hashes: np.ndarray, validation: float, test: float) -> np.ndarray:
    """The split of each hash: the lowest share tests, the next validates, the rest trains."""
    share = hashes.astype(np.float64) / SPAN
    splits = np.full(len(hashes), TRAIN, np.int8)
    splits[share < validation + test] = VALIDATION
    splits[share < test] = TEST
    return splits


def usable(splits: np.ndarray, classes: np.ndarray | None, validation: float, test: float) -> bool:
    """Whether every split has rows enough, and every class of some size can be learned."""
    counts = np.bincount(splits, minlength=3)
    nominal = len(splits) * np.array([1 - validation - test, validation, test])
    if np.any(counts < _ENOUGH) or np.any(counts < nominal / 3):
        return False
    if classes is None:
        return True
    totals = np.bincount(classes)
    trained = np.bincount(classes[splits == TRAIN], minlength=len(totals))
    return not np.any((totals >= _ENOUGH) & (trained == 0))


def with_occurrence(hashes: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Hashes that also tell equal rows apart, by counting them in the order of their targets."""
    order = np.lexsort((targets, hashes))
    ordered = hashes[order]
    first = np.concatenate([[True], ordered[1:] != ordered[:-1]])
    places = np.arange(len(hashes), dtype=np.uint64)
    started = np.maximum.accumulate(np.where(first, places, np.uint64(0)))
    occurrence = np.empty(len(hashes), np.uint64)
    occurrence[order] = places - started
    return np.where(occurrence == 0, hashes, mix(hashes + mix(occurrence)))


def by_rank(hashes: np.ndarray, classes: np.ndarray | None, validation: float, test: float) -> np.ndarray:
    """Rows ranked by hash within their class and cut at the shares; no class loses all its rows to the tests."""
    groups = np.zeros(len(hashes), np.int64) if classes is None else classes
    splits = np.full(len(hashes), TRAIN, np.int8)
    seen, tested, validated = 0, 0, 0
    for group in np.unique(groups):
        members = np.flatnonzero(groups == group)
        members = members[np.argsort(hashes[members], kind="stable")]
        seen += len(members)
        tests = min(max(0, round(seen * test) - tested), len(members) - 1)
        validations = min(max(0, round(seen * validation) - validated), len(members) - 1 - tests)
        splits[members[:tests]] = TEST
        splits[members[tests : tests + validations]] = VALIDATION
        tested, validated = tested + tests, validated + validations
    return splits


def missing_classes(
    splits: np.ndarray, classes: np.ndarray, labels: list[str], least: int = 20
) -> list[tuple[str, str]]:
    """Pairs of a class of at least `least` rows and a split that lacks it."""
    totals = np.bincount(classes, minlength=len(labels))
    lacking = []
    for place, split in enumerate(SPLITS):
        counts = np.bincount(classes[splits == place], minlength=len(labels))
        lacking += [(labels[index], split) for index in np.flatnonzero((totals >= least) & (counts == 0)).tolist()]
    return lacking
