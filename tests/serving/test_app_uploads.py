"""POST /uploads: what the presigned form allows, and what it does not."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from typing import Any

import pytest
from tests.doubles.plane import DATA, Plane, with_income

from tidemill.core.limits import limit
from tidemill.serving.app.uploads import MAX_BYTES, new_upload
from tidemill.serving.inbox import check_key

GOOD = {"model": "income", "filename": "adult.csv"}


@pytest.fixture(scope="module")
def plane() -> Plane:
    return Plane()


def policy_of(answer: dict[str, Any]) -> dict[str, Any]:
    policy: dict[str, Any] = json.loads(base64.b64decode(answer["fields"]["policy"]))
    return policy


def test_the_form_allows_one_key_one_bucket_one_size_range_and_a_quarter_of_an_hour(plane: Plane) -> None:
    answer = plane.client().post("/uploads", json=GOOD)
    assert answer.status_code == 201
    body = answer.json()
    policy = policy_of(body)
    key = f"uploads/income/{body['upload']}/adult.csv"
    assert body["key"] == body["fields"]["key"] == key
    assert {"key": key} in policy["conditions"]
    assert {"bucket": DATA} in policy["conditions"]
    assert ["content-length-range", 1, MAX_BYTES] in policy["conditions"]
    assert not any(item[0] == "starts-with" for item in policy["conditions"] if isinstance(item, list))
    lasts = datetime.fromisoformat(policy["expiration"]) - datetime.now(UTC)
    assert 14 * 60 < lasts.total_seconds() <= 15 * 60
    assert abs((datetime.fromisoformat(body["expires"]) - datetime.now(UTC)).total_seconds() - 900) < 10
    assert body["max_bytes"] == MAX_BYTES == 2**30


@pytest.mark.parametrize("name", ["adult.csv", "Zahlen 2026.parquet", "数据.csv", "a" * 128, "a..b.csv", "(1).csv"])
def test_a_usual_filename_is_taken(plane: Plane, name: str) -> None:
    answer = plane.client().post("/uploads", json={**GOOD, "filename": name})
    assert answer.status_code == 201
    assert answer.json()["key"].endswith("/" + name)


@pytest.mark.parametrize(
    "name",
    ["", " ", "a/b", "..", ".", "a\\b", "a\nb", "a\x00b", "\x7f", "a\u202eb", "a" * 129, "${filename}", " a.csv"],
)
def test_a_filename_that_could_mislead_is_refused(plane: Plane, name: str) -> None:
    answer = plane.client().post("/uploads", json={**GOOD, "filename": name})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_FILENAME")


def test_a_specification_is_no_data_file(plane: Plane) -> None:
    answer = plane.client().post("/uploads", json={**GOOD, "filename": "tidemill.toml"})
    assert answer.json()["code"] == "BAD_FILENAME"
    assert "spec" in answer.json()["remedy"]


def test_a_file_that_says_it_is_too_large_is_refused_before_it_is_sent(plane: Plane) -> None:
    answer = plane.client().post("/uploads", json={**GOOD, "size_bytes": MAX_BYTES + 1})
    assert (answer.status_code, answer.json()["code"]) == (413, "TOO_LARGE")
    assert plane.client().post("/uploads", json={**GOOD, "size_bytes": MAX_BYTES}).status_code == 201


def test_a_specification_is_checked_and_written_beside_the_place_of_the_file() -> None:
    plane = Plane()
    text = '[data]\ntarget = "income"\n'
    body = plane.client().post("/uploads", json={**GOOD, "spec": text}).json()
    assert plane.s3.objects == {(DATA, f"uploads/income/{body['upload']}/tidemill.toml"): text.encode()}


@pytest.mark.parametrize(
    "text",
    ["[data", "[dta]\n", "[train]\nepochs = -1\n", "[decision]\nfalse_positive = 1\n", "a = " + "[" * 5000],
)
def test_a_specification_that_cannot_be_followed_is_refused_and_not_written(text: str) -> None:
    plane = Plane()
    answer = plane.client().post("/uploads", json={**GOOD, "spec": text})
    assert (answer.status_code, answer.json()["code"]) == (422, "BAD_SPEC")
    assert plane.s3.objects == {}


def test_a_model_name_that_cannot_be_one_is_refused(plane: Plane) -> None:
    answer = plane.client().post("/uploads", json={**GOOD, "model": "../other"})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_MODEL_NAME")


def test_fields_that_are_not_asked_for_are_refused(plane: Plane) -> None:
    answer = plane.client().post("/uploads", json={**GOOD, "bucket": "other"})
    assert (answer.status_code, answer.json()["errors"][0]["field"]) == (422, "bucket")


def test_upload_ids_sort_by_time_and_do_not_repeat() -> None:
    ids = [new_upload(now_ms) for now_ms in (0, 1, 31, 32, 2**40, 2**47)]
    assert ids == sorted(ids)
    assert {len(each) for each in ids} == {26}
    assert len({new_upload() for _ in range(1000)}) == 1000


PREDICTED = {"model": "income", "filename": "photo.jpg", "purpose": "predict"}


@pytest.fixture(scope="module")
def income() -> Plane:
    return with_income(Plane())


@pytest.mark.parametrize("role", ["predict", "operate"])
def test_a_file_to_be_predicted_goes_to_the_inbox_of_its_model_and_starts_nothing(income: Plane, role: str) -> None:
    answer = income.client(role).post("/uploads", json=PREDICTED)
    assert answer.status_code == 201, answer.text
    body = answer.json()
    assert body["key"] == f"inbox/income/{body['upload']}/photo.jpg"
    assert not body["key"].startswith("uploads/"), "Preprocess listens there"
    assert body["max_bytes"] == limit("picture_bytes")
    conditions = policy_of(body)["conditions"]
    assert {"key": body["key"]} in conditions and ["content-length-range", 1, limit("picture_bytes")] in conditions
    assert check_key("income", body["key"], 0) == body["key"], "what the form gives, predict reads"


@pytest.mark.parametrize("purpose", [{}, {"purpose": "train"}])
def test_a_predict_key_may_not_start_a_run(income: Plane, purpose: dict[str, str]) -> None:
    answer = income.client("predict").post("/uploads", json={**GOOD, "spec": "", **purpose})
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")
    assert not [key for _, key in income.s3.objects if key.startswith("uploads/")]


@pytest.mark.parametrize(
    ("more", "status", "code"),
    [
        ({"model": "nobody"}, 404, "UNKNOWN_MODEL"),
        ({"model": "../other"}, 400, "BAD_MODEL_NAME"),
        ({"filename": "a/b"}, 400, "BAD_FILENAME"),
        ({"size_bytes": (32 << 20) + 1}, 413, "TOO_LARGE"),
        ({"spec": "[data]\n"}, 400, "SPEC_NOT_READ"),
        ({"purpose": "keep"}, 422, "INVALID_REQUEST"),
    ],
)
def test_a_file_to_be_predicted_that_cannot_be_taken_is_refused(
    income: Plane, more: dict[str, Any], status: int, code: str
) -> None:
    answer = income.client("predict").post("/uploads", json={**PREDICTED, **more})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
