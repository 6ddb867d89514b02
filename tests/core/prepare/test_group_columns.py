"""[data] groups: columns kept beside the features for scores by group, and nothing else changed by that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tidemill.core.prepare import dataset_id, load_groups, load_split, read_schema
from tidemill.core.spec import Spec

Make = Callable[..., Any]
N = 300
SPLITS = ("train", "validation", "test")


def table() -> str:
    """Two features, a sex with gaps, an age with three cells that are no number, and a label."""
    rows = []
    for k in range(N):
        sex, age = ("f", "m", "")[k % 3], f"old{k}" if k % 100 == 7 else 20 + k % 50
        rows.append(f"{k * 7919 % 997},{k % 11},{sex},{age},{'yes' if k * 31 % 7 < 3 else 'no'}\n")
    return "x,z,sex,age,label\n" + "".join(rows)


def rows_of(folder: Path, split: str) -> dict[str, dict[int, Any]]:
    """Every column of a split by the row of the file."""
    found = pq.read_table(folder / f"{split}-00000.parquet").to_pydict()
    rows = found.pop("__row")
    return {name: dict(zip(rows, values, strict=True)) for name, values in found.items()}


def test_a_column_named_in_drop_and_groups_is_no_feature_and_is_kept(make: Make) -> None:
    prepared = make(table(), data={"drop": ["sex", "age"], "groups": ["sex", "age"]})
    lines = table().splitlines()
    for split in SPLITS:
        assert list(load_split(prepared.folder, split)[0]) == ["x", "z"]
        kept = rows_of(prepared.folder, split)
        for row, sex in kept["sex"].items():
            assert (sex or "") == lines[row - 1].split(",")[2]
        for row, age in kept["age"].items():
            written = lines[row - 1].split(",")[3]
            assert np.isnan(age) if written.startswith("old") else age == float(written), row


def test_a_group_cell_that_does_not_fit_costs_no_row(make: Make) -> None:
    assert make(table(), data={"drop": ["age"], "groups": ["age"]}).rows["quarantined"] == 0
    assert make(table()).rows["quarantined"] > 0, "as a feature it does"


def test_groups_come_in_the_order_of_the_rows(make: Make) -> None:
    prepared = make(table(), data={"drop": ["sex"], "groups": ["sex", "z"], "id": ["age"]})
    for split in SPLITS:
        columns, _, hashes = load_split(prepared.folder, split)
        groups = load_groups(prepared.folder, split)
        assert list(groups) == ["z", "sex"]
        assert np.array_equal(groups["z"], columns["z"]), "a feature may be a group too"
        kept = rows_of(prepared.folder, split)
        sex_of = {hashed: kept["sex"][row] for row, hashed in kept["__hash"].items()}
        assert len(sex_of) == len(hashes)
        assert [sex_of[hashed] for hashed in hashes.tolist()] == groups["sex"].tolist()


def test_groups_move_no_row_to_another_split(make: Make) -> None:
    plain = make(table(), data={"drop": ["sex", "age"]})
    grouped = make(table(), data={"drop": ["sex", "age"], "groups": ["sex", "age"]})
    assert plain.dataset != grouped.dataset
    for split in SPLITS:
        before, after = rows_of(plain.folder, split), rows_of(grouped.folder, split)
        assert before == {name: values for name, values in after.items() if name not in ("sex", "age")}


def test_without_groups_a_dataset_is_what_it_was(make: Make) -> None:
    """The id is that of a release that knew no groups, and nothing in the folder speaks of them."""
    spec = Spec.from_json({"data": {"drop": ["c"]}})
    assert dataset_id("0" * 64, spec) == "d-8659d904ffc67468"
    prepared = make(table(), data={"drop": ["sex"], "id": ["age"]})
    assert "group" not in (prepared.folder / "schema.json").read_text()
    assert load_groups(prepared.folder, "test") == {}
    assert "sex" not in pq.read_schema(prepared.folder / "test-00000.parquet").names


def test_a_group_that_gives_the_target_away_is_dropped_and_kept(make: Make) -> None:
    text = table().replace("x,z,", "x,told,").splitlines()
    text = [text[0], *(",".join([*line.split(",")[:1], line[-2:], *line.split(",")[2:]]) for line in text[1:])]
    prepared = make("\n".join(text) + "\n", data={"groups": ["told"], "id": ["age"]}, preprocess={"leaks": "drop"})
    entry = next(column for column in read_schema(prepared.folder)["columns"] if column["name"] == "told")
    assert (entry["role"], entry["reason"], entry["group"]) == ("dropped", "leak", True)
    assert "told" not in load_split(prepared.folder, "test")[0]
    assert set(load_groups(prepared.folder, "test")["told"]) == {"es", "no"}


def test_groups_that_are_not_there_or_are_the_target_are_told(make: Make) -> None:
    prepared = make(table(), data={"groups": ["nowhere", "label"], "id": ["age"]})
    told = {warned["code"]: warned for warned in prepared.profile["warnings"]}
    assert told["COLUMN_NOT_FOUND"]["column"] == "nowhere" and "label" in told["GROUP_IS_TARGET"]["message"]
    assert load_groups(prepared.folder, "train") == {}
