"""Models, versions, runs, logs, cards, and the way to the Predict function."""

from __future__ import annotations

import asyncio
import base64
import json
from decimal import Decimal
from typing import Any

import pytest
from mangum import Mangum
from tests.doubles.plane import CONTEXT, REJECTED, SEARCH, Plane, with_income
from tests.serving.modality_factory import text_program

from tidemill.core.features.pictures import PictureProgram
from tidemill.serving.app import search_shapes, shapes
from tidemill.serving.app.plain import plain


@pytest.fixture
def plane() -> Plane:
    return with_income(Plane())


def test_the_list_shows_champion_versions_and_state(plane: Plane) -> None:
    plane.registry.add("empty")
    body = plane.client("predict").get("/models").json()
    shapes.Models.model_validate(body)
    empty, income = body["models"]
    assert (empty["champion"], empty["versions"], empty["state"]) == (None, 0, None)
    assert (income["champion"], income["versions"], income["state"]) == (2, 2, "REJECTED")
    assert (income["task"], income["last_run"]) == ("binary", "r-bad")


def test_a_model_shows_what_a_row_looks_like(plane: Plane) -> None:
    body = plane.client("predict").get("/models/income").json()
    shapes.Model.model_validate(body)
    assert body["champion"]["version"] == 2
    assert [run["run"] for run in body["runs"]] == ["r-bad", "r-two", "r-one"]
    assert [column["name"] for column in body["input"]["columns"]] == ["age", "workclass", "hired"]
    assert body["input"]["example"] == {"age": 39, "workclass": "Private", "hired": "2024-01-31T12:00:00"}


@pytest.mark.parametrize(("modality", "column"), [("picture", "picture"), ("text", "review")])
def test_a_model_of_pictures_or_texts_shows_a_row_that_can_be_sent(plane: Plane, modality: str, column: str) -> None:
    feature = {"name": column, "kind": modality, "role": "feature"}
    described = [feature, {"name": "file", "kind": "category", "role": "id"}, {"name": "label", "role": "target"}]
    schema = {"format": 1, "modality": modality, "target": "label", "columns": described}
    plane.artefact("datasets/income/d-1/schema.json", schema)
    body = plane.client("predict").get("/models/income").json()
    shapes.Model.model_validate(body)
    assert body["input"]["modality"] == modality
    assert body["input"]["columns"] == [{"name": column, "kind": modality}]
    example = body["input"]["example"]
    program: Any = PictureProgram((12, 12), 1) if modality == "picture" else text_program()
    assert program.read_rows([example]) and program.x_of_rows([example]) is not None


def test_a_model_without_a_version_has_no_input(plane: Plane) -> None:
    plane.registry.add("empty")
    body = plane.client().get("/models/empty").json()
    assert (body["champion"], body["input"], body["runs"]) == (None, None, [])


def test_the_tables_own_fields_stay_inside(plane: Plane) -> None:
    run = plane.client().get("/models/income/runs/r-two").json()
    shapes.Run.model_validate(run)
    assert not {"pk", "sk", "epoch", "holder", "lease_until"} & set(run)


def test_runs_are_found_by_upload(plane: Plane) -> None:
    client = plane.client()
    assert [run["run"] for run in client.get("/models/income/runs").json()["runs"]] == ["r-bad", "r-two", "r-one"]
    assert [run["run"] for run in client.get("/models/income/runs?upload=u1").json()["runs"]] == ["r-one"]
    assert client.get("/models/income/runs?upload=u9").json()["runs"] == []
    assert client.get("/models/income/runs?upload=u3").json()["runs"][0]["reason"] == REJECTED["reason"]


def test_a_version_comes_with_its_metrics(plane: Plane) -> None:
    body = plane.client("predict").get("/models/income/versions/2").json()
    shapes.Version.model_validate(body)
    assert body["metrics"]["metrics"]["log_loss"]["value"] == 0.35
    versions = plane.client("predict").get("/models/income/versions").json()["versions"]
    assert [item["version"] for item in versions] == [2, 1]


