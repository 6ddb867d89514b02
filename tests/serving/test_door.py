"""The hot path end to end, against two AWS calls on a loopback port: who may ask, what comes back, what is logged."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.serving import bundle_factory as factory
from tests.serving.fake_aws import BUCKET, DATA, KEY, TABLE, FakeAws, running

from tidemill.core.spec import Decision
from tidemill.serving import door as module
from tidemill.serving.bundles import Bundles
from tidemill.serving.door import Door
from tidemill.serving.inbox import Inbox
from tidemill.serving.pointers import ALIAS_S, GRACE_S, KEY_S, Pointers
from tidemill.serving.signer import Client

ROWS = factory.rows_of(factory.columns(3, seed=9))
HEADERS = {"x-api-key": KEY, "content-type": "application/json"}


class World:
    """A door, what it stands before, a clock one can turn, and the log."""

    def __init__(self, aws: FakeAws, cache: Path) -> None:
        self.aws, self.now, self.log = aws, 0.0, list[dict[str, Any]]()
        self.client = Client("us-east-1", aws.url, sleep=lambda _: None)
        pointers = Pointers(self.client, TABLE, clock=lambda: self.now)
        self.door = Door(pointers, Bundles(self.client, BUCKET, cache), Inbox(self.client, DATA), self.log.append)

    def ask(self, body: Any = None, verb: str = "predict", model: str = "income", **event: Any) -> tuple[int, Any]:
        """Send a request; the status and the JSON that came back."""
        answer = self.door.handle(request(body, verb, model, **event))
        return answer["statusCode"], json.loads(answer["body"])


def request(body: Any = None, verb: str = "predict", model: str = "income", **event: Any) -> dict[str, Any]:
    """An event of API Gateway (payload format 2.0)."""
    text = body if isinstance(body, str) else json.dumps({"rows": ROWS} if body is None else body)
    context = {"http": {"method": "POST"}, "requestId": "req-1"}
    made = {"rawPath": f"/models/{model}/{verb}", "headers": HEADERS, "requestContext": context, "body": text}
    return {**made, "isBase64Encoded": False, **event}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return factory.make(tmp_path_factory.mktemp("made") / "bundle")


@pytest.fixture
def world(made: Path, tmp_path: Path) -> Iterator[World]:
    with running() as aws:
        aws.put_bundle(made, "income", "r-1", 3)
        world = World(aws, tmp_path / "cache")
        yield world
        world.client.close()


def test_rows_are_answered_by_the_champion(world: World) -> None:
    status, body = world.ask()
    assert status == 200 and (body["model"], body["version"]) == ("income", 3)
    for answer, row in zip(body["predictions"], ROWS, strict=True):
        assert {"label", "probabilities"} == set(answer) - {"noticed"}
        missing = {name for name in ("hours", "work") if row[name] is None}
        assert {name for name, what in answer.get("noticed", {}).items() if what == "missing"} == missing
    assert world.ask({"row": ROWS[0]})[1]["predictions"] == body["predictions"][:1]
    encoded = base64.b64encode(json.dumps({"rows": ROWS}).encode()).decode()
    assert world.ask(encoded, isBase64Encoded=True)[1] == body


def test_explanations_stand_beside_the_predictions(world: World) -> None:
    status, body = world.ask({"rows": ROWS, "target": ">50K"}, "explain")
    assert status == 200 and body["predictions"] == world.ask()[1]["predictions"]
    for told in body["explanations"]:
        assert told["target"] == ">50K" and len(told["contributions"]) == 4
    assert world.ask({"rows": ROWS, "target": "rich"}, "explain")[0] == 422


def test_doubt_and_decisions_go_through_the_door(world: World, tmp_path: Path) -> None:
    values = factory.make(
        tmp_path / "v", "regression", outputs=factory.learned("regression", spreads=True), spreads=True
    )
    labels = factory.make(tmp_path / "l", outputs=factory.learned("binary", costs=Decision(1.0, 4.0)))
    world.aws.put_bundle(values, "price", "r-1", 1)
    world.aws.put_bundle(labels, "wage", "r-1", 1)
    status, body = world.ask({"rows": ROWS, "interval": 0.9}, model="price")
    assert status == 200 and all(item["low"] < item["value"] < item["high"] for item in body["predictions"])
    status, body = world.ask({"rows": ROWS, "set": 0.9}, model="wage")
    assert status == 200 and all(item["label"] in item["set"] for item in body["predictions"])
    assert {item["decision"]["threshold"] for item in body["predictions"]} == {0.2}
    status, body = world.ask({"rows": ROWS, "interval": 0.7}, model="price")
    assert (status, body["code"], body["levels"]) == (422, "UNKNOWN_LEVEL", [0.5, 0.8, 0.9, 0.95, 0.99])
    assert world.ask({"rows": ROWS, "set": 0.9}, model="price")[1]["code"] == "WRONG_KIND"
    assert world.ask({"rows": ROWS, "set": 0.9})[0] == 404


def test_warm_requests_touch_nothing_but_memory(world: World) -> None:
    world.ask()
    world.aws.calls.clear()
    assert [world.ask()[0] for _ in range(20)] == [200] * 20
    assert world.aws.calls == []


def test_an_answer_can_be_sent_by_api_gateway(world: World) -> None:
    answer = world.door.handle(request())
    assert answer["headers"]["content-type"] == "application/json" and answer["headers"]["x-request-id"] == "req-1"
    assert json.dumps(answer) and isinstance(answer["body"], str)


@pytest.mark.parametrize("headers", [{"Authorization": f"Bearer {KEY}"}, {"authorization": f"bearer  {KEY} "}])
def test_a_key_can_come_as_a_bearer_token(world: World, headers: dict[str, str]) -> None:
    assert world.ask(headers={**headers, "Content-Type": "application/json; charset=utf-8"})[0] == 200


@pytest.mark.parametrize(
    "headers", [None, {}, {"x-api-key": "tm_" + "z" * 43}, {"x-api-key": "short"}, {"authorization": f"Basic {KEY}"}]
)
def test_without_a_known_key_nothing_is_told(world: World, headers: Any) -> None:
    for event in ({}, {"rawPath": "/models/nothing/predict"}, {"rawPath": "/elsewhere"}):
        answer = world.door.handle(request("no json", headers=headers, **event))
        assert answer["statusCode"] == 401 and answer["headers"]["www-authenticate"] == "Bearer"
        assert json.loads(answer["body"])["code"] == "UNAUTHORIZED"


def test_both_roles_may_predict_and_no_other(world: World) -> None:
    for role, status in (("predict", 200), ("operate", 200), ("look", 403)):
        secret = "tm_" + role.ljust(43, "x")
        world.aws.put_key(secret, role)
        assert world.ask(headers={**HEADERS, "x-api-key": secret})[0] == status


def test_a_revoked_key_stops_working_within_seconds(world: World) -> None:
    assert world.ask()[0] == 200
    world.aws.put_key(KEY, "predict", revoked=True)
    world.now = KEY_S + 1
    assert world.ask()[0] == 401


def test_a_new_champion_answers_within_seconds(world: World, tmp_path: Path) -> None:
    first = world.ask()[1]
    world.aws.put_bundle(factory.make(tmp_path / "new", seed=1), "income", "r-2", 4)
    world.now = ALIAS_S + 0.1
    status, second = world.ask()
    assert status == 200 and second["version"] == 4 and second["predictions"] != first["predictions"]


def test_no_request_fails_while_the_champion_changes_fifty_times(world: World, made: Path, tmp_path: Path) -> None:
    folders = [made, factory.make(tmp_path / "new", seed=1)]
    seen = []
    for move in range(50):
        world.aws.put_bundle(folders[move % 2], "income", f"r-{10 + move}", 10 + move)
        world.now += ALIAS_S + 0.1
        status, body = world.ask(verb="explain" if move % 3 else "predict")
        seen.append((status, body["version"]))
    assert seen == [(200, 10 + move) for move in range(50)]


def test_threads_may_share_a_door_while_the_champion_changes(world: World, made: Path, tmp_path: Path) -> None:
    folders = [made, factory.make(tmp_path / "new", seed=1)]
    seen: list[int] = []
    ended = threading.Event()

    def asks(verb: str) -> None:
        while not ended.is_set():
            seen.append(world.ask(verb=verb)[0])

    threads = [threading.Thread(target=asks, args=(verb,)) for verb in ("predict", "explain") * 2]
    for thread in threads:
        thread.start()
    for move in range(20):
        world.aws.put_bundle(folders[move % 2], "income", f"r-{10 + move}", 10 + move)
        world.now += ALIAS_S + 0.1
        time.sleep(0.02)
    ended.set()
    for thread in threads:
        thread.join()
    assert set(seen) == {200} and len(seen) > 10


def test_a_model_nobody_knows_and_one_without_champion_are_told_apart(world: World) -> None:
    assert world.ask(model="nothing")[1]["code"] == "UNKNOWN_MODEL"
    world.aws.items["MODEL#young", "META"] = {"model": "young"}
    status, body = world.ask(model="young")
    assert (status, body["code"]) == (409, "NO_CHAMPION")
    status, body = world.ask(model="Not-A-Name")
    assert (status, body["code"]) == (404, "BAD_MODEL_NAME")


def test_headers_that_no_gateway_takes_are_refused(world: World) -> None:
    status, body = world.ask(headers={**HEADERS, "x-a": "a" * 12_288})
    assert (status, body["code"], body["limit_bytes"]) == (431, "HEADERS_TOO_LARGE", 10_240)


def test_a_first_champion_answers_at_once(world: World, made: Path) -> None:
    world.aws.items["MODEL#young", "META"] = {"model": "young"}
    assert world.ask(model="young")[0] == 409
    world.aws.put_bundle(made, "young", "r-1", 1)
    assert world.ask(model="young")[0] == 200


def test_an_alias_that_points_elsewhere_is_not_followed(world: World) -> None:
    world.aws.items["MODEL#income", "ALIAS#champion"]["bundle"] = "bundles/other/r-1/"
    assert world.ask()[1]["code"] == "BAD_BUNDLE"


@pytest.mark.parametrize(
    ("event", "status", "code"),
    [
        ({"headers": {**HEADERS, "content-type": "image/png"}}, 422, "WRONG_MODALITY"),
        ({"headers": {**HEADERS, "content-type": "text/plain"}}, 422, "WRONG_MODALITY"),
        ({"headers": {**HEADERS, "content-type": "multipart/form-data"}}, 400, "FORM_INVALID"),
        ({"rawPath": "/models/income/train"}, 404, "UNKNOWN_ROUTE"),
        ({"rawPath": "/models/income/predict/extra"}, 404, "UNKNOWN_ROUTE"),
        ({"requestContext": {"http": {"method": "GET"}}}, 405, "METHOD_NOT_ALLOWED"),
        ({"requestContext": {"http": {"method": "HEAD"}}}, 405, "METHOD_NOT_ALLOWED"),
        ({"headers": {"x-api-key": KEY}}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"headers": {**HEADERS, "content-type": "text/csv"}}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"body": ""}, 400, "JSON_INVALID"),
        ({"body": "{}"}, 422, "NO_ROWS"),
        ({"body": "not base64!", "isBase64Encoded": True}, 400, "JSON_INVALID"),
        ({"body": "\ud800"}, 400, "JSON_INVALID"),
        ({"body": '{"row": {}}'}, 422, "FEATURE_MISSING"),
        ({"body": json.dumps({"row": {**ROWS[0], "age": "old"}})}, 422, "FEATURE_TYPE"),
        ({"body": json.dumps({"row": {**ROWS[0], "Age": 1}})}, 422, "FEATURE_UNKNOWN"),
        ({"body": '{"row": {"age": 1e999}}'}, 422, "FEATURE_MISSING"),
        ({"body": json.dumps({"row": ROWS[0]})[:-2] + ', "age": 1}}'}, 400, "JSON_DUPLICATE_KEY"),
        ({"body": json.dumps({"row": ROWS[0]}).replace(str(ROWS[0]["age"]), "1e999")}, 422, "VALUE_NOT_FINITE"),
        ({"body": json.dumps({"rows": [{}] * 10_001})}, 413, "TOO_LARGE"),
        ({"body": " " * (5 << 20) + "{}"}, 413, "TOO_LARGE"),
    ],
)
def test_a_wrong_request_gets_a_problem_document(world: World, event: Any, status: int, code: str) -> None:
    answer = world.door.handle(request(**event))
    body = json.loads(answer["body"])
    assert (answer["statusCode"], body["status"], body["code"]) == (status, status, code)
    assert answer["headers"]["content-type"] == "application/problem+json"
    assert body["remedy"] and body["title"] and body["detail"] and body["type"].startswith("https://")
    assert ("allow" in answer["headers"]) == (status == 405)


def test_ignored_columns_may_stay_in_a_row(world: World) -> None:
    assert world.ask({"row": {**ROWS[0], "income": ">50K", "id": 7}})[0] == 200


def test_a_table_that_does_not_answer_is_bridged_for_a_minute(world: World) -> None:
    world.ask()
    world.aws.faults = [503] * 1000
    world.now = KEY_S + GRACE_S - 1
    world.door.pointers.aliases.held["income"] = (
        world.now - ALIAS_S - 1,
        world.aws.items["MODEL#income", "ALIAS#champion"],
    )
    assert world.ask()[0] == 200
    world.now = KEY_S + GRACE_S + 1
    answer = world.door.handle(request())
    assert answer["statusCode"] == 503 and answer["headers"]["retry-after"] == "2"
    world.aws.faults = []
    assert world.ask()[0] == 200


def test_a_table_that_is_lost_and_comes_back_empty_first_is_bridged_for_a_minute(world: World) -> None:
    world.ask()
    kept = dict(world.aws.items)
    world.aws.items.clear()
    for later in (KEY_S + 1, ALIAS_S + GRACE_S - 1):
        world.now = later
        assert world.ask()[0] == 200, "nobody deletes keys or aliases"
    world.now = KEY_S + GRACE_S + 1
    assert world.ask()[0] in (401, 404)
    world.aws.items.update(kept)
    assert world.ask()[0] == 200


def test_a_damaged_bundle_is_a_problem_with_a_name(world: World) -> None:
    world.aws.objects["bundles/income/r-1/model.onnx"] = b"damaged"
    status, body = world.ask()
    assert (status, body["code"]) == (500, "BAD_BUNDLE") and "model.onnx" in body["detail"]


def test_an_answer_too_long_to_send_is_refused_with_the_limit(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_BYTES", 100)
    status, body = world.ask()
    assert (status, body["code"], body["limit_bytes"]) == (413, "ANSWER_TOO_LARGE", 100)


def test_nothing_unexpected_gets_out(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: Any, **__: Any) -> None:
        raise RuntimeError("secret value 4111 1111")

    monkeypatch.setattr(world.door.bundles, "predictor", fails)
    status, body = world.ask()
    assert (status, body["code"]) == (500, "INTERNAL") and "req-1" in body["remedy"]
    line = world.log[-1]
    assert line["error"] == "RuntimeError" and any("fails" in frame for frame in line["frames"])
    assert "4111" not in json.dumps([body, line])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.dictionaries(
        st.sampled_from(["rawPath", "headers", "requestContext", "body", "isBase64Encoded", "version"]), json_values
    )
)
def test_whatever_comes_an_answer_goes_out(world: World, event: dict[str, Any]) -> None:
    for sent in (event, {**request(), **event}):
        answer = world.door.handle(sent)
        assert 200 <= answer["statusCode"] < 600 and json.loads(answer["body"])


def test_one_line_is_logged_without_values_or_keys(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    door = Door(world.door.pointers, world.door.bundles, world.door.inbox)
    door.handle(request())
    door.handle(request({"row": {**ROWS[0], "age": "canary-value"}}))
    lines = capsys.readouterr().err.splitlines()
    good, bad = (json.loads(line) for line in lines)
    assert (good["status"], good["rows"], good["model"], good["version"], good["route"]) == (
        200,
        3,
        "income",
        3,
        "predict",
    )
    assert good["ms"] > 0 and good["request"] == "req-1" and good["level"] == "INFO"
    assert (bad["status"], bad["code"]) == (422, "FEATURE_TYPE")
    assert KEY not in "".join(lines) and "canary-value" not in "".join(lines)


PROBE = """
import json, sys
import predict
answer = predict.handler(json.loads(sys.stdin.read()), None)
heavy = {"jax", "boto3", "botocore", "fastapi", "starlette", "pydantic", "mangum", "aws_lambda_powertools", "asyncio",
         "onnx", "pyarrow", "PIL", "tidemill.core.features.texts", "tomllib", "email.generator", "multiprocessing"}
print(json.dumps({"status": answer["statusCode"], "heavy": sorted(heavy & sys.modules.keys())}))
"""


def run_function(event: dict[str, Any], root: Path, environment: dict[str, str]) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE],
        input=json.dumps(event),
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(root / "functions"), **environment},
        check=True,
        timeout=60,
    )
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_the_function_answers_without_loading_a_framework(world: World, root: Path, tmp_path: Path) -> None:
    environment = {
        "AWS_ENDPOINT_URL": world.aws.url,
        "TIDEMILL_TABLE": TABLE,
        "TIDEMILL_ARTIFACTS_BUCKET": BUCKET,
        "TIDEMILL_CACHE_DIR": str(tmp_path / "function"),
    }
    for verb in ("predict", "explain"):
        told = run_function(request(verb=verb), root, environment)
        assert told["status"] == 200 and told["heavy"] == []


def test_a_function_without_its_settings_says_so(root: Path) -> None:
    environment = {"TIDEMILL_TABLE": "", "TIDEMILL_ARTIFACTS_BUCKET": ""}
    assert run_function(request(), root, environment)["status"] == 500
