"""Trained models of pictures and of texts through both doors: every way in, every refusal, explanations, the gate."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from PIL import Image
from tests.doubles.plane import InProcess, Plane
from tests.serving.fake_aws import KEY, running
from tests.serving.modality_factory import picture, pictures
from tests.serving.test_door import World

from tidemill.core import manifest
from tidemill.core.keys import hash_of
from tidemill.core.limits import limit
from tidemill.core.settings import Settings
from tidemill.serving.app import build
from tidemill.serving.gate import judge

PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def world(trained_pictures: Path, trained_texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with running() as aws:
        aws.put_bundle(trained_pictures, "sides", "r-1", 1)
        aws.put_bundle(trained_texts, "moods", "r-1", 1)
        made = World(aws, tmp_path_factory.mktemp("cache"))
        yield made
        made.client.close()


@pytest.fixture(params=["door", "app"])
def client(request: pytest.FixtureRequest, world: World) -> httpx.Client:
    """A client of the Predict function's event, and one of the control plane, which passes on to the same door."""
    if request.param == "door":
        return httpx.Client(base_url="http://plane", headers={"x-api-key": KEY}, transport=DoorTransport(world))
    plane = Plane()
    plane.registry.put_key(hash_of(KEY), {"role": "predict", "id": "test", "revoked": False})
    settings = Settings(data_bucket="data", artifacts_bucket="artifacts", table="table")
    parts = {"scored": plane.scorings, "s3": plane.s3, "logs": plane.logs}
    app = build(plane.registry, **parts, settings=settings, door=world.door.handle)
    return httpx.Client(base_url="http://plane", headers={"x-api-key": KEY}, transport=DoorTransport(world))
    plane = Plane()
    plane.registry.put_key(hash_of(KEY), {"role": "predict", "id": "test", "revoked": False})
    settings = Settings(data_bucket="data", artifacts_bucket="artifacts", table="table")
    app = build(
        plane.registry, scored=plane.scorings, s3=plane.s3, logs=plane.logs, settings=settings, door=world.door.handle
    )
    return httpx.Client(base_url="http://plane", headers={"x-api-key": KEY}, transport=InProcess(app))


class DoorTransport(httpx.BaseTransport):
    """Hands a request to a door as API Gateway does: text as it is, everything else in base64."""

    def __init__(self, world: World) -> None:
        self.door = world.door

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body, kind = request.read(), request.headers.get("content-type", "")
        as_text = kind.startswith("text/") or kind.partition(";")[0] == "application/json"
        event = {
            "rawPath": request.url.path,
            "rawQueryString": request.url.query.decode(),
            "headers": dict(request.headers),
            "requestContext": {"http": {"method": request.method}, "requestId": "req-1"},
            "body": body.decode() if as_text else base64.b64encode(body).decode(),
            "isBase64Encoded": not as_text,
        }
        answer = self.door.handle(event)
        return httpx.Response(answer["statusCode"], headers=answer["headers"], content=answer["body"].encode())


def asked(client: httpx.Client, path: str, status: int = 200, **sent: Any) -> Any:
    answer = client.post(path, **sent)
    assert answer.status_code == status, answer.text
    return answer.json()


def test_every_way_in_gives_the_same_answer_for_a_picture(client: httpx.Client, world: World) -> None:
    data = picture("right", 7)
    world.aws.files["inbox/sides/01/photo.png"] = data
    path = "/models/sides/predict"
    answers = [
        asked(client, path, json={"rows": [{"picture": base64.b64encode(data).decode()}]}),
        asked(client, path, json={"row": {"picture": base64.b64encode(data).decode(), "file": "photo.png"}}),
        asked(client, path, json={"rows": [{"key": "inbox/sides/01/photo.png"}]}),
        asked(client, path, content=data, headers=PNG),
        asked(client, path, files=[("picture", ("photo.png", data))]),
    ]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["predictions"][0]["label"] == "right" and answers[0]["version"] == 1
    many = asked(client, path, files=[("picture", (f"{n}.png", data)) for n in range(3)], data={"set": "0.5"})
    assert len(many["predictions"]) == 3 and "set" in many["predictions"][0]
    assert asked(client, path + "?set=0.5", content=data, headers=PNG)["predictions"] == many["predictions"][:1]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "BMP", "GIF", "TIFF"])
