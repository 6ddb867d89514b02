"""A dataset folder as training sees it: three splits of features and numbered targets.

Axes: n rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core import features
from tidemill.core.errors import BadTable
from tidemill.core.prepare import load_split, read_schema
from tidemill.core.spec import Spec
from tidemill.training.inputs import Inputs

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Split:
    """The rows of one split."""

    columns: features.Columns
    target: Array  # as in the table: texts, or values
    hashes: Array
    x_n: Inputs
    y_n: Array  # class numbers, or values


@dataclass(frozen=True, eq=False)
class Dataset:
    """The splits, the schema, and the feature program that was fitted on rows that are learned from."""

    folder: Path
    schema: dict[str, Any]
    program: features.Program
    train: Split
    validation: Split
    test: Split


def load(folder: Path, spec: Spec, read: Callable[[Any], Any] = lambda program: program) -> Dataset:
    """Read a dataset folder and fit its features; raises BadTable where a split is empty.

    Features of tables and pictures are fitted on the training split. What is known of texts comes from the validation
    split, too: a word that stands in few texts is learned from wherever it stands, and no label is read for it.
    `read` adds to the fitted program what a frozen network reads besides.
    """
    schema = read_schema(folder)
    loaded = {name: load_split(folder, name) for name in ("train", "validation", "test")}
    for name, (_, target, _) in loaded.items():
        if not len(target):
            raise BadTable(
                f"The {name} split has no rows.", code="TOO_FEW_ROWS", remedy="Upload more rows, or change [split]."
            )
    fitted = ("train", "validation") if schema.get("modality") == "text" else ("train",)
    columns = {name: np.concatenate([loaded[part][0][name] for part in fitted]) for name in loaded["train"][0]}
    program = read(features.fit(columns, schema, spec))
    splits = {name: _split(program, schema["labels"], *parts) for name, parts in loaded.items()}
    return Dataset(folder, schema, program, **splits)


def _split(
    program: features.Program, labels: list[str], columns: features.Columns, target: Array, hashes: Array
) -> Split:
    place = {label: index for index, label in enumerate(labels)}
    y_n = np.array([place[label] for label in target], np.int64) if labels else target.astype(np.float64)
    return Split(columns, target, hashes, program.apply(columns), y_n)
