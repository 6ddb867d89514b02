"""Pictures and texts are predicted, explained and judged as tables are, by bundles whose answers are known."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tests.serving import bundle_factory
from tests.serving import modality_factory as factory
from tests.serving.test_gate import bundle as table_bundle

from tidemill.core.errors import BadBundle, BadPicture, SchemaMismatch
from tidemill.core.features.pictures import PictureProgram
from tidemill.serving import doubt, feeds, gate
from tidemill.serving import predictor as module
from tidemill.serving.explainer import explain
from tidemill.serving.gate import judge
from tidemill.serving.intake import most_rows
from tidemill.serving.predictor import Predictor


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("modalities")


@pytest.fixture(scope="module")
def pictures(folder: Path) -> Predictor:
    return Predictor.load(factory.make_pictures(folder / "pictures"))


@pytest.fixture(scope="module")
def texts(folder: Path) -> Predictor:
    return Predictor.load(factory.make_texts(folder / "texts"))


def rows_of(name: str, count: int) -> list[dict[str, Any]]:
    columns, _ = (factory.pictures if name == "picture" else factory.texts)(count)
    return [{column: value} for column, values in columns.items() for value in values]


def test_pictures_and_texts_are_told_apart(pictures: Predictor, texts: Predictor) -> None:
    for predictor, name, (columns, truth) in (
        (pictures, "picture", factory.pictures(40)),
        (texts, "text", factory.texts(40)),
    ):
        assert predictor.modality == name
        answers = predictor.predict(rows_of(name, 40))
        assert [answer["label"] for answer in answers] == truth.tolist()
        score_nk = predictor.predict_columns(columns)
        assert np.allclose([list(answer["probabilities"].values()) for answer in answers], score_nk, atol=1e-6)


def test_a_picture_comes_as_bytes_or_base64(pictures: Predictor) -> None:
    data = factory.picture("right")
    text = base64.b64encode(data).decode()
    forms = [{"picture": data}, {"picture": text}, {"picture": f"data:image/png;base64,{text}", "file": "a.png"}]
    answers = pictures.predict(forms)
    assert answers[0] == answers[1] == answers[2] and answers[0]["label"] == "right"


@pytest.mark.parametrize("name", ["picture", "text"])
def test_a_batch_answers_like_its_rows_one_by_one(
    name: str, pictures: Predictor, texts: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor, rows = (pictures if name == "picture" else texts), rows_of(name, 30)
    rows += [{"review": "good " * 300}] if name == "text" else []
    whole = predictor.predict(rows)
    for answer, row in zip(whole, rows, strict=True):
        (alone,) = predictor.predict([row])
        assert alone["probabilities"] == pytest.approx(answer["probabilities"], abs=1e-6)
    monkeypatch.setattr(feeds, "PIXELS", 12 * 12 * 7)
    monkeypatch.setattr(feeds, "PLACES", 100)
    monkeypatch.setattr(feeds, "TEXTS", 4)
    monkeypatch.setattr(module, "BLOCK", 8)
    for one, other in zip(whole, predictor.predict(rows), strict=True):
        assert one["probabilities"] == pytest.approx(other["probabilities"], abs=1e-6)
    columns = {next(iter(rows[0])): np.array([*[next(iter(row.values())) for row in rows], None], dtype=object)[:-1]}
    assert predictor.predict_columns(columns)[:, 0] == pytest.approx(
        [next(iter(answer["probabilities"].values())) for answer in whole], abs=1e-6
    )


def test_no_rows_have_no_scores(pictures: Predictor, texts: Predictor) -> None:
    assert pictures.predict_columns({"picture": np.empty(0, object)}).shape == (0, 2)
    assert texts.predict_columns({"review": np.empty(0, object)}).shape == (0, 2)


def test_a_broken_picture_is_named_by_its_row_and_code(pictures: Predictor) -> None:
    good = factory.picture("left")
    cut = good[: len(good) // 2]
    for broken, code in ((b"no picture", "IMAGE_FORMAT"), (b"", "IMAGE_EMPTY"), (cut, "IMAGE_TRUNCATED")):
        with pytest.raises(BadPicture, match="Row 1") as caught:
            pictures.predict([{"picture": good}, {"picture": broken}])
        assert (caught.value.code, caught.value.details["row"]) == (code, 1)
    with pytest.raises(SchemaMismatch, match="not base64"):
        pictures.predict([{"picture": "%%%"}])


def test_sets_of_labels_are_given_for_pictures_and_texts(pictures: Predictor, texts: Predictor) -> None:
    for predictor, name in ((pictures, "picture"), (texts, "text")):
        rows = rows_of(name, 6)
        answers = doubt.predict(predictor, rows, label_set=0.9)
        assert [set(answer) for answer in answers] == [{"label", "probabilities", "set"}] * 6
        assert all(answer["label"] in answer["set"] for answer in answers)


def test_a_picture_is_explained_by_a_heat_map(pictures: Predictor) -> None:
    predictions, explanations = explain(pictures, rows_of("picture", 4))
    assert predictions == pictures.predict(rows_of("picture", 4))
    for answer, told in zip(predictions, explanations, strict=True):
        assert list(told) == ["target", "baseline", "prediction", "heatmap", "size"]
        assert told["target"] == answer["label"] and told["baseline"] == pytest.approx(0.5)
        with Image.open(io.BytesIO(base64.b64decode(told["heatmap"]))) as image:
            shown = np.asarray(image.convert("RGB")).astype(int)
        assert [*shown.shape[:2]] == told["size"] == [228, 228]
        warm_x = (shown[:, :, 0] - shown[:, :, 2]).mean(0)
        left = warm_x[:100].mean() > warm_x[128:].mean()
        assert ("left" if left else "right") == answer["label"], "what is bright spoke for its side"


def test_a_text_is_explained_word_by_word(texts: Predictor) -> None:
    rows = [{"review": "The film: good,  not 差!"}, {"review": "😀 很好看 😀"}, {"review": "a pleasure"}]
    predictions, explanations = explain(texts, rows, "good")
    assert predictions == texts.predict(rows)
    for row, told in zip(rows, explanations, strict=True):
        assert list(told) == ["target", "baseline", "prediction", "contributions", "rest"]
        parts = told["contributions"]
        assert [part["text"] for part in parts] == [row["review"][part["start"] : part["end"]] for part in parts]
        assert [part["start"] for part in parts] == sorted(part["start"] for part in parts)
        total = sum(part["contribution"] for part in parts) + told["rest"]
        assert total == pytest.approx(told["prediction"] - told["baseline"], abs=1e-4)
    added = {part["text"]: part["contribution"] for part in explanations[0]["contributions"]}
    assert added["good"] > 0 > added["差"]


def test_texts_of_different_length_are_explained_as_each_alone(texts: Predictor) -> None:
    rows = [{"review": "good"}, {"review": "bad film, good book " * 200}, {"review": "fine"}]
    together = explain(texts, rows)[1]
    assert together == [explain(texts, [row])[1][0] for row in rows]


def test_fewer_large_pictures_are_explained_at_once_than_small_ones(pictures: Predictor, texts: Predictor) -> None:
    assert [most_rows(pictures, verb) for verb in ("predict", "explain")] == [64, 16]
    assert [most_rows(texts, verb) for verb in ("predict", "explain")] == [2_000, 100]
    for side, most in ((96, 16), (224, 5), (512, 1)):
        large = replace(pictures, program=PictureProgram((side, side), 3))
        assert [most_rows(large, verb) for verb in ("predict", "explain")] == [64, most]


@pytest.mark.parametrize("make", [factory.make_pictures, factory.make_texts])
@pytest.mark.parametrize("damage", ["features.json", "features.npz", "sizes"])
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, make: Any, damage: str) -> None:
    folder = make(tmp_path / "bundle")
    if damage == "sizes" and make is factory.make_pictures:
        value = json.loads((folder / "features.json").read_text())
        (folder / "features.json").write_text(json.dumps({**value, "size": [12, 14]}))
    elif (folder / damage).exists():
        (folder / damage).write_bytes(b"damaged")
    else:
        return
    with pytest.raises(BadBundle):
        Predictor.load(folder)


def test_versions_with_different_programs_are_judged_on_the_same_pictures(tmp_path: Path) -> None:
    old = factory.make_pictures(tmp_path / "old", sharpness=6.0, rows=60)
    new = factory.make_pictures(tmp_path / "new", size=(16, 20), channels=3, sharpness=12.0, rows=60)
    assert judge(old, None).code == "FIRST"
    verdict = judge(new, old)
    assert verdict.promote and verdict.code == "NOT_WORSE"
    assert verdict.evidence["rows"] == 60 and verdict.evidence["against_champion"]["difference"] < 0
    assert judge(old, new).code == "WORSE_THAN_CHAMPION"


def test_versions_with_different_vocabularies_are_judged_on_the_same_texts(tmp_path: Path) -> None:
    old = factory.make_texts(tmp_path / "old", sharpness=0.02, rows=60)
    new = factory.make_texts(tmp_path / "new", rows=60, program=factory.text_program(120))
    assert judge(new, old).code == "NOT_WORSE"
    assert judge(old, new).code == "WORSE_THAN_CHAMPION"


def test_of_very_many_rows_some_of_every_class_are_judged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = factory.make_pictures(tmp_path / "pictures", rows=60)
    texts = factory.make_texts(tmp_path / "texts", rows=60)
    monkeypatch.setattr(gate, "PIXELS", 12 * 12 * 21)
    monkeypatch.setattr(gate, "TEXTS", 21)
    for folder in (pictures, texts):
        verdict = judge(folder, folder)
        assert verdict.evidence["rows"] == 21 and verdict.promote


def test_a_version_that_reads_something_else_is_refused_until_a_person_agrees(tmp_path: Path) -> None:
    pictures = factory.make_pictures(tmp_path / "pictures", rows=60)
    texts = factory.make_texts(tmp_path / "texts", rows=60)
    table = table_bundle(tmp_path / "table")
    labels = {"task": "binary", "target": "x", "labels": list(bundle_factory.LABELS)}
    for folder in (pictures, texts):
        (folder / "labels.json").write_text(json.dumps(labels))
        verdict = judge(table, folder)
        assert verdict.code == "COLUMNS_CHANGED" and "by hand" in verdict.message and "tables" in verdict.message