def test_other_formats_are_read_by_their_content(client: httpx.Client, kind: str) -> None:
    data = picture("left", 3, (40, 40), kind)
    found = asked(client, "/models/sides/predict", content=data, headers=PNG)  # a wrong name does no harm
    assert found["predictions"][0]["label"] == "left"


def test_every_way_in_gives_the_same_answer_for_a_text(client: httpx.Client, world: World) -> None:
    text = "the film 很好看, wonderful 😀"
    world.aws.files["inbox/moods/01/text.txt"] = text.encode()
    path, typed = "/models/moods/predict", {"content-type": "text/plain; charset=utf-8"}
    answers = [
        asked(client, path, json={"rows": [{"review": text}]}),
        asked(client, path, json={"row": {"key": "inbox/moods/01/text.txt", "mood": "?"}}),
        asked(client, path, content=text.encode(), headers=typed),
        asked(client, path, files=[("text", ("text.txt", text.encode()))]),
    ]
    assert all(answer == answers[0] for answer in answers)
    assert answers[0]["predictions"][0]["label"] == "good"


def test_a_picture_is_explained_by_a_heat_map(client: httpx.Client) -> None:
    found = asked(client, "/models/sides/explain?target=left", content=picture("left"), headers=PNG)
    (told,) = found["explanations"]
    assert told["target"] == "left" and set(told) == {"target", "baseline", "prediction", "heatmap", "size"}
    with Image.open(io.BytesIO(base64.b64decode(told["heatmap"]))) as image:
        assert [image.height, image.width] == told["size"]
    form = asked(client, "/models/sides/explain", files=[("picture", ("a", picture("left")))], data={"target": "right"})
    assert form["explanations"][0]["target"] == "right"
    asked(client, "/models/sides/explain?target=up", 422, content=picture("left"), headers=PNG)


def test_a_text_is_explained_word_by_word(client: httpx.Client) -> None:
    text = "the film was awful, 不好看, but our room was fine"
    found = asked(client, "/models/moods/explain", json={"rows": [{"review": text}], "target": "good"})
    (told,) = found["explanations"]
    parts = told["contributions"]
    assert parts and [part["text"] for part in parts] == [text[part["start"] : part["end"]] for part in parts]
    total = sum(part["contribution"] for part in parts) + told["rest"]
    assert total == pytest.approx(told["prediction"] - told["baseline"], abs=1e-3)
    added = {part["text"]: part["contribution"] for part in parts}
    assert added["awful"] < 0 < added["fine"]


GOOD = base64.b64encode(picture("left")).decode()


@pytest.mark.parametrize(
    ("rows", "status", "code"),
    [
        ([{"picture": GOOD}, {"picture": "aGVsbG8="}], 422, "IMAGE_FORMAT"),
        ([{"picture": GOOD}, {"picture": ""}], 422, "IMAGE_EMPTY"),
        ([{"picture": GOOD}, {"picture": GOOD[:120]}], 422, "IMAGE_TRUNCATED"),
        ([{"picture": GOOD}, {"picture": "no base64!"}], 422, "SCHEMA_MISMATCH"),
        ([{"picture": GOOD}, {"picture": 7}], 422, "SCHEMA_MISMATCH"),
        ([{"picture": GOOD}, {"photo": GOOD}], 422, "FEATURE_UNKNOWN"),
        ([{"picture": GOOD}, {"key": "inbox/moods/01/text.txt"}], 403, "FOREIGN_KEY"),
        ([{"picture": GOOD}, {"key": "uploads/sides/01/sides.zip"}], 403, "FOREIGN_KEY"),
        ([{"picture": GOOD}, {"key": "inbox/sides/01/gone.png"}], 404, "NO_SUCH_FILE"),
        ([{"picture": GOOD}, {"key": None}], 422, "BAD_KEY"),
    ],
)
def test_a_row_that_cannot_be_read_is_named(client: httpx.Client, rows: Any, status: int, code: str) -> None:
    problem = asked(client, "/models/sides/predict", status, json={"rows": rows})
    assert (problem["code"], problem["row"]) == (code, 1) and problem["remedy"]


