"""outputs.json says what the model's answers are worth, comes back as it was written, and is judged on other rows."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

from tidemill.core import calibration, outputs
from tidemill.core.calibration import Calibration
from tidemill.core.conformal import LEVELS
from tidemill.core.errors import BadBundle
from tidemill.core.outputs import Outputs, fit_outputs, report
from tidemill.core.spec import Decision

Array = np.ndarray[Any, Any]
COSTS = Decision(1.0, 4.0)
LABELS = ("no", "yes")


def classes(rows: int, seed: int, k: int = 2) -> tuple[Array, Array]:
    """Labels, and probabilities that are twice as sure as they may be."""
    random = np.random.default_rng(seed)
    p_nk = random.dirichlet(np.ones(k), rows)
    y_n = (p_nk.cumsum(1) < random.random((rows, 1))).sum(1).clip(0, k - 1)
    return y_n, p_nk**2 / (p_nk**2).sum(1, keepdims=True)


def values(rows: int, seed: int) -> tuple[Array, Array, Array]:
    """Prices, answers [n, 1] and spreads [n, 1]."""
    random = np.random.default_rng(seed)
    value_n1 = random.uniform(5, 10, (rows, 1))
    return np.abs(value_n1 + random.normal(0, value_n1 / 4))[:, 0], value_n1, value_n1 / 4


def judged(task: str, k: int, spec: Decision = COSTS) -> tuple[Outputs, dict[str, Any]]:
    """Outputs fitted on held-out rows, and what test rows say of them."""
    labels = tuple("abcdef"[:k]) if k > 2 else LABELS
    (y_n, raw_nk), (test_n, test_nk) = classes(3_000, 1, k), classes(2_000, 2, k)
    found = calibration.fit(y_n, raw_nk)
    fitted = fit_outputs(task, labels, y_n, found.apply(raw_nk), None, found, spec)
    return fitted, report(fitted, task, labels, test_n, found.apply(test_nk), None, test_nk, 0)


@pytest.mark.parametrize(("task", "k"), [("binary", 2), ("multiclass", 5)])
def test_classes_are_calibrated_covered_and_decided(task: str, k: int) -> None:
    fitted, told = judged(task, k)
    assert told["calibration"]["method"] == ("platt" if k == 2 else "temperature")
    assert told["calibration"]["before"] > told["calibration"]["after"]
    assert told["calibration"]["after"] < told["calibration"]["floor"] + 0.015
    assert [item["level"] for item in told["coverage"]["levels"]] == list(LEVELS) == fitted.offered
    for item in told["coverage"]["levels"]:
        assert item["coverage"] > item["level"] - 0.03 and 1 <= item["size"] <= k and 0 <= item["single"] <= 1
    assert (told["decision"] is None) == (k > 2)
    assert [item["code"] for item in told["warnings"]] == ([] if k == 2 else ["COSTS_UNUSED"])


@pytest.mark.parametrize("normalised", [True, False])
def test_values_get_intervals_that_cover(normalised: bool) -> None:
    (y_n, value_n1, spread_n1), (test_n, test_n1, test_spread_n1) = values(2_000, 1), values(2_000, 2)
    none = Calibration()
    fitted = fit_outputs("regression", (), y_n, value_n1, spread_n1 if normalised else None, none, Decision())
    told = report(fitted, "regression", (), test_n, test_n1, test_spread_n1 if normalised else None, test_n1)
    assert (fitted.normalised, fitted.least, fitted.decision) == (normalised, 0.0, None)
    widths = [item["width"] for item in told["coverage"]["levels"]]
    assert widths == sorted(widths) and widths[0] > 0
    for item in told["coverage"]["levels"]:
        assert item["coverage"] == pytest.approx(item["level"], abs=0.035)
    assert told["calibration"] is None and told["decision"] is None and told["warnings"] == []


def test_only_a_target_that_was_never_negative_has_a_floor() -> None:
    y_n, value_n1, spread_n1 = values(100, 3)
    fitted = fit_outputs("regression", (), y_n - 8, value_n1 - 8, spread_n1, Calibration(), Decision())
    assert fitted.least is None


def test_outputs_survive_their_json() -> None:
    for fitted in (judged("binary", 2)[0], judged("multiclass", 3)[0]):
        again = json.loads(json.dumps(fitted.to_json(), allow_nan=False))
        assert Outputs.from_json(again) == fitted
    y_n, value_n1, spread_n1 = values(30, 1)
    few = fit_outputs("regression", (), y_n, value_n1, spread_n1, Calibration(), COSTS)
    again = Outputs.from_json(json.loads(json.dumps(few.to_json(), allow_nan=False)))
    assert again == few and again.offered == [0.5, 0.8, 0.9, 0.95] and again.levels[0.99] is None


def test_a_report_is_json_and_the_same_twice() -> None:
    told = judged("binary", 2)[1]
    assert json.dumps(told, allow_nan=False) == json.dumps(judged("binary", 2)[1], allow_nan=False)


def test_promises_that_are_not_kept_are_told() -> None:
    y_n, raw_nk = classes(3_000, 1)
    test_n, test_nk = classes(3_000, 2)
    other_nk = np.sqrt(test_nk[:, ::-1])  # another world: the model ranks backwards there
    other_nk /= other_nk.sum(1, keepdims=True)
    fitted = fit_outputs("binary", LABELS, y_n, raw_nk, None, Calibration(), COSTS)
    told = report(fitted, "binary", LABELS, test_n, other_nk, None, other_nk)
    codes = [item["code"] for item in told["warnings"]]
    assert codes == ["NOT_CALIBRATED", "COVERAGE_LOW", "DECISION_SAVES_NOTHING"]
    assert all(item["message"].endswith(".") for item in told["warnings"])


def test_no_rows_promise_nothing() -> None:
    fitted = fit_outputs("regression", (), np.empty(0), np.empty((0, 1)), None, Calibration(), Decision())
    assert fitted.offered == [] and fitted.least is None


@pytest.mark.parametrize(
    "change",
    [{"format": 2}, {"levels": [1]}, {"levels": {"0.9": "wide"}}, {"calibration": {}}, {"decision": {"positive": "x"}}],
)
def test_what_is_no_outputs_file_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(BadBundle):
        Outputs.from_json({**judged("binary", 2)[0].to_json(), **change})
    with pytest.raises(BadBundle, match=outputs.NAME):
        Outputs.from_json({})


def test_reading_outputs_loads_neither_specifications_nor_metrics() -> None:
    probe = (
        "import sys, tidemill.core.outputs; print(*sorted({'tomllib', 'tidemill.core.metrics'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""
