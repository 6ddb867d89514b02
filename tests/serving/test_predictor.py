"""A bundle answers what its weights say, row by row or as a batch, and a damaged one is refused before it answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving import bundle_factory as factory

from tidemill.core.errors import BadBundle, SchemaMismatch
from tidemill.core.features.kinds import Category
from tidemill.core.features.program import Program
from tidemill.serving import predictor as module
from tidemill.serving.predictor import Predictor


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.load(factory.make(tmp_path_factory.mktemp("bundle") / "binary"))


def softmax(score_nk: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    e_nk = np.exp(score_nk - score_nk.max(axis=1, keepdims=True))
    return e_nk / e_nk.sum(axis=1, keepdims=True)


def test_labels_and_probabilities_are_those_of_the_weights(binary: Predictor) -> None:
    table = factory.columns(40, seed=3)
    w_fk, b_k = factory.weights("binary", binary.program.width, 0, factory.LABELS)
    wanted_nk = softmax(binary.program.apply(table) @ w_fk + b_k)
    answers = binary.predict(factory.rows_of(table))
    for answer, wanted_k in zip(answers, wanted_nk, strict=True):
        assert list(answer)[:2] == ["label", "probabilities"] and list(answer["probabilities"]) == list(factory.LABELS)
        assert np.allclose(list(answer["probabilities"].values()), wanted_k, atol=1e-6)
        assert answer["label"] == factory.LABELS[wanted_k.argmax()]
        assert sum(answer["probabilities"].values()) == pytest.approx(1, abs=1e-6)


def test_a_batch_answers_like_its_rows_one_by_one(binary: Predictor) -> None:
    rows = factory.rows_of(factory.columns(60, seed=4))
    single = [binary.predict([row])[0] for row in rows]
    for one, many in zip(single, binary.predict(rows), strict=True):
        assert one["label"] == many["label"]
        assert one["probabilities"] == pytest.approx(many["probabilities"], abs=1e-6)


def test_columns_give_the_scores_of_rows(binary: Predictor) -> None:
    table = factory.columns(20, seed=5)
    score_nk = binary.predict_columns(table)
    assert score_nk.shape == (20, 2)
    answers = binary.predict(factory.rows_of(table))
    assert np.allclose([list(a["probabilities"].values()) for a in answers], score_nk, atol=1e-6)
    with pytest.raises(SchemaMismatch, match="'hours' is missing"):
        binary.predict_columns({name: column for name, column in table.items() if name != "hours"})


def test_long_batches_run_in_pieces_with_the_same_result(binary: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    table = factory.columns(50, seed=6)
    whole_nk = binary.predict_columns(table)
    monkeypatch.setattr(module, "CHUNK_VALUES", 7 * binary.program.width)
    assert np.allclose(binary.predict_columns(table), whole_nk, atol=1e-6)
    assert binary.predict_columns({name: column[:0] for name, column in table.items()}).shape == (0, 2)


def test_regression_answers_values(tmp_path: Path) -> None:
    predictor = Predictor.load(factory.make(tmp_path / "r", "regression"))
    table = factory.columns(10, seed=7)
    w_fk, b_k = factory.weights("regression", predictor.program.width, 0, ())
    wanted_n = (predictor.program.apply(table) @ w_fk + b_k)[:, 0]
    assert predictor.predict_columns(table).shape == (10,)
    assert np.allclose(predictor.predict_columns(table), wanted_n, atol=1e-5)
    answers = predictor.predict(factory.rows_of(table))
    assert [next(iter(answer)) for answer in answers] == ["value"] * 10
    assert np.allclose([answer["value"] for answer in answers], wanted_n, atol=1e-5)


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_what_was_missing_or_unknown_is_noticed_where_it_stands(tmp_path: Path, task: str) -> None:
    predictor = Predictor.load(factory.make(tmp_path / "n", task))
    rows = factory.rows_of(factory.columns(5, seed=8))
    for row in rows:
        row.update(hours=40.0, work=factory.LEVELS[0])
    assert not any("noticed" in answer for answer in predictor.predict(rows))
    rows[1]["hours"], rows[3]["work"], rows[4]["work"] = None, "a level nobody has seen", None
    rows[0]["age"] = None  # which training never missed
    seen = [answer.get("noticed") for answer in predictor.predict(rows)]
    assert seen == [{"age": "missing"}, {"hours": "missing"}, None, {"work": "rare or never seen"}, {"work": "missing"}]


def test_a_level_without_a_slot_of_its_own_is_noticed_too() -> None:
    program = Program((Category("c", ("a", "b"), other=False, missing=False), Category("d", ("x",), False, True)))
    rows = [{"c": "a", "d": "x"}, {"c": "z", "d": "x"}, {"c": "b", "d": None}]
    assert sorted(program.noticed(rows, program.x_of_rows(rows))) == [
        (1, "c", "rare or never seen"),
        (2, "d", "missing"),
    ]


def test_many_labels_keep_their_order(tmp_path: Path) -> None:
    labels = ("a", "b", "c", "d")
    predictor = Predictor.load(factory.make(tmp_path / "m", "multiclass", labels=labels))
    answer = predictor.predict(factory.rows_of(factory.columns(1)))[0]
    assert tuple(answer["probabilities"]) == labels
    assert answer["label"] == max(answer["probabilities"], key=answer["probabilities"].get)


@pytest.mark.parametrize("name", ["features.json", "labels.json", "model.onnx", "weights.bin"])
def test_a_damaged_part_is_named_not_served(tmp_path: Path, name: str) -> None:
    folder = factory.make(tmp_path / "bundle")
    (folder / name).write_bytes(b"damaged")
    with pytest.raises(BadBundle, match="cannot be ") as caught:
        Predictor.load(folder)
    assert str(tmp_path) not in caught.value.message
    (folder / name).unlink()
    with pytest.raises(BadBundle):
        Predictor.load(folder)


def test_parts_of_different_bundles_do_not_fit(tmp_path: Path) -> None:
    folder = factory.make(tmp_path / "bundle")
    (folder / "labels.json").write_text(json.dumps({"task": "multiclass", "target": "t", "labels": ["a", "b", "c"]}))
    with pytest.raises(BadBundle, match="asks for 3"):
        Predictor.load(folder)


def test_an_answer_that_is_no_number_is_not_given(tmp_path: Path) -> None:
    folder = factory.make(tmp_path / "bundle", "regression")
    size = (folder / "weights.bin").stat().st_size
    (folder / "weights.bin").write_bytes(np.full(size // 4, np.nan, dtype=np.float32).tobytes())
    with pytest.raises(BadBundle, match="no number"):
        Predictor.load(folder).predict(factory.rows_of(factory.columns(1)))
