"""Training again over HTTP: asked for and answered later, listed with reasons, paused by one switch."""

from __future__ import annotations

from typing import Any

import pytest
from tests.doubles.plane import Plane, with_income

from tidemill.core.attempts import refused, started


@pytest.fixture
def plane() -> Plane:
    found = with_income(Plane())
    spec = {"schedule": {"retrain": "rate(7 days)", "min_new_labels": 500}}
    found.registry.run("income", "r-two")["spec"] = spec
    return found


def test_a_wish_is_taken_with_a_number_and_put_on_the_queue(plane: Plane) -> None:
    with plane.client() as http:
        answer = http.post("/models/income/retrain", json={"why": "new prices"})
    assert answer.status_code == 202
    (message,) = plane.woken
    assert message["ask"] == answer.json()["ask"] and message["by"].startswith("key ")
    assert {**message, "ask": "", "by": ""} == {
        **{"wake": "retrain", "model": "income", "why": "hand", "said": "new prices", "ask": "", "by": ""}
    }


def test_what_came_of_wishes_is_listed_newest_first(plane: Plane) -> None:
    registry: Any = plane.registry
    started("income", registry, "hand", "0123", rows={"base": 3, "labelled": 1}, ask="1")
    for why in ("drift", "drift"):
        refused("income", registry, why, {"code": "NOTHING_NEW", "message": "Nothing.", "remedy": "Label."})
    with plane.client() as http:
        found = http.get("/models/income/retrains").json()["retrains"]
    assert [(item["why"], item["state"]) for item in found] == [("drift", "REFUSED"), ("hand", "STARTED")]
    assert found[0]["again"] == 1 and found[1]["ask"] == "1" and "pk" not in found[0]


def test_the_clocks_are_those_of_the_version_in_service_under_the_switch(plane: Plane) -> None:
    with plane.client() as http:
        before = http.get("/models/income/schedule").json()
        assert (before["retrain"], before["monitor"], before["paused"]) == ("rate(7 days)", "rate(1 day)", False)
        after = http.post("/models/income/schedule", json={"paused": True}).json()
        assert after["paused"] and after["switch"]["by"].startswith("key ") and after["min_new_labels"] == 500
        assert http.get("/models/income/schedule").json() == after
        assert not http.post("/models/income/schedule", json={"paused": False}).json()["paused"]
    assert plane.woken == [{"wake": "clocks", "model": "income"}] * 2


def test_a_model_without_a_version_in_service_can_be_paused_already(plane: Plane) -> None:
    plane.registry.add("fresh")
    with plane.client() as http:
        assert http.get("/models/fresh/schedule").json()["version"] is None
        assert http.post("/models/fresh/schedule", json={"paused": True}).json()["paused"]


def test_a_version_put_in_service_by_hand_brings_its_clocks(plane: Plane) -> None:
    with plane.client() as http:
        http.post("/models/income/promote", json={"version": 1, "why": "x"})
        http.post("/models/income/rollback", json={"why": "y"})
    assert plane.woken == [{"wake": "clocks", "model": "income"}] * 2


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/models/nobody/retrain", {}),
        ("GET", "/models/nobody/retrains", None),
        ("GET", "/models/nobody/schedule", None),
        ("POST", "/models/nobody/schedule", {"paused": True}),
    ],
)
def test_an_unknown_model_is_said_to_be_one_and_wakes_nobody(plane: Plane, method: str, path: str, body: Any) -> None:
    with plane.client() as http:
        answer = http.request(method, path, json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "UNKNOWN_MODEL") and not plane.woken


def test_only_an_operator_may_ask_or_pause(plane: Plane) -> None:
    with plane.client("predict") as http:
        assert http.post("/models/income/retrain", json={}).status_code == 403
        assert http.post("/models/income/schedule", json={"paused": True}).status_code == 403
        assert http.post("/models/income/schedule", json={"paused": "yes"}).status_code in (403, 422)
    assert not plane.woken


def test_the_runs_of_an_upload_that_retrain_made_are_found_by_its_name(plane: Plane) -> None:
    run = plane.registry.runs("income")[0]
    run["upload"]["key"] = "uploads/income/retrain/0123456789abcdef/data.parquet"
    with plane.client() as http:
        found = http.get("/models/income/runs", params={"upload": "0123456789abcdef"}).json()["runs"]
    assert [item["run"] for item in found] == [run["run"]]
