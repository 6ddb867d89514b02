"""Explanations are complete: what the columns added is exactly the way from the baseline to the prediction."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.serving import bundle_factory as factory

from tidemill.core.errors import NotFound, SchemaMismatch
from tidemill.serving import explainer as module
from tidemill.serving.explainer import by_column, explain
from tidemill.serving.predictor import Predictor

ROWS = factory.rows_of(factory.columns(30, seed=8))


@pytest.fixture(scope="module")
def binary(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    return Predictor.load(factory.make(tmp_path_factory.mktemp("bundle") / "binary"))


def test_contributions_sum_to_prediction_minus_baseline(binary: Predictor) -> None:
    predictions, explanations = explain(binary, ROWS)
    assert predictions == binary.predict(ROWS)
    for row, answer, told in zip(ROWS, predictions, explanations, strict=True):
        assert told["target"] == answer["label"]
        assert told["prediction"] == pytest.approx(answer["probabilities"][answer["label"]], abs=1e-5)
        total = sum(item["contribution"] for item in told["contributions"])
        assert total == pytest.approx(told["prediction"] - told["baseline"], abs=1e-5)
        assert {item["column"]: item["value"] for item in told["contributions"]} == row


def test_the_column_that_matters_most_comes_first(binary: Predictor) -> None:
    for told in explain(binary, ROWS)[1]:
        sizes = [abs(item["contribution"]) for item in told["contributions"]]
        assert sizes == sorted(sizes, reverse=True)


def test_a_label_can_be_asked_for(binary: Predictor) -> None:
    low, high = (explain(binary, ROWS, label)[1] for label in factory.LABELS)
    for one, other in zip(low, high, strict=True):
        assert (one["target"], other["target"]) == factory.LABELS
        assert one["prediction"] + other["prediction"] == pytest.approx(1, abs=1e-5)
    with pytest.raises(SchemaMismatch, match="'rich' is no label") as caught:
        explain(binary, ROWS, "rich")
    assert "'>50K'" in caught.value.remedy


def test_values_are_explained_too(tmp_path: Path) -> None:
    predictor = Predictor.load(factory.make(tmp_path / "r", "regression"))
    predictions, explanations = explain(predictor, ROWS)
    assert explain(predictor, ROWS, "price")[1] == explanations
    for answer, told in zip(predictions, explanations, strict=True):
        assert told["target"] == "price"
        assert told["prediction"] == pytest.approx(answer["value"], rel=1e-5, abs=1e-5)
        total = sum(item["contribution"] for item in told["contributions"])
        assert total == pytest.approx(told["prediction"] - told["baseline"], abs=1e-4)


def test_pieces_give_the_same_explanations(binary: Predictor, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = explain(binary, ROWS)[1]
    monkeypatch.setattr(module, "CHUNK_VALUES", 4 * binary.program.width)
    for one, other in zip(whole, explain(binary, ROWS)[1], strict=True):
        assert one["prediction"] == pytest.approx(other["prediction"], abs=1e-6)
        both = [{i["column"]: i["contribution"] for i in told["contributions"]} for told in (one, other)]
        assert both[0] == pytest.approx(both[1], abs=1e-5)


def test_a_bundle_without_an_explanation_graph_says_so(tmp_path: Path) -> None:
    folder = factory.make(tmp_path / "bundle")
    (folder / "explain.onnx").unlink()
    with pytest.raises(NotFound, match="no explanations"):
        explain(Predictor.load(folder), ROWS)


@given(st.lists(st.integers(0, 4), min_size=1, max_size=6).filter(any), st.integers(1, 3))
def test_columns_without_features_contribute_nothing(widths: list[int], rows: int) -> None:
    owner_f = np.repeat(np.arange(len(widths)), widths)
    contribution_nf = np.arange(rows * len(owner_f), dtype=np.float32).reshape(rows, -1)
    summed_nc = by_column(contribution_nf, owner_f, len(widths))
    wanted = [[row[owner_f == column].sum() for column in range(len(widths))] for row in contribution_nf]
    assert np.array_equal(summed_nc, np.array(wanted))
