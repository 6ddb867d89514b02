"""Scorings in the API: a form for a file of rows, where it stands, and links to what came back."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from tests.doubles.plane import ARTIFACTS, DATA, Plane, with_income

from tidemill.core.limits import limit

DONE: dict[str, Any] = {
    **{"scoring": "s-1", "model": "income", "state": "DONE", "version": 2, "order": "2", "tries": 0},
    **{"request": {"bucket": DATA, "key": "requests/income/u7/people.csv"}, "results": "results/income/s-1/"},
    **{"rows": {"in": 3, "out": 2, "rejected": 1}, "times": {"received": "2026-01-01T00:00:00Z"}},
    "files": [{"name": name, "size_bytes": 9, "sha256": "0"} for name in ("predictions.csv", "rejects.csv")],
}
RUNNING = {"scoring": "s-2", "model": "income", "state": "RUNNING", "request": {"key": "requests/income/b.csv"}}


@pytest.fixture
def plane() -> Plane:
    made = with_income(Plane())
    made.scorings.items["income"] = [RUNNING, DONE]
    return made


def test_a_predict_key_gets_a_form_for_a_file_to_be_scored(plane: Plane) -> None:
    body = {"model": "income", "filename": "people.csv", "purpose": "score"}
    answer = plane.client("predict").post("/uploads", json=body)
    assert answer.status_code == 201, answer.text
    form = answer.json()
    assert form["key"] == f"requests/income/{form['upload']}/people.csv" and form["max_bytes"] == limit("upload")
    unknown = plane.client("predict").post("/uploads", json={**body, "model": "nobody"})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "UNKNOWN_MODEL")
    spec = plane.client("predict").post("/uploads", json={**body, "spec": "[data]"})
    assert spec.json()["code"] == "SPEC_NOT_READ"


def test_scorings_are_listed_newest_first_and_found_by_their_upload(plane: Plane) -> None:
    client = plane.client("predict")
    found = client.get("/models/income/scorings").json()["scorings"]
    assert [item["scoring"] for item in found] == ["s-2", "s-1"]
    assert [item["scoring"] for item in client.get("/models/income/scorings?upload=u7").json()["scorings"]] == ["s-1"]
    assert client.get("/models/income/scorings?upload=b.csv").json()["scorings"] == [], "a bare file has no upload"
    assert client.get("/models/nobody/scorings").status_code == 404


def test_results_come_with_links_that_end_within_a_quarter_of_an_hour(plane: Plane) -> None:
    item = plane.client("predict").get("/models/income/scorings/s-1").json()
    for file in item["files"]:
        link = urlsplit(file["url"])
        assert link.path == f"/{ARTIFACTS}/results/income/s-1/{file['name']}"
        query = parse_qs(link.query)
        assert "Signature" in query or "X-Amz-Signature" in query
    assert plane.client("predict").get("/models/income/scorings/s-2").json()["files"] == []
    unknown = plane.client("predict").get("/models/income/scorings/s-9")
    assert (unknown.status_code, unknown.json()["code"]) == (404, "UNKNOWN_SCORING")
