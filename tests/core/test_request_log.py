"""The request log is read by windows that overlap nowhere, and labels are kept once however often they are sent."""

from __future__ import annotations

import gzip
import itertools
import json
from typing import Any

import pytest
from tests.doubles.plane import MemoryS3

from tidemill.core import feedback, traffic
from tidemill.core.errors import BadBody, TidemillError, TooLarge
from tidemill.core.storage import Storage

Record = dict[str, Any]
LABELS = {"task": "binary", "target": "income", "labels": ["<=50K", "1"]}


@pytest.fixture
def artifacts() -> Storage:
    return Storage("artifacts", MemoryS3())


def record(request: str, version: int = 1, rows: int = 1, **more: Any) -> Record:
    scores = [[0.25, 0.75]] * rows
    kept = {"index": list(range(rows)), "columns": {"age": list(range(rows))}, "scores": scores}
    return {"request": request, "version": version, "status": 200, "alias": "champion", "at": "t", **kept, **more}


def write(artifacts: Storage, at: str, *records: Record, environment: str = "e1") -> None:
    """An object written at a time such as 2026-03-01/120000000."""
    body = gzip.compress(b"\n".join(json.dumps(item).encode() for item in records))
    artifacts.write_bytes(f"traffic/m/{at}-{environment}-1.jsonl.gz", body)


def window(artifacts: Storage, since: str, until: str, version: int = 1, most: int = 1_000) -> traffic.Window:
    return traffic.read(artifacts, "m", since, until, version, most)


def test_windows_that_follow_each_other_share_no_object_and_leave_none_out(artifacts: Storage) -> None:
    times = ["2026-02-27/235959999", "2026-02-28/120000000", "2026-02-28/120000001", "2026-03-01/000000000"]
    for number, at in enumerate(times):
        write(artifacts, at, record(f"r{number}"))
    edges = ["2026-02-27T00:00:00.000Z", "2026-02-28T12:00:00.000Z", "2026-03-01T00:00:00.000Z"]
    assert [window(artifacts, *pair).rows for pair in itertools.pairwise(edges)] == [2, 2]
    assert window(artifacts, edges[0], edges[2]).rows == 4


def test_only_what_the_version_answered_in_service_counts(artifacts: Storage) -> None:
    shadow, other = record("r2", alias="shadow"), record("r3", version=2)
    refused = {"request": "r4", "version": 1, "status": 422, "code": "SCHEMA_MISMATCH", "at": "t"}
    write(artifacts, "2026-03-01/120000000", record("r1", rows=3), shadow, other, refused)
    found = window(artifacts, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")
    assert (found.records, found.others, found.rows, dict(found.refused)) == (2, 2, 3, {"SCHEMA_MISMATCH": 1})


def test_columns_stay_in_line_with_scores_where_some_records_lack_them(artifacts: Storage) -> None:
    write(artifacts, "2026-03-01/120000000", record("r1", columns={"b": [7]}), record("r2", rows=2), record("r3"))
    found = window(artifacts, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")
    assert found.columns == {"b": [7, None, None, None], "age": [None, 0, 1, 0]} and found.rows == 4


def test_what_is_no_record_is_counted_and_stops_nobody(artifacts: Storage) -> None:
    write(artifacts, "2026-03-01/120000000", record("r1"))
    artifacts.write_bytes("traffic/m/2026-03-01/120000001-e-1.jsonl.gz", b"no gzip")
    artifacts.write_bytes("traffic/m/2026-03-01/120000002-e-1.jsonl.gz", gzip.compress(b'{"request": "x"}\n[]\n{'))
    artifacts.write_bytes("traffic/m/2026-03-01/notes.txt", b"mine")
    found = window(artifacts, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z")
    assert (found.rows, found.spoiled, found.files) == (1, 4, 3)


def test_a_window_reads_no_more_rows_than_it_may(artifacts: Storage) -> None:
    for number in range(20):
        write(artifacts, f"2026-03-01/12{number:02d}00000", record(f"r{number}", rows=10))
    assert 50 <= window(artifacts, "2026-03-01T00:00:00Z", "2026-03-02T00:00:00Z", most=50).rows < 60


def test_answers_are_found_by_request_and_row(artifacts: Storage) -> None:
    write(artifacts, "2026-03-01/120000000", record("r1", rows=3), record("r2", version=2))
    wanted = {("r1", 2), ("r1", 9), ("r2", 0), ("r3", 0)}
    found = traffic.scores_of(artifacts, "m", "2026-03-02T00:00:00Z", 1, wanted)
    assert found == {("r1", 2): [0.25, 0.75]}


@pytest.mark.parametrize(("sent", "known"), [("<=50K", "<=50K"), ("1", "1"), (1, "1"), (1.0, "1")])
def test_a_label_is_one_of_the_models(sent: Any, known: str) -> None:
    assert feedback.checked([{"request": "r", "row": 0, "label": sent}], LABELS)[0]["label"] == known


@pytest.mark.parametrize(
    ("items", "code"),
    [
        ([{"request": "r", "row": 0, "label": "rich"}], "UNKNOWN_LABEL"),
        ([{"request": "r", "row": 0, "label": True}], "UNKNOWN_LABEL"),
        ([{"request": "no spaces", "row": 0, "label": "1"}], "BAD_REQUEST_ID"),
        ([{"request": "r", "row": 10_000, "label": "1"}], "BAD_REQUEST_ID"),
        ([{"request": "r", "row": 0, "label": "1"}, {"request": "r", "row": 0, "label": "<=50K"}], "TWO_LABELS"),
        ([], "NO_LABELS"),
    ],
)
def test_labels_that_cannot_be_are_refused_with_the_place(items: list[Record], code: str) -> None:
    with pytest.raises(BadBody) as caught:
        feedback.checked(items, LABELS)
    assert caught.value.code == code


def test_values_are_finite_numbers() -> None:
    value = {"task": "regression", "labels": []}
    assert feedback.checked([{"request": "r", "row": 0, "label": "2.5"}], value)[0]["label"] == 2.5
    for wrong in ("nan", "much", True, float("inf")):
        with pytest.raises(TidemillError):
            feedback.checked([{"request": "r", "row": 0, "label": wrong}], value)


def test_more_labels_than_are_taken_are_refused() -> None:
    with pytest.raises(TooLarge):
        feedback.checked([{"request": "r", "row": at, "label": "1"} for at in range(10_001)], LABELS)


def test_the_same_labels_are_kept_once_with_the_time_they_first_came(artifacts: Storage) -> None:
    labels = feedback.checked([{"request": f"r{at}", "row": 0, "label": "1"} for at in range(3)], LABELS)
    key = feedback.write(artifacts, "m", labels, "key 1")
    first = artifacts.read_bytes(key)
    assert feedback.write(artifacts, "m", labels, "key 2") == key and artifacts.read_bytes(key) == first
    assert [label["request"] for label in feedback.read(artifacts, "m")] == ["r0", "r1", "r2"]
    assert list(feedback.read(artifacts, "m", since="9999")) == []
