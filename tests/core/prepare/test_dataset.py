"""The dataset folder: complete, exact, repeatable; and what the specification asks of it."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from tidemill.core import manifest
from tidemill.core.errors import BadBundle, BadTable
from tidemill.core.limits import LIMITS, Limit
from tidemill.core.prepare import load_split, prepare, read_schema
from tidemill.core.progress import Progress
from tidemill.core.spec import Spec

Make = Callable[..., Any]
ADULT = Path(__file__).resolve().parents[2] / "data" / "adult-3000.csv"
N = 300


def table(n: int = N, extra: str = "") -> str:
    rows = (f"{k * 7919 % 997},{('a', 'b', '')[k % 3]},{'yes' if k * 31 % 7 < 3 else 'no'}\n" for k in range(n))
    return "x,c,label\n" + "".join(rows) + extra


def test_a_real_table_becomes_a_whole_dataset(tmp_path: Path) -> None:
    prepared = prepare(ADULT, "adult.csv", Spec(), tmp_path / "d", model="income")
    names = {path.name for path in prepared.folder.iterdir()}
    splits = {f"{split}-00000.parquet" for split in ("train", "validation", "test")}
    assert names == {"schema.json", "profile.json", "quarantine.parquet", "MANIFEST.json", *splits}
    assert manifest.check(prepared.folder)["id"] == prepared.dataset
    schema = read_schema(prepared.folder)
    assert schema == json.loads(json.dumps(prepared.schema))
    assert (schema["task"], schema["target"], schema["model"]) == ("binary", "income", "income")
    columns, y, hashes = load_split(prepared.folder, "train")
    assert set(y) == set(schema["labels"])
    assert columns["age"].dtype == np.float64
    assert set(map(type, columns["workclass"])) <= {str, type(None)}
    assert np.all(hashes[:-1] <= hashes[1:])
    assert len(y) == schema["rows"]["train"]


def test_the_same_bytes_and_wishes_give_the_same_files(make: Make) -> None:
    first, second = make(table()), make(table())
    assert first.dataset == second.dataset
    assert manifest.read(first.folder) == manifest.read(second.folder)


def test_other_wishes_give_another_dataset_and_training_does_not_matter(make: Make) -> None:
    first = make(table())
    assert make(table(), split={"test": 0.2}).dataset != first.dataset
    assert make(table(), train={"epochs": 3}).dataset == first.dataset
    assert make(table(N + 1)).dataset != first.dataset


def test_shards_hold_features_target_row_and_hash(make: Make) -> None:
    prepared = make(table())
    schema = pq.read_schema(prepared.folder / "train-00000.parquet")
    assert dict(zip(schema.names, map(str, schema.types), strict=True)) == {
        "x": "double",
        "c": "string",
        "label": "string",
        "__row": "int64",
        "__hash": "uint64",
    }
    rows = [
        pq.read_table(prepared.folder / f"{split}-00000.parquet")["__row"].to_pylist()
        for split in ("train", "validation", "test")
    ]
    assert sorted(itertools.chain.from_iterable(rows)) == list(range(2, N + 2))


def test_shards_are_bounded(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tidemill.core.prepare.shards.SHARD_ROWS", 50)
    whole = make(table())
    assert len(list(whole.folder.glob("train-*.parquet"))) == -(-whole.rows["train"] // 50)
    assert len(load_split(whole.folder, "train")[1]) == whole.rows["train"]


def test_file_order_is_kept_on_request(make: Make) -> None:
    prepared = make(table(), preprocess={"shuffle": "none"})
    hashes = load_split(prepared.folder, "train")[2]
    assert not np.all(hashes[:-1] <= hashes[1:])


def test_a_missing_cell_drops_the_row_on_request(make: Make) -> None:
    prepared = make(table(), preprocess={"missing": "drop"})
    assert prepared.profile["quarantined"] == {"MISSING_VALUE": N // 3}
    found = pq.read_table(prepared.folder / "quarantine.parquet").to_pylist()
    assert found[0] == {
        "row": 4,
        "code": "MISSING_VALUE",
        "column": "c",
        "reason": "the cell has no value, and the specification drops such rows",
        "text": f"{2 * 7919 % 997},,no",
    }


def test_duplicates_are_counted_and_dropped_on_request(make: Make) -> None:
    text = table(N, "".join(table(20).splitlines(keepends=True)[1:]))
    kept, dropped = make(text), make(text, preprocess={"duplicates": "drop"})
    assert (kept.profile["duplicate_rows"], kept.rows["used"]) == (20, N + 20)
    assert dropped.profile["quarantined"] == {"DUPLICATE_ROW": 20}
    rows = pq.read_table(dropped.folder / "quarantine.parquet")["row"].to_pylist()
    assert rows == list(range(N + 2, N + 22))


def test_columns_the_user_names_are_left_out(make: Make) -> None:
    prepared = make(table(), data={"drop": ["c"], "id": ["nowhere"]})
    assert prepared.schema["columns"][1]["reason"] == "user"
    assert "COLUMN_NOT_FOUND" in {warned["code"] for warned in prepared.profile["warnings"]}


def test_bad_rows_are_allowed_up_to_the_fraction(make: Make) -> None:
    assert make(table(95, "1\n" * 5)).rows["quarantined"] == 5
    with pytest.raises(BadTable) as caught:
        make(table(94, "1\n" * 6))
    assert caught.value.code == "TOO_MANY_BAD_ROWS"
    assert caught.value.details["codes"] == {"ROW_RAGGED": 6}
    assert make(table(94, "1\n" * 6), preprocess={"max_bad_fraction": 0.06}).rows["quarantined"] == 6


def test_a_summary_row_is_set_aside_as_one(make: Make) -> None:
    assert make(table(N, "TOTAL,,\n")).profile["quarantined"] == {"ROW_TYPE": 1}


def test_rows_without_any_value_are_set_aside(make: Make) -> None:
    assert make(table(N, ",,\n,,\n")).profile["quarantined"] == {"ROW_EMPTY": 2}


@pytest.mark.parametrize(("rows", "code"), [(0, "NO_ROWS"), (1, "TOO_FEW_ROWS"), (49, "TOO_FEW_ROWS")])
def test_fewer_rows_than_can_be_split_are_refused(make: Make, rows: int, code: str) -> None:
    with pytest.raises(BadTable) as caught:
        make(table(rows))
    assert caught.value.code == code


def test_fifty_rows_are_enough(make: Make) -> None:
    rows = make(table(50)).rows
    assert rows["used"] == 50
    assert min(rows["validation"], rows["test"]) >= 7


def test_the_row_limit_holds_at_the_row(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "rows", Limit(N, "rows", "test"))
    assert make(table()).rows["read"] == N
    with pytest.raises(BadTable) as caught:
        make(table(N + 1))
    assert caught.value.code == "TOO_MANY_ROWS"


def test_levels_are_the_most_frequent_up_to_the_limit(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "levels", Limit(2, "levels", "test"))
    text = "c,x,label\n" + "".join(f"{'aaabbc'[k % 6]},{k * 31 % 97},{k * 7 % 2}\n" for k in range(N))
    entry = make(text).schema["columns"][0]
    assert (entry["levels"], entry["rare"], entry["distinct"]) == (["a", "b"], True, 3)


def test_every_limit_says_its_unit_and_its_reason() -> None:
    for name, item in LIMITS.items():
        assert item.value > 0, name
        assert item.unit, name
        assert len(item.reason) > 10, name


def test_a_rejected_file_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(BadTable):
        prepare(io.BytesIO(table(20).encode()), "t.csv", Spec(), tmp_path / "d", model="m")
    assert [path.name for path in tmp_path.rglob("*")] == ["d"]


def test_a_folder_in_use_is_not_written_into(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "file").write_text("x")
    with pytest.raises(FileExistsError):
        prepare(io.BytesIO(table().encode()), "t.csv", Spec(), tmp_path / "d", model="m")


def test_progress_is_told_in_order(tmp_path: Path) -> None:
    told: list[Progress] = []
    prepare(io.BytesIO(table().encode()), "t.csv", Spec(), tmp_path / "d", model="m", report=told.append)
    assert list(dict.fromkeys(item.stage for item in told)) == ["reading", "converting", "measuring", "writing"]


def test_loading_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(BadBundle):
        read_schema(tmp_path)
    with pytest.raises(ValueError, match="is not a split"):
        load_split(tmp_path, "training")


def test_statistics_agree_with_numpy(make: Make) -> None:
    prepared = make(table())
    values = np.array([k * 7919 % 997 for k in range(N)], float)
    entry = prepared.schema["columns"][0]
    skew = np.mean((values - values.mean()) ** 3) / values.std() ** 3
    assert entry["mean"] == pytest.approx(values.mean(), rel=1e-8)
    assert entry["skew"] == pytest.approx(skew, abs=1e-5)
    assert (entry["min"], entry["max"], entry["distinct"]) == (values.min(), values.max(), len(set(values)))
    histogram = prepared.profile["columns"]["x"]["histogram"]
    assert sum(histogram["counts"]) == N


def test_numbers_too_close_for_a_histogram_have_none(make: Make) -> None:
    text = "x,label\n" + "".join(f"{4111111111111110 + k % 2},{k * 7 % 2}\n" for k in range(N))
    assert make(text).profile["columns"]["x"]["histogram"]["counts"] == []


def test_bytes_that_do_not_decode_are_quarantined_readably(make: Make) -> None:
    broken = b'1,\xff"x,no\n"\xe2,1\n'
    prepared = make(table(N).encode() + "é,é,é\n".encode() + broken)
    texts = pq.read_table(prepared.folder / "quarantine.parquet")["text"].to_pylist()
    assert '1,\\udcff"x,no' in texts


def test_chunks_make_no_difference(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = make(ADULT.read_bytes())
    monkeypatch.setitem(LIMITS, "chunk_rows", Limit(113, "rows", "test"))
    pieces = make(ADULT.read_bytes())
    assert pieces.schema == whole.schema
    for split in ("train", "validation", "test"):
        left, right = load_split(whole.folder, split), load_split(pieces.folder, split)
        assert np.array_equal(left[2], right[2])
        assert list(left[1]) == list(right[1])