@pytest.mark.parametrize(
    ("path", "kind", "code"),
    [
        ("/models/moods/predict", "image/png", "WRONG_MODALITY"),
        ("/models/sides/predict", "text/plain", "WRONG_MODALITY"),
        ("/models/sides/predict", "image/svg+xml", "IMAGE_FORMAT"),
    ],
)
def test_a_body_of_another_kind_is_a_problem(client: httpx.Client, path: str, kind: str, code: str) -> None:
    problem = asked(client, path, 422, content=b"<svg/>", headers={"content-type": kind})
    assert problem["code"] == code and problem["remedy"]


@pytest.mark.parametrize(("verb", "name"), [("predict", "request_pictures"), ("explain", "request_pictures_explained")])
def test_too_many_pictures_are_413_with_the_limit(client: httpx.Client, verb: str, name: str) -> None:
    most = limit(name)
    problem = asked(client, f"/models/sides/{verb}", 413, json={"rows": [{"picture": GOOD}] * (most + 1)})
    assert problem["limit_rows"] == most and "several requests" in problem["remedy"]
    assert len(asked(client, f"/models/sides/{verb}", json={"rows": [{"picture": GOOD}] * most})["predictions"]) == most


def test_a_picture_too_large_for_a_request_goes_by_the_bucket(client: httpx.Client, world: World) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 90, (1_500, 1_500, 3), dtype=np.uint8)
    pixels[:, 750:] += 150
    sink = io.BytesIO()
    Image.fromarray(pixels).save(sink, "PNG")
    data = sink.getvalue()
    assert limit("request") < len(data) < limit("picture_bytes")
    problem = asked(client, "/models/sides/predict", 413, content=data, headers=PNG)
    assert '"purpose": "predict"' in problem["remedy"]
    world.aws.files["inbox/sides/02/large.png"] = data
    found = asked(client, "/models/sides/predict", json={"rows": [{"key": "inbox/sides/02/large.png"}]})
    assert found["predictions"][0]["label"] == "right"


def test_more_pixels_than_can_be_decoded_in_time_are_413(client: httpx.Client) -> None:
    """A picture of one colour has few bytes and many pixels."""
    sink = io.BytesIO()
    Image.new("L", (6_000, 6_000)).save(sink, "PNG")
    rows = [{"picture": base64.b64encode(sink.getvalue()).decode()}] * 6
    problem = asked(client, "/models/sides/predict", 413, json={"rows": rows})
    assert problem["limit_pixels"] == limit("request_pixels") and "512" in problem["remedy"]


def test_nothing_of_a_broken_picture_is_an_inner_fault(client: httpx.Client) -> None:
    """Every byte of a small picture changed, and every end cut off: an answer, or a problem of the reader."""
    data = bytearray(picture("left", 1, (12, 12), "JPEG"))
    random = np.random.default_rng(1)
    for at in random.integers(0, len(data), 60).tolist():
        broken = bytes(data[:at]) + bytes([data[at] ^ 0xFF]) + bytes(data[at + 1 :])
        for sent in (broken, broken[:at]):
            answer = client.post("/models/sides/predict", content=sent, headers={"content-type": "image/jpeg"})
            assert answer.status_code == 200 or answer.json()["code"].startswith("IMAGE_"), answer.text


def test_the_gate_judges_trained_bundles(trained_pictures: Path, trained_texts: Path) -> None:
    for folder in (trained_pictures, trained_texts):
        manifest.check(folder)
        assert judge(folder, None).code == "FIRST"
        assert judge(folder, folder).code == "NOT_WORSE"


def test_a_bundle_s_own_test_rows_are_answered_well(world: World) -> None:
    columns, truth = pictures(20, seed=400)
    rows = [{"picture": base64.b64encode(data).decode()} for data in columns["picture"]]
    status, found = world.ask({"rows": rows}, model="sides")
    right = [answer["label"] == label for answer, label in zip(found["predictions"], truth, strict=True)]
    assert status == 200 and np.mean(right) >= 0.9
    assert json.dumps(found)