def test_a_version_tells_what_was_tried_for_it(plane: Plane) -> None:
    body = plane.client("predict").get("/models/income/versions/2/search").json()
    search_shapes.Searched.model_validate(body)
    assert (body["model"], body["version"], body["search"]) == ("income", 2, SEARCH)


def test_a_version_from_before_searches_were_kept_has_none(plane: Plane) -> None:
    answer = plane.client("predict").get("/models/income/versions/1/search")
    assert (answer.status_code, answer.json()["search"]) == (200, None)
    assert plane.client().get("/models/income/versions/9/search").json()["code"] == "UNKNOWN_VERSION"
    assert plane.client().get("/models/nothing/versions/1/search").json()["code"] == "UNKNOWN_MODEL"


def test_a_search_that_is_no_json_is_a_bad_bundle_and_not_an_empty_one(plane: Plane) -> None:
    plane.artefact("bundles/income/r-two/search.json", "[1, 2")
    assert plane.client().get("/models/income/versions/2/search").json()["code"] == "BAD_BUNDLE"


def test_logs_come_in_pages_that_neither_lose_nor_end_early(plane: Plane) -> None:
    client = plane.client()
    first = client.get("/models/income/runs/r-two/logs").json()
    shapes.Logs.model_validate(first)
    assert [line["message"] for line in first["lines"]] == [f"epoch {step}" for step in range(5)]
    assert (first["next"], first["ended"]) == (1004, True)
    again = client.get(f"/models/income/runs/r-two/logs?since={first['next']}").json()
    assert [line["message"] for line in again["lines"]] == ["epoch 4"]


def test_a_run_without_a_log_has_an_empty_one(plane: Plane) -> None:
    client = plane.client()
    for run in ("r-one", "r-bad"):
        assert client.get(f"/models/income/runs/{run}/logs").json()["lines"] == []


def test_a_job_that_died_early_still_shows_its_log(plane: Plane) -> None:
    row = plane.registry.rows["income"]["runs"][0]
    row["reason"] = {"code": "OUT_OF_MEMORY", "where": "job/r-two"}
    assert len(plane.client().get("/models/income/runs/r-bad/logs").json()["lines"]) == 5


def test_a_full_page_in_one_millisecond_does_not_stop_the_reader(plane: Plane) -> None:
    plane.logs.streams["job/r-two"] = [{"timestamp": 5, "message": str(step)} for step in range(1500)]
    client = plane.client()
    first = client.get("/models/income/runs/r-two/logs").json()
    second = client.get(f"/models/income/runs/r-two/logs?since={first['next']}").json()
    assert second["next"] == 6


def test_a_card_may_style_itself_and_do_nothing_else(plane: Plane) -> None:
    answer = plane.client("predict").get("/models/income/card")
    assert answer.headers["content-type"].startswith("text/html")
    assert "income 2" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "sandbox" in policy
    assert "script" not in policy
    assert "income 1" in plane.client("predict").get("/models/income/card?version=1").text


def test_a_card_as_json_has_no_number_that_json_cannot_hold(plane: Plane) -> None:
    body = json.loads(plane.client("predict").get("/models/income/card.json").text)
    assert body.pop("cost")["training"]["seconds"] == 10.5
    assert body == {"model": "income", "version": 2, "bad": None}


def test_a_run_and_a_version_tell_what_they_cost(plane: Plane) -> None:
    run = plane.client().get("/models/income/runs/r-two").json()
    version = plane.client().get("/models/income/versions/2").json()
    assert run["cost"] == version["cost"]["training"]
    assert run["cost"]["usd"] > 0 and run["cost"]["currency"] == "USD"
    assert version["cost"]["thousand_predictions"]["usd"] > 0
    assert plane.client().get("/models/income/runs/r-bad").json()["cost"] is None


def test_a_card_is_shown_with_its_bill_where_it_has_room_for_it(plane: Plane) -> None:
    plane.artefact("bundles/income/r-two/card.html", "<main>income 2<!--cost--></main>")
    text = plane.client("predict").get("/models/income/card").text
    assert "<h2>Cost</h2>" in text and "USD at list prices" in text and "thousand warm requests" in text
    assert "<!--cost-->" not in text


