"""An answer says how far off it may be when asked, at the levels its bundle has learned, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.serving import bundle_factory as factory

from tidemill.core.conformal import LEVELS
from tidemill.core.errors import BadBody, BadBundle, NotFound
from tidemill.core.outputs import Outputs
from tidemill.core.spec import Decision
from tidemill.serving import doubt
from tidemill.serving.explainer import explain
from tidemill.serving.predictor import Predictor

TABLE = factory.columns(50, seed=3)
ROWS = factory.rows_of(TABLE)
MANY = ("a", "b", "c", "d")


def loaded(folder: Path, task: str, **made: Any) -> Predictor:
    return Predictor.load(factory.make(folder, task, **made))


@pytest.mark.parametrize("spreads", [True, False])
@pytest.mark.parametrize("level", LEVELS)
def test_intervals_reach_as_many_spreads_as_were_learned(tmp_path: Path, spreads: bool, level: float) -> None:
    outputs = factory.learned("regression", spreads=spreads)
    predictor = loaded(tmp_path / "b", "regression", outputs=outputs, spreads=spreads)
    answers = doubt.predict(predictor, ROWS, level)
    assert [set(answer) - {"noticed"} for answer in answers] == [{"value", "low", "high"}] * len(ROWS)
    ends = ("low", "high")
    assert [{n: v for n, v in answer.items() if n not in ends} for answer in answers] == predictor.predict(ROWS)
    spread_n = factory.spread(predictor.program.apply(TABLE)) if spreads else np.ones(len(ROWS))
    factor = outputs.levels[level]
    for answer, spread in zip(answers, spread_n, strict=True):
        assert answer["high"] - answer["value"] == pytest.approx(factor * spread, rel=1e-4)
        assert answer["value"] - answer["low"] == pytest.approx(factor * spread, rel=1e-4)


def test_a_target_that_is_never_negative_gets_no_interval_below_nought(tmp_path: Path) -> None:
    plain = factory.learned("regression")
    floored = Outputs("regression", plain.rows, levels=plain.levels, least=0.0)
    predictor = loaded(tmp_path / "b", "regression", outputs=floored)
    answers = doubt.predict(predictor, ROWS, 0.99)
    assert all(answer["low"] == (0 if answer["value"] > 0 else answer["value"]) for answer in answers)


@pytest.mark.parametrize(("task", "labels"), [("binary", factory.LABELS), ("multiclass", MANY)])
def test_sets_hold_the_labels_above_the_threshold_most_probable_first(
    tmp_path: Path, task: str, labels: tuple[str, ...]
) -> None:
    outputs = factory.learned(task, labels)
    predictor = loaded(tmp_path / "b", task, labels=labels, outputs=outputs)
    sizes = []
    for level in LEVELS:
        answers = doubt.predict(predictor, ROWS, label_set=level)
        assert [{n: v for n, v in a.items() if n != "set"} for a in answers] == predictor.predict(ROWS)
        for answer in answers:
            p = answer["probabilities"]
            assert answer["set"][0] == answer["label"]
            assert answer["set"] == sorted(answer["set"], key=lambda label: -p[label])
            assert all(
                (p[label] >= outputs.levels[level]) == (label in answer["set"][1:])
                for label in set(p) - {answer["label"]}
            )
        sizes.append(sum(len(answer["set"]) for answer in answers))
    assert sizes == sorted(sizes) and sizes[0] < sizes[-1]


def test_costs_decide_without_being_asked(tmp_path: Path) -> None:
    for positive in factory.LABELS:
        outputs = factory.learned("binary", costs=Decision(1.0, 3.0, positive))
        predictor = loaded(tmp_path / positive.strip("<>="), "binary", outputs=outputs)
        answers = predictor.predict(ROWS)
        for answer in answers:
            p = answer["probabilities"][positive]
            assert answer["decision"] == {"act": p >= 0.25, "threshold": 0.25, "label": positive}
        assert len({answer["decision"]["act"] for answer in answers}) == 2
        assert all("decision" in answer for answer in doubt.predict(predictor, ROWS, label_set=0.9))
        assert explain(predictor, ROWS[:3])[0] == answers[:3]


def test_without_costs_nothing_is_decided(tmp_path: Path) -> None:
    predictor = loaded(tmp_path / "b", "binary", outputs=factory.learned("binary"))
    assert not any("decision" in answer for answer in predictor.predict(ROWS))


@pytest.mark.parametrize("level", [0.91, 90, 1, 0, -0.9, 10**400, 1e999, 0.9000001])
def test_a_level_that_was_not_learned_is_refused_with_those_that_were(tmp_path: Path, level: float) -> None:
    predictor = loaded(tmp_path / "b", "regression", outputs=factory.learned("regression"))
    with pytest.raises(BadBody, match="a level this version has not learned") as caught:
        doubt.predict(predictor, ROWS, level)
    assert caught.value.remedy == "It is one of 0.5, 0.8, 0.9, 0.95, 0.99."
    assert caught.value.details["levels"] == list(LEVELS) and len(caught.value.message) < 120


def test_a_level_that_too_few_rows_could_tell_is_not_offered(tmp_path: Path) -> None:
    predictor = loaded(tmp_path / "b", "regression", outputs=factory.learned("regression", rows=50))
    with pytest.raises(BadBody) as caught:
        doubt.predict(predictor, ROWS, 0.99)
    assert caught.value.details["levels"] == [0.5, 0.8, 0.9, 0.95]
    none = loaded(tmp_path / "none", "regression", outputs=factory.learned("regression", rows=0))
    with pytest.raises(NotFound, match="too few rows"):
        doubt.predict(none, ROWS, 0.5)


def test_the_wrong_kind_is_refused_with_the_right_one(tmp_path: Path) -> None:
    values = loaded(tmp_path / "v", "regression", outputs=factory.learned("regression"))
    labels = loaded(tmp_path / "l", "binary", outputs=factory.learned("binary"))
    for predictor, asked, right in ((values, "set", "interval"), (labels, "interval", "set")):
        levels = {"interval": 0.9, "label_set": None} if asked == "interval" else {"interval": None, "label_set": 0.9}
        for more in ({}, {"interval": 0.9, "label_set": 0.9}):
            with pytest.raises(BadBody, match=f"^{asked} is asked") as caught:
                doubt.predict(predictor, ROWS, **{**levels, **more})
            assert caught.value.code == "WRONG_KIND" and f'"{right}"' in caught.value.remedy


@pytest.mark.parametrize(("task", "asked"), [("regression", {"interval": 0.9}), ("binary", {"label_set": 0.9})])
def test_a_bundle_from_before_answers_but_without_doubt(tmp_path: Path, task: str, asked: dict[str, float]) -> None:
    predictor = loaded(tmp_path / "b", task)
    assert len(predictor.predict(ROWS)) == len(ROWS)
    with pytest.raises(NotFound) as caught:
        doubt.predict(predictor, ROWS, **asked)
    assert caught.value.code == "NO_LEVELS" and caught.value.remedy == "Train the model again."


def test_a_model_with_a_spread_answers_its_value(tmp_path: Path) -> None:
    with_spread = loaded(tmp_path / "s", "regression", spreads=True)
    without = loaded(tmp_path / "w", "regression")
    assert with_spread.predict(ROWS) == without.predict(ROWS)
    assert np.array_equal(with_spread.predict_columns(TABLE), without.predict_columns(TABLE))


@pytest.mark.parametrize(
    ("made", "words"),
    [
        ({"task": "binary", "outputs": factory.learned("regression")}, "is of a regression model"),
        ({"task": "regression", "outputs": factory.learned("regression", spreads=True)}, "needs the output 'spread'"),
        (
            {"task": "binary", "outputs": factory.learned("binary", costs=Decision(1.0, 1.0, "rich"))},
            "acts on a label that labels.json lacks",
        ),
    ],
)
def test_outputs_that_do_not_fit_the_model_are_refused(tmp_path: Path, made: dict[str, Any], words: str) -> None:
    with pytest.raises(BadBundle, match=words):
        loaded(tmp_path / "b", **made)


@pytest.mark.parametrize("text", ["damaged", "{}", "[]", json.dumps({"format": 9})])
def test_damaged_outputs_are_named(tmp_path: Path, text: str) -> None:
    folder = factory.make(tmp_path / "b", outputs=factory.learned("binary"))
    (folder / "outputs.json").write_text(text)
    with pytest.raises(BadBundle):
        Predictor.load(folder)


def test_long_batches_keep_values_and_spreads_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = factory.learned("regression", spreads=True)
    predictor = loaded(tmp_path / "b", "regression", outputs=outputs, spreads=True)
    whole = doubt.predict(predictor, ROWS, 0.9)
    monkeypatch.setattr("tidemill.serving.predictor.CHUNK_VALUES", 7 * predictor.program.width)
    for one, other in zip(doubt.predict(predictor, ROWS, 0.9), whole, strict=True):
        assert one.pop("noticed", None) == other.pop("noticed", None)
        assert one == pytest.approx(other, rel=1e-5)
