"""Cards of real models of pictures and texts: examples add up, requests can be sent, what is drawn is what was said."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.core.pictures import encoded, zipped
from tests.training.test_card import Page

from tidemill.core import features, holdout
from tidemill.core.prepare import prepare
from tidemill.core.spec import Search, Spec, Train
from tidemill.training.examples import texts
from tidemill.training.fit import fit_bundle

PICTURES = Spec(train=Train(family="cnn", epochs=4), search=Search(configurations=1))  # type: ignore[arg-type]
TEXTS = Spec(train=Train(family="linear"), search=Search(folds=1))
GOOD, BAD = ("服务很好", "房间干净", "very clean", "a fine place"), ("太吵了", "房间很脏", "awful smell", "never again")


def bar(upright: bool, at: int) -> bytes:
    """A picture with one bright bar on a noisy ground; every tenth is hardly to be seen."""
    rng = np.random.default_rng((at, upright))
    pixels = rng.integers(60, 90, (12, 16), np.uint8)
    place = int(rng.integers(2, 9))
    where = (slice(None), slice(place, place + 2)) if upright else (slice(place, place + 2), slice(None))
    pixels[where] = 80 if at % 10 == 0 else 230
    return encoded(pixels)


def fitted(folder: Path, source: bytes, name: str, spec: Spec) -> Path:
    """The bundle of an upload."""
    prepare(io.BytesIO(source), name, spec, folder / "dataset", model="shown")
    fit_bundle(folder / "dataset", spec, folder / "bundle")
    return folder / "bundle"


@pytest.fixture(scope="module")
def of_pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a zip with two classes of pictures."""
    members = {f"{('lying', 'upright')[at % 2]}/{at}.png": bar(bool(at % 2), at // 2) for at in range(200)}
    return fitted(tmp_path_factory.mktemp("pictures"), zipped(members), "bars.zip", PICTURES)


@pytest.fixture(scope="module")
def of_texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The bundle of a table of texts in two writings, some with a wrong label, one long."""
    rng = np.random.default_rng(0)
    lines = ["评论,标签"]
    for at in range(300):
        kind = at % 2
        words = [*rng.choice((GOOD, BAD)[kind], 2), f"room {at}"]
        padding = "nothing to say of it " * (200 if at % 50 == 7 else 0)
        lines.append(f"“{padding}{' '.join(words)}”,{('好', '差')[kind if at % 15 else 1 - kind]}")
    return fitted(tmp_path_factory.mktemp("texts"), "\n".join(lines).encode(), "moods.csv", TEXTS)


def card_of(bundle: Path) -> dict[str, Any]:
    """The facts of a bundle's card."""
    found: dict[str, Any] = json.loads((bundle / "card.json").read_text("utf-8"))
    return found


def examples(card: dict[str, Any]) -> list[dict[str, Any]]:
    """All of them."""
    return [*card["explanations"], *card["mistakes"]]


@pytest.mark.parametrize("kind", ["of_pictures", "of_texts"])
def test_examples_are_right_answers_and_mistakes_wrong_ones(request: pytest.FixtureRequest, kind: str) -> None:
    bundle = request.getfixturevalue(kind)
    card = card_of(bundle)
    assert 4 <= len(card["explanations"]) <= 12 and len(card["mistakes"]) <= 12
    assert all(item["answer"] == item["actual"] for item in card["explanations"])
    assert all(item["answer"] != item["actual"] for item in card["mistakes"])
    wrong = sum(sum(row) - row[at] for at, row in enumerate(card["confusion"]["matrix"]))
    assert len(card["mistakes"]) == min(wrong, 12)
    for item in examples(card):
        assert item["probability"] == pytest.approx(item["prediction"], abs=1e-4)
    given = [item["of_actual"] for item in card["mistakes"]]
    assert given == sorted(given)
    Page((bundle / "card.html").read_text("utf-8"))


def test_every_picture_comes_with_a_map_of_its_own(of_pictures: Path) -> None:
    card, html = card_of(of_pictures), (of_pictures / "card.html").read_text("utf-8")
    for item in examples(card):
        assert item["picture"] in html and item["heat"] in html
        with Image.open(io.BytesIO(base64.b64decode(item["heat"].partition(",")[2]))) as heat:
            shown = np.asarray(heat.convert("RGB")).astype(int)
        assert shown.shape[1] > shown.shape[0], "as wide as the pictures"
        assert (np.ptp(shown, axis=2) > 40).any(), "some place speaks, in a colour"
    assert len({item["heat"] for item in examples(card)}) > 1
    assert len(html) < 2 << 20


def test_the_picture_of_the_request_is_one_that_the_model_reads(of_pictures: Path) -> None:
    program, card = features.load(of_pictures), card_of(of_pictures)
    (x_hwc,) = program.x_of_rows([card["request"]])
    stored = holdout.load(of_pictures / "holdout.npz")[0]["picture"]
    assert x_hwc.shape == (12, 16, 1) and base64.b64decode(card["request"]["picture"]) in stored.tolist()
    assert card["recipe"]["features"] == x_hwc.size and "scaled until it fits 16 × 12 pixels" in " ".join(
        card["recipe"]["steps"]
    )


def test_marks_stand_on_tokens_and_add_up_to_the_answer(of_texts: Path) -> None:
    card = card_of(of_texts)
    for item in examples(card):
        total = sum(value for *_, value in item["marks"]) + item["rest"]
        assert total == pytest.approx(item["prediction"] - item["baseline"], abs=1e-4)
        assert all(0 <= start < end <= len(item["text"]) <= texts.LONGEST for start, end, _ in item["marks"])
        assert all(item["text"][start:end].strip() == item["text"][start:end] for start, end, _ in item["marks"])
    sure = card["explanations"][0]
    best = max(sure["marks"], key=lambda mark: mark[2])
    spoken = sure["text"][best[0] : best[1]]
    assert any(spoken in words for words in (GOOD if sure["answer"] == "好" else BAD)), spoken
    assert '<mark class="for-5"' in (of_texts / "card.html").read_text("utf-8")


def test_the_card_of_texts_tells_what_they_are_like(of_texts: Path) -> None:
    card, words = card_of(of_texts), Page((of_texts / "card.html").read_text("utf-8")).text
    assert card["data"]["profile"]["column"] == "评论"
    assert {item["label"] for item in card["data"]["profile"]["classes"]} == {"好", "差"}
    assert "Texts have" in words and "n-grams" in words and "word by word" in words
    assert features.load(of_texts).x_of_rows([card["request"]]).length_n[0] > 0
