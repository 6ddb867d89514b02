"""Labels find the rows they belong to in the request log, and become rows of the upload they are put below."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from tidemill.core.errors import BadTable, NotFound
from tidemill.core.labelled import Labelled, labels_in, read_feedback
from tidemill.core.prepare import prepare
from tidemill.core.prepare.merging import merge
from tidemill.core.prepare.shards import load_split
from tidemill.core.retraining import pinned
from tidemill.core.spec import Spec

COLUMNS = ["size", "town"]


class Shelf:
    """The methods of core.storage.Storage that are used, over a dictionary whose order is that of writing."""

    def __init__(self, **held: bytes) -> None:
        self.held = {name.replace("__", "/"): body for name, body in held.items()}

    def keys(self, prefix: str) -> Any:
        for time, (key, body) in enumerate(self.held.items()):
            if key.startswith(prefix):
                yield {"Key": key, "Size": len(body), "LastModified": time}

    def read_bytes(self, key: str) -> bytes:
        if key not in self.held:
            raise NotFound(key)
        return self.held[key]

    def write_bytes(self, key: str, body: bytes, kind: str = "") -> None:
        self.held[key] = body


def lines(*items: Any) -> bytes:
    return "\n".join(json.dumps(item) for item in items).encode()


def logged(*records: Any) -> bytes:
    return gzip.compress(lines(*records))


def shelf(labels: list[bytes], *traffic: Any) -> Shelf:
    held = {f"labels__m__{index}.jsonl": body for index, body in enumerate(labels)}
    return Shelf(**held, traffic__m__day1=logged(*traffic[:2]), traffic__m__day2=logged(*traffic[2:]))


def request(name: str, at: str, **columns: Any) -> Any:
    index = list(range(len(next(iter(columns.values()), []))))
    return {"request": name, "at": at, "alias": "champion", "index": index, "columns": columns, "scores": index}


REQUESTS = [
    request("a", "2026-01-01T00:00:01Z", size=[1, 2], town=["Ulm", "Bonn"]),
    request("b", "2026-01-01T00:00:02Z", size=[3]),  # the town is private
    {"request": "c", "at": "2026-01-02T00:00:00Z", "rows": 1},  # not in the sample
    request("d", "2025-12-31T00:00:00Z", size=[4], town=[None]),
]


def test_each_label_finds_its_row_and_those_without_are_counted() -> None:
    labels = lines(*({"request": request, "row": 0, "label": "yes"} for request in "abcde"), {"request": "a", "row": 1})
    found = read_feedback("m", shelf([labels], *REQUESTS), COLUMNS)  # type: ignore[arg-type]
    assert [(item.row["size"], item.label) for item in found.rows] == [(4, "yes"), (1, "yes")], "the oldest first"
    assert (found.unmatched, found.hidden) == (2, 1)


def test_the_last_label_of_a_row_counts_and_sending_it_again_changes_nothing() -> None:
    first, second = (
        lines({"request": "a", "row": 0, "label": label, "at": at})
        for label, at in (("no", "2026-02"), ("yes", "2026-03"))
    )
    found = [read_feedback("m", shelf(sent, *REQUESTS), COLUMNS) for sent in ([first, second], [second, second])]  # type: ignore[arg-type]
    assert [item.rows[0].label for item in found] == ["yes", "yes"]
    assert found[0].digest == found[1].digest
    assert read_feedback("m", shelf([first], *REQUESTS), COLUMNS).digest != found[0].digest  # type: ignore[arg-type]


def test_rows_that_were_found_once_outlive_the_log() -> None:
    held = shelf([lines({"request": "a", "row": 0, "label": "no"})], *REQUESTS)
    before = read_feedback("m", held, COLUMNS)  # type: ignore[arg-type]
    held.held = {key: body for key, body in held.held.items() if not key.startswith("traffic/")}
    assert read_feedback("m", held, COLUMNS) == before and len(before.rows) == 1  # type: ignore[arg-type]
    held.held["labels/m/later.jsonl"] = lines({"request": "a", "row": 0, "label": "yes", "at": "2026-03"})
    assert read_feedback("m", held, COLUMNS).rows[0].label == "yes", "a label that is corrected later"  # type: ignore[arg-type]


def test_what_a_shadow_was_asked_is_the_champions_row() -> None:
    shadow = {**request("a", "2026-01-01T00:00:01Z"), "alias": "shadow"}
    held = shelf([lines({"request": "a", "row": 1, "label": "no"})], REQUESTS[0], shadow)
    assert read_feedback("m", held, COLUMNS).rows[0].row == {"size": 2, "town": "Bonn"}  # type: ignore[arg-type]


def test_what_is_no_label_and_a_broken_file_of_the_log_cost_their_own_rows_only() -> None:
    body = b"{\n[1]\n" + lines({"request": "a", "row": 0, "label": 0}, {"request": "a", "label": None}, {"label": 1})
    assert labels_in(body) == [(("a", 0), 0, "")]
    broken = shelf([body], *REQUESTS)
    broken.held["traffic/m/day0"] = b"\x1f\x8bnot gzip"
    assert len(read_feedback("m", broken, COLUMNS).rows) == 1  # type: ignore[arg-type]


# ------------------------------------------------------------------ as rows of the upload


def table(rows: int = 300) -> str:
    draw = random.Random(3)
    lines = ["id;size;town;day;paid;bought"]
    for number in range(rows):
        size, town = draw.randint(10, 99) / 10, draw.choice(["Ulm", "Bonn", "Köln"])
        bought = size + (3 if town == "Ulm" else 0) + draw.gauss(0, 1) > 7
        text = f"{size}".replace(".", ",")
        lines.append(f"k{number};{text};{town};{draw.randint(1, 28):02d}.{draw.randint(1, 12):02d}.2025;True;{bought}")
    return "\n".join(lines) + "\n"


@pytest.fixture
def base(tmp_path: Path) -> tuple[Path, Any]:
    source = tmp_path / "table.csv"
    source.write_text(table(), encoding="utf-8")
    return source, prepare(
        source, "table.csv", Spec.from_json({"data": {"target": "bought"}}), tmp_path / "d", model="m"
    )


def hashes(folder: Path, split: str) -> set[int]:
    return set(load_split(folder, split)[2].tolist())


def test_a_labelled_row_equal_to_a_row_of_the_upload_has_its_hash_and_its_split(base: Any, tmp_path: Path) -> None:
    """Decimal commas, days before months, words for true: what a program sends is written as the file has it."""
    source, prepared = base
    rows = [line.split(";") for line in table().splitlines()[1:]]
    features = {item["name"] for item in prepared.schema["columns"] if item["role"] == "feature"}
    assert {"size", "town", "day"} <= features
    sent = []
    for _, size, town, day, _, bought in rows:
        date = "-".join(reversed(day.split(".")))
        row = {"size": float(size.replace(",", ".")), "town": town, "day": date, "paid": True}
        sent.append(Labelled(row, bought == "True"))
    assert merge(source, "table.csv", prepared.schema, sent, tmp_path / "merged.parquet") == 300
    spec = pinned(Spec(), prepared.schema)
    again = prepare(tmp_path / "merged.parquet", "merged.parquet", spec, tmp_path / "e", model="m")
    assert again.rows["read"] == 600 and again.rows["quarantined"] == 0
    assert again.schema["labels"] == prepared.schema["labels"]
    for split in ("train", "validation", "test"):
        assert hashes(again.folder, split) == hashes(prepared.folder, split), f"rows left or entered {split}"
    assert again.profile["duplicate_rows"] >= 300


def test_the_rows_of_the_upload_are_written_as_its_reader_gave_them(base: Any, tmp_path: Path) -> None:
    source, prepared = base
    merge(source, "table.csv", prepared.schema, [], tmp_path / "merged.parquet")
    found = pq.read_table(tmp_path / "merged.parquet").to_pylist()
    assert [";".join(row.values()) for row in found] == table().splitlines()[1:]


def test_what_is_not_known_is_empty_and_what_no_longer_fits_stays_out(base: Any, tmp_path: Path) -> None:
    source, prepared = base
    sent = [
        Labelled({"size": None, "town": "Trier", "day": None, "paid": False, "id": "never sent"}, False),
        Labelled({"size": "large", "town": "Ulm", "day": None, "paid": True}, True),
    ]
    assert merge(source, "table.csv", prepared.schema, sent, tmp_path / "merged.parquet") == 1
    last = pq.read_table(tmp_path / "merged.parquet").to_pylist()[-1]
    assert (last["size"], last["town"], last["bought"]) == (None, "Trier", "False")


def test_records_that_bring_columns_late_keep_them(tmp_path: Path) -> None:
    source = tmp_path / "table.jsonl"
    records = [{"size": n, **({"late": "x" if n % 2 else "y"} if n > 60 else {}), "y": n % 3} for n in range(120)]
    source.write_bytes(lines(*records))
    prepared = prepare(source, "table.jsonl", Spec.from_json({"data": {"target": "y"}}), tmp_path / "d", model="m")
    merge(source, "table.jsonl", prepared.schema, [Labelled({"size": 1.0, "late": "x"}, "2")], tmp_path / "m.parquet")
    found = pq.read_table(tmp_path / "m.parquet").to_pylist()
    assert found[0] == {"size": "0", "y": "0", "late": None} and found[-2]["late"] == "x"
    assert found[-1] == {"size": "1", "y": "2", "late": "x"}


def test_an_archive_is_refused_with_what_to_do(tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "files.zip", "w") as archive:
        archive.writestr("a/1.txt", "one")
    with pytest.raises(BadTable) as caught:
        merge(tmp_path / "files.zip", "files.zip", {"columns": []}, [], tmp_path / "m.parquet")
    assert caught.value.code == "FEEDBACK_NOT_MERGED" and "archive" in caught.value.remedy