def test_a_model_without_a_version_in_service_has_no_card(plane: Plane) -> None:
    plane.registry.rows["income"]["alias"] = None
    answer = plane.client().get("/models/income/card")
    assert (answer.status_code, answer.json()["code"]) == (409, "NO_CHAMPION")


def test_a_card_that_is_missing_is_404_without_the_bucket(plane: Plane) -> None:
    plane.s3.objects.clear()
    answer = plane.client().get("/models/income/card")
    assert (answer.status_code, answer.json()["code"]) == (404, "NO_SUCH_FILE")
    assert "bucket" not in answer.text


def test_promote_and_rollback_say_who_and_why(plane: Plane) -> None:
    client = plane.client()
    alias = client.post("/models/income/promote", json={"version": 1, "why": "calmer"}).json()
    shapes.Alias.model_validate(alias)
    assert (alias["version"], alias["pinned"], alias["why"]) == (1, True, "calmer")
    assert "test operate" in alias["by"]
    assert client.post("/models/income/rollback", json={}).json()["version"] == 2


def test_rollback_without_an_earlier_version_is_409(plane: Plane) -> None:
    plane.registry.rows["income"]["alias"]["previous"] = None
    answer = plane.client().post("/models/income/rollback", json={})
    assert (answer.status_code, answer.json()["code"]) == (409, "NOTHING_TO_ROLL_BACK")


def test_a_challenger_is_shown_beside_the_champion_until_it_is_stopped(plane: Plane) -> None:
    client = plane.client()
    begun = client.post("/models/income/canary", json={"version": 1, "share": 0.25, "why": "old was calmer"}).json()
    shapes.Challenger.model_validate(begun)
    assert (begun["version"], begun["share"], begun["live"], begun["champion"]) == (1, 0.25, True, 2)
    model = client.get("/models/income").json()
    shapes.Model.model_validate(model)
    assert model["challenger"]["version"] == 1 and "challenger" not in model["champion"]
    ended = client.post("/models/income/canary/stop", json={"why": "seen enough"}).json()
    assert (ended["live"], ended["why"]) == (False, "seen enough")
    assert client.get("/models/income").json()["challenger"] is None


@pytest.mark.parametrize("body", [{}, {"version": 1, "share": 1.5}, {"version": 1, "share": "half"}, {"version": 0}])
def test_a_canary_that_makes_no_sense_is_refused(plane: Plane, body: Any) -> None:
    assert plane.client().post("/models/income/canary", json=body).status_code == 422
    assert plane.client().post("/models/income/canary/stop", json={}).json()["code"] == "NO_CHALLENGER"


def test_the_history_tells_what_served_at_a_time_since_when_and_who_wanted_it(plane: Plane) -> None:
    moves = plane.registry.rows["income"]["moves"]
    for day, move in enumerate(reversed(moves), start=1):
        move["at"] = f"2026-01-0{day}T12:00:00.000Z"
    client = plane.client("predict")
    for at, version in (("2026-01-01T11:59:59Z", None), ("2026-01-01T13:00:00+01:00", 1), ("2026-01-02T13:00", 2)):
        found = client.get("/models/income/history", params={"at": at}).json()
        shapes.History.model_validate(found)
        assert (found["champion"] or {}).get("version") == version
    assert found["champion"] | {"rev": 0} == {
        **{"alias": "champion", "version": 2, "since": "2026-01-02T12:00:00.000Z", "by": "gate", "why": "better"},
        **{"previous": 1, "pinned": False, "rev": 0},
    }
    assert [move["version"] for move in found["moves"]] == [2, 1]
    wrong = client.get("/models/income/history?at=yesterday")
    assert (wrong.status_code, wrong.json()["code"]) == (422, "BAD_TIME")
    assert client.get("/models/nothing/history").json()["code"] == "UNKNOWN_MODEL"


