"""Metrics by group: right per group, silent about few rows, and the same whatever the order of the rows."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tidemill.core import groups
from tidemill.core.groups import LEAST, group_report, levels_of
from tidemill.core.metrics import values

LABELS = ["no", "yes"]


def table(rows: int = 400, seed: int = 3) -> tuple[Any, Any, Any]:
    """Classes, probabilities and a column of which one level has few rows and one is missing."""
    rng = np.random.default_rng(seed)
    y_n = rng.integers(0, 2, rows)
    p_n = np.clip(0.3 + 0.4 * y_n + 0.15 * rng.normal(size=rows), 0.01, 0.99)
    sex_n = np.array(["f", "m"], dtype=object)[rng.integers(0, 2, rows)]
    sex_n[:7], sex_n[7:40] = "x", None
    return y_n, np.stack([1 - p_n, p_n], 1), sex_n


def by_level(report: list[dict[str, Any]], at: int = 0) -> dict[str, dict[str, Any]]:
    return {item["level"]: item for item in report[at]["groups"]}


def test_each_group_is_measured_over_its_own_rows() -> None:
    y_n, p_nk, sex_n = table()
    found = by_level(group_report("binary", LABELS, y_n, p_nk, {"sex": sex_n}))
    for level in ("f", "m"):
        mine = sex_n == level
        expected = values("binary", y_n[mine], p_nk[mine])
        assert found[level]["rows"] == mine.sum()
        assert found[level]["positive_rate"] == pytest.approx(y_n[mine].mean())
        for name, value in expected.items():
            told = found[level]["metrics"][name]
            assert told["value"] == pytest.approx(value)
            assert told["low"] <= told["value"] <= told["high"]


def test_a_threshold_moves_decisions_and_leaves_the_ranking_alone() -> None:
    y_n, p_nk, sex_n = table()
    low, high = (by_level(group_report("binary", LABELS, y_n, p_nk, {"s": sex_n}, at))["f"] for at in (0.2, 0.8))
    mine = sex_n == "f"
    assert low["selected_rate"] == (p_nk[mine, 1] >= 0.2).mean() > high["selected_rate"]
    assert low["metrics"]["recall"]["value"] >= high["metrics"]["recall"]["value"]
    assert low["metrics"]["false_positive_rate"]["value"] >= high["metrics"]["false_positive_rate"]["value"]
    for name in ("roc_auc", "log_loss"):
        assert low["metrics"][name] == high["metrics"][name]


def test_the_first_label_may_be_the_positive_one() -> None:
    y_n, p_nk, sex_n = table()
    (told,) = group_report("binary", LABELS, y_n, p_nk, {"s": sex_n}, 0.3, positive="no")
    mine, found = sex_n == "m", by_level([told])["m"]
    assert told["positive"] == "no"
    assert found["positive_rate"] == pytest.approx((y_n[mine] == 0).mean())
    assert found["selected_rate"] == pytest.approx((p_nk[mine, 0] >= 0.3).mean())
    hits = (p_nk[mine, 0] >= 0.3) & (y_n[mine] == 0)
    assert found["metrics"]["recall"]["value"] == pytest.approx(hits.sum() / (y_n[mine] == 0).sum())


def test_small_groups_are_put_together_and_too_small_ones_are_not_measured() -> None:
    y_n, p_nk, sex_n = table()
    found = by_level(group_report("binary", LABELS, y_n, p_nk, {"sex": sex_n}))
    assert set(found) == {"f", "m", "(missing)", "other (1 group)"}
    assert found["other (1 group)"]["rows"] == 7 and found["other (1 group)"]["merged"]
    assert found["other (1 group)"]["metrics"] is None and found["other (1 group)"]["selected_rate"] is None
    assert found["(missing)"]["rows"] == 33 and found["(missing)"]["metrics"]
    many = np.array([str(at % 40) for at in range(400)], dtype=object)  # ten rows each
    (told,) = group_report("binary", LABELS, y_n, p_nk, {"many": many})
    assert [item["level"] for item in told["groups"]] == ["other (40 groups)"]
    assert told["groups"][0]["rows"] == 400 and told["groups"][0]["metrics"] and told["selection_ratio"] is None


def test_the_selection_ratio_is_the_lowest_rate_over_the_highest() -> None:
    y_n = np.tile([0, 1], 50)
    p_n = np.r_[np.full(50, 0.9), np.full(30, 0.9), np.full(20, 0.1)]
    side = np.array(["a"] * 50 + ["b"] * 50, dtype=object)
    (told,) = group_report("binary", LABELS, y_n, np.stack([1 - p_n, p_n], 1), {"side": side})
    assert told["selection_ratio"] == pytest.approx(0.6)
    (none,) = group_report("binary", LABELS, y_n, np.tile([1.0, 0.0], (100, 1)), {"side": side})
    assert none["selection_ratio"] is None


def test_a_group_of_one_class_has_no_area_and_says_so_with_none() -> None:
    y_n = np.r_[np.zeros(50, int), np.tile([0, 1], 25)]
    side = np.array(["a"] * 50 + ["b"] * 50, dtype=object)
    p_n = np.linspace(0.1, 0.9, 100)
    found = by_level(group_report("binary", LABELS, y_n, np.stack([1 - p_n, p_n], 1), {"side": side}))
    assert found["a"]["metrics"]["roc_auc"]["value"] is None
    assert found["b"]["metrics"]["roc_auc"]["value"] is not None


def test_many_classes_and_values_have_metrics_and_no_rates() -> None:
    rng = np.random.default_rng(0)
    side = np.array(["a", "b"], dtype=object)[rng.integers(0, 2, 200)]
    p_nk = rng.dirichlet([1, 1, 1], 200)
    (many,) = group_report("multiclass", ["x", "y", "z"], rng.integers(0, 3, 200), p_nk, {"side": side})
    assert many["positive"] is None
    assert all(item["selected_rate"] is None and item["metrics"]["accuracy"] for item in many["groups"])
    y_n = rng.normal(size=200)
    (told,) = group_report("regression", [], y_n, y_n[:, None] + 1, {"side": side})
    for item in told["groups"]:
        assert item["answered"] == pytest.approx(item["actual"] + 1)
        assert item["metrics"]["rmse"]["value"] == pytest.approx(1)


def test_numbers_are_cut_into_quarters_and_few_numbers_stay_themselves() -> None:
    level_n = levels_of(np.array([np.nan, *range(100)]))
    assert level_n[0] is None
    found, counts = np.unique(level_n[1:].astype(str), return_counts=True)
    assert len(found) == 4 and min(counts) >= 24
    assert set(levels_of(np.array([0.0, 1.0, 0.0]))) == {"0", "1"}
    skewed = levels_of(np.r_[np.zeros(90), np.arange(1.0, 11.0)])
    assert None not in set(skewed)


def test_groups_of_numbers_stand_from_low_to_high() -> None:
    age_n = np.random.default_rng(1).integers(18, 70, 400).astype(float)
    age_n[:30] = np.nan
    y_n, p_nk, _ = table()
    (told,) = group_report("binary", LABELS, y_n, p_nk, {"age": age_n})
    levels = [item["level"] for item in told["groups"]]
    assert levels[-1] == "(missing)"
    lows = [float(level.split()[0]) for level in levels[:-1]]
    assert lows == sorted(lows) and len(lows) == 4


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sampled_from(["a", "b", "c", None]), min_size=60, max_size=120), st.integers(0, 99))
def test_no_row_is_lost_and_no_small_group_shown(side: list[str | None], seed: int) -> None:
    rng = np.random.default_rng(seed)
    p_n = rng.random(len(side))
    y_n = rng.integers(0, 2, len(side))
    (told,) = group_report("binary", LABELS, y_n, np.stack([1 - p_n, p_n], 1), {"s": np.array(side, dtype=object)})
    assert sum(item["rows"] for item in told["groups"]) == len(side)
    assert all(item["merged"] or item["rows"] >= LEAST for item in told["groups"])
    assert all((item["metrics"] is None) == (item["rows"] < LEAST) for item in told["groups"])


def test_at_most_thirty_groups_are_told_apart() -> None:
    side = np.array([f"state {at % 40:02d}" for at in range(40 * LEAST)], dtype=object)
    y_n = np.arange(len(side)) % 2
    p_nk = np.full((len(side), 2), 0.5)
    (told,) = group_report("binary", LABELS, y_n, p_nk, {"state": side})
    assert len(told["groups"]) == groups.MOST + 1
    assert (told["groups"][-1]["level"], told["groups"][-1]["merged"]) == ("other (10 groups)", True)
