"""A dataset folder as other libraries take it: frames with categories, text, codes, or plain standardised numbers.

Nothing here uses Tidemill's features: only its rows, its column kinds and its split.
Axes: n rows, f features.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from tidemill.core.prepare import load_split, read_schema

Array = np.ndarray[Any, Any]
Columns = dict[str, Array]
PARTS = ("train", "validation", "test")


@dataclass(frozen=True, eq=False)
class Rows:
    """Raw columns and targets of the three splits; classes are numbered as in `labels`."""

    task: str
    labels: list[str]
    target: str
    categories: list[str]
    columns: dict[str, Columns]
    y: dict[str, Array]

    @classmethod
    def load(cls, folder: Path) -> Rows:
        """Read a dataset folder."""
        schema = read_schema(folder)
        loaded = {name: load_split(folder, name) for name in PARTS}
        place = {label: index for index, label in enumerate(schema["labels"])}
        kinds = {c["name"]: c["kind"] for c in schema["columns"] if c["role"] == "feature"}
        y = {
            name: np.array([place[label] for label in target]) if place else target.astype(np.float64)
            for name, (_, target, _) in loaded.items()
        }
        categories = [name for name, kind in kinds.items() if kind == "category"]
        columns = {name: part[0] for name, part in loaded.items()}
        return cls(schema["task"], schema["labels"], schema["target"], categories, columns, y)

    @property
    def regression(self) -> bool:
        """Whether numbers are predicted."""
        return self.task == "regression"

    @cached_property
    def y_fitted(self) -> Array:
        """The targets of the training and validation rows."""
        return np.concatenate([self.y["train"], self.y["validation"]])

    @cached_property
    def levels(self) -> dict[str, list[str]]:
        """The values of each category in the training and validation rows."""
        joined = {name: [*self.columns["train"][name], *self.columns["validation"][name]] for name in self.categories}
        return {name: sorted({value for value in values if value is not None}) for name, values in joined.items()}

    def frame(self, part: str) -> Any:
        """A pandas frame in which categories are categories; a level that was not fitted is missing."""
        import pandas as pd

        columns = self.columns[part]
        return pd.DataFrame(
            {
                name: pd.Categorical(_known(values, levels), categories=levels)
                if (levels := self.levels.get(name)) is not None
                else values
                for name, values in columns.items()
            }
        )

    def fitted_frame(self) -> Any:
        """The frame of the training and validation rows."""
        import pandas as pd

        return pd.concat([self.frame("train"), self.frame("validation")], ignore_index=True)

    def texts(self, part: str) -> Any:
        """A pandas frame in which categories are text and a missing one is a level of its own."""
        import pandas as pd

        columns = self.columns[part]
        return pd.DataFrame(
            {name: _texts(values) if name in self.categories else values for name, values in columns.items()}
        )

    def codes(self, part: str) -> Array:
        """All columns as numbers (n, f): categories by their place among the levels, missing as NaN."""
        frame = self.frame(part)
        parts = [
            np.where(frame[name].cat.codes < 0, np.nan, frame[name].cat.codes)
            if name in self.categories
            else frame[name].to_numpy()
            for name in frame
        ]
        return np.stack(parts, 1)


def plain(rows: Rows, fitted: tuple[str, ...]) -> dict[str, Array]:
    """Each split as (n, f): medians and flags for holes, standardised; categories one-hot, rare levels as one."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    frames = {part: rows.texts(part) for part in PARTS}
    numbers = [name for name in frames["train"] if name not in rows.categories]
    steps = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler()), numbers),
        (
            OneHotEncoder(min_frequency=5, handle_unknown="infrequent_if_exist", sparse_output=False),
            rows.categories,
        ),
    )
    import pandas as pd

    steps.fit(pd.concat([frames[part] for part in fitted]))
    return {part: np.asarray(steps.transform(frame), np.float64) for part, frame in frames.items()}


def _known(values: Array, levels: list[str]) -> list[str | None]:
    known = set(levels)
    return [value if value in known else None for value in values]


def _texts(values: Array) -> list[str]:
    return ["(none)" if value is None else value for value in values]
