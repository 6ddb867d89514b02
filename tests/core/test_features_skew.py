"""No skew: a row of the uploaded file, sent as it stands, gives the features that it gave in training."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from tidemill.core.features import fit
from tidemill.core.prepare import load_split, prepare, read_schema
from tidemill.core.spec import Spec

SOURCE = Path(__file__).parents[1] / "data" / "adult-3000.csv"
FIRST_LINE = 2  # __row counts as a person does: line 1 is the header


def test_a_row_of_the_file_sent_as_text_gives_the_features_of_training(tmp_path: Path) -> None:
    prepare(SOURCE, SOURCE.name, Spec(), tmp_path / "dataset", model="adult")
    schema = read_schema(tmp_path / "dataset")
    columns, _, hashes = load_split(tmp_path / "dataset", "train")
    program = fit(columns, schema, Spec())
    with SOURCE.open(newline="", encoding="utf-8") as file:
        texts = list(csv.DictReader(file))  # every column as text, the target too
    table = pq.read_table(sorted((tmp_path / "dataset").glob("train-*.parquet")), partitioning=None)
    line_of = dict(zip(table["__hash"].to_pylist(), table["__row"].to_pylist(), strict=True))
    rows = [texts[line_of[int(row_hash)] - FIRST_LINE] for row_hash in hashes]
    assert np.array_equal(program.x_of_rows(rows), program.apply(columns))
