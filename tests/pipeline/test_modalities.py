"""Pictures and texts go through the same door as tables: upload, dataset, version, prediction, explanation, card."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.core.pictures import zipped
from tests.pipeline.conftest import Service

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]
FEW = '[train]\nfamily = "cnn"\nepochs = 8\n[search]\nconfigurations = 1\n'
SOLVED = '[train]\nfamily = "linear"\n[search]\nfolds = 1\n'


def bar(upright: bool, at: int) -> bytes:
    """A picture with one bright bar on a grey ground, upright or lying."""
    rng = np.random.default_rng((at, upright))
    pixels = rng.integers(60, 90, (16, 16), np.uint8)
    place = int(rng.integers(2, 13))
    pixels[(slice(None), slice(place, place + 2)) if upright else (slice(place, place + 2), slice(None))] = 230
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def stored(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def bars(service: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The run of an uploaded zip with a folder of pictures for each class."""
    members = [(f"{('lying', 'upright')[at % 2]}/{at}.png", bar(bool(at % 2), at)) for at in range(160)]
    path = stored(tmp_path_factory.mktemp("bars") / "bars.zip", zipped([*members, ("lying/odd.png", b"no picture")]))
    return service.ended("bars", service.upload("bars", path, FEW))


@pytest.fixture(scope="module")
def moods(service: Service, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The run of an uploaded table of Chinese texts."""
    good, bad = ("服务很好", "房间干净", "非常满意", "位置方便"), ("太吵了", "房间很脏", "不会再来", "服务太差")
    rng = np.random.default_rng(0)
    rows = [(kind, "，".join(rng.choice((good, bad)[kind], 2)) + f"，{at}号房") for at in range(200) for kind in (0, 1)]
    text = "\n".join(["评论,标签", *(f"“{words}”,{('好', '差')[kind]}" for kind, words in rows)])
    path = stored(tmp_path_factory.mktemp("moods") / "moods.csv", text.encode("gb18030"))
    return service.ended("moods", service.upload("moods", path, SOLVED))


def ask(service: Service, model: str, verb: str, **call: Any) -> Any:
    headers = {**service.predict, **call.pop("headers", {})}
    answer = service.http.post(f"/models/{model}/{verb}", headers=headers, **call)
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_pictures_become_a_model_in_service(service: Service, bars: dict[str, Any]) -> None:
    assert (bars["state"], bars["decision"]["promoted"]) == ("READY", True), bars
    assert bars["rows"]["quarantined"] == 1
    rows = [{"picture": base64.b64encode(bar(upright, 999)).decode()} for upright in (False, True)]
    labels = [item["label"] for item in ask(service, "bars", "predict", json={"rows": rows})["predictions"]]
    assert labels == ["lying", "upright"]


def test_a_picture_is_sent_as_it_is_and_explained_by_a_picture(service: Service, bars: dict[str, Any]) -> None:
    image = {"headers": {"content-type": "image/png"}, "content": bar(True, 998)}
    told = ask(service, "bars", "explain", **image)
    explained = told["explanations"][0]
    assert told["predictions"][0]["label"] == explained["target"] == "upright"
    with Image.open(io.BytesIO(base64.b64decode(explained["heatmap"]))) as heat:
        assert min(heat.size) >= 224
    assert explained["prediction"] == pytest.approx(told["predictions"][0]["probabilities"]["upright"], abs=1e-4)


def test_what_is_no_picture_is_refused_with_its_reason(service: Service, bars: dict[str, Any]) -> None:
    headers = {**service.predict, "content-type": "image/png"}
    answer = service.http.post("/models/bars/predict", headers=headers, content=b"no picture at all")
    assert 400 <= answer.status_code < 500
    assert answer.json()["code"] != "INTERNAL"
    assert answer.json()["remedy"]


def test_chinese_texts_become_a_model_in_service(service: Service, moods: dict[str, Any]) -> None:
    assert (moods["state"], moods["decision"]["promoted"]) == ("READY", True), moods
    rows = [{"评论": "服务太差，不会再来"}, {"评论": "非常满意，房间干净"}]
    assert [item["label"] for item in ask(service, "moods", "predict", json={"rows": rows})["predictions"]] == [
        "差",
        "好",
    ]


def test_parts_of_a_text_add_up_to_its_answer(service: Service, moods: dict[str, Any]) -> None:
    text = "房间很脏，但是位置方便"
    explained = ask(service, "moods", "explain", json={"rows": [{"评论": text}]})["explanations"][0]
    parts = explained["contributions"]
    assert all(text[part["start"] : part["end"]] == part["text"] for part in parts)
    total = sum(part["contribution"] for part in parts) + explained["rest"]
    assert total == pytest.approx(explained["prediction"] - explained["baseline"], abs=1e-3)


@pytest.mark.parametrize(("model", "mark"), [("bars", "data:image/png;base64,"), ("moods", "<mark")])
def test_cards_show_what_was_seen(service: Service, request: pytest.FixtureRequest, model: str, mark: str) -> None:
    request.getfixturevalue(model)
    page = service.http.get(f"/models/{model}/card", headers=service.predict)
    assert page.status_code == 200
    assert mark in page.text