@pytest.mark.parametrize("verb", ["predict", "explain"])
def test_predictions_are_the_predict_functions_work(plane: Plane, verb: str) -> None:
    body = {"rows": [{"age": 39}]}
    answer = plane.client("predict").post(f"/models/income/{verb}", json=body)
    assert answer.json() == plane.answer
    (event,) = plane.events
    assert event["rawPath"] == f"/models/income/{verb}"
    assert event["pathParameters"] == {"model": "income"}
    assert json.loads(base64.b64decode(event["body"])) == body
    assert event["headers"]["x-api-key"] == plane.keys["predict"]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("image/png", b"\x89PNG\r\n\x1a\n\x00\xff"),
        ("multipart/form-data; boundary=b", b"--b--\xff"),
        ("text/plain", "电影".encode()),
        ("text/csv", b"whatever it is, the Predict function says what it takes"),
    ],
)
def test_pictures_forms_and_texts_are_passed_on_byte_by_byte(plane: Plane, kind: str, content: bytes) -> None:
    headers = {"content-type": kind}
    answer = plane.client("predict").post("/models/income/explain?target=a%20b", content=content, headers=headers)
    assert answer.json() == plane.answer
    (event,) = plane.events
    assert base64.b64decode(event["body"]) == content and event["isBase64Encoded"] is True
    assert event["headers"]["content-type"] == kind and event["rawQueryString"] == "target=a%20b"


def test_a_body_too_large_for_the_api_names_the_way_round(plane: Plane) -> None:
    headers = {"content-type": "image/png"}
    answer = plane.client("predict").post("/models/income/predict", content=bytes(6 << 20), headers=headers)
    assert answer.status_code == 413 and '"purpose": "predict"' in answer.json()["remedy"]
    assert plane.events == []


def test_the_description_names_every_way_in(plane: Plane) -> None:
    for verb, options in (("predict", {"interval", "set"}), ("explain", {"target"})):
        about = plane.app.openapi()["paths"][f"/models/{{model}}/{verb}"]["post"]
        kinds = {"application/json", "image/*", "multipart/form-data", "text/plain"}
        assert set(about["requestBody"]["content"]) == kinds
        assert {item["name"] for item in about["parameters"]} == {"model", "x-tidemill-key", *options}
    page = plane.client("predict").get("/docs").text
    assert "--data-binary @photo.jpg" in page and "--data-binary @text.txt" in page


def test_a_lambda_event_goes_through_as_it_came(plane: Plane) -> None:
    event: dict[str, Any] = {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": "/models/income/predict",
        "rawQueryString": "",
        "headers": {"content-type": "application/json", "x-api-key": plane.keys["predict"]},
        "requestContext": {"http": {"method": "POST", "path": "/models/income/predict", "sourceIp": "1.1.1.1"}},
        "body": '{"row": {"age": 1}}',
        "isBase64Encoded": False,
    }
    asyncio.set_event_loop(loop := asyncio.new_event_loop())
    answer = Mangum(plane.app, lifespan="off")(event, CONTEXT)
    loop.close()
    assert json.loads(answer["body"]) == plane.answer
    assert answer["headers"]["x-request-id"] == "request-1"
    assert plane.events[0]["body"] == event["body"]


def test_the_docs_page_is_whole_and_asks_nobody_else(plane: Plane) -> None:
    answer = plane.client("predict").get("/docs")
    assert "http://" not in answer.text.replace("http://plane", "")
    assert "https://" not in answer.text
    assert " src=" not in answer.text
    for path in plane.app.openapi()["paths"]:
        assert f"<code>{path}</code>" in answer.text
    policy = answer.headers["content-security-policy"]
    assert "unsafe" not in policy
    assert "form-action 'none'" in policy


def test_values_of_the_table_become_values_of_json() -> None:
    stored = {"i": Decimal("3"), "f": Decimal("0.25"), "n": float("inf"), "d": Decimal("NaN"), "s": {"b", "a"}}
    assert plain(stored) == {"i": 3, "f": 0.25, "n": None, "d": None, "s": ["a", "b"]}
