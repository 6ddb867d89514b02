"""Files of people to be scored, and what scores them, without a network."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
from tests.serving import bundle_factory

from tidemill.core.scoring.inputs import Reader
from tidemill.serving.predictor import Predictor
from tidemill.serving.scoring_parts import Model

SCHEMA: dict[str, Any] = {
    "columns": [
        {"name": "id", "kind": "category", "role": "dropped", "reason": "identifier"},
        {"name": "constant", "kind": "number", "role": "dropped", "reason": "constant"},
        {"name": "age", "kind": "number", "role": "feature", "missing_words": ["not told"]},
        {"name": "hours", "kind": "number", "role": "feature"},
        {"name": "work", "kind": "category", "role": "feature"},
        {"name": "hired", "kind": "datetime", "role": "feature", "order": "year-month-day"},
        {"name": "income", "kind": "category", "role": "target"},
    ]
}


def people(rows: int, seed: int = 5) -> Any:
    """People as an Arrow table, with a number that names them."""
    columns = bundle_factory.columns(rows, seed)
    hired = pa.array(columns["hired"].astype("datetime64[s]")).cast(pa.string())
    return pa.table(
        {
            "id": [f"c{place}" for place in range(rows)],
            "age": columns["age"].astype(np.int64),
            "hours": pa.array(columns["hours"], from_pandas=True),
            "work": pa.array(columns["work"].tolist(), pa.string()),
            "hired": hired,
        }
    )


def csv_of(table: Any) -> bytes:
    """The table as CSV without quotes."""
    stream = io.BytesIO()
    text = table.set_column(0, "id", table["id"])
    pc.write_csv(text, stream, pc.WriteOptions(quoting_style="needed"))
    return stream.getvalue().replace(b'"', b"")


def model(folder: Path, version: int = 3, **fields: Any) -> Model:
    """The hand-made model of people, opened."""
    predictor = Predictor.load(bundle_factory.make(folder, **fields))
    return Model(version, predictor, Reader.of(predictor.program, SCHEMA))
