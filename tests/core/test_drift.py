"""Drift is told from chance: p-values are SciPy's, quiet windows stay quiet, and what moved is named."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy import stats

from tidemill.core import drift, pvalues, reference

Array = np.ndarray[Any, Any]
LEVELS = np.array(["a", "b", "c", "d", None], object)


def found(then: Array, now: Array) -> drift.Finding:
    return drift.compare(reference.summarise("x", then), now)


def people(random: np.random.Generator, rows: int, shift: float = 0.0) -> dict[str, Array]:
    """Columns as tables have them: smooth, skewed, tied, often missing, levels."""
    hours = random.normal(40 + shift, 12, rows).round()
    hours[random.random(rows) < 0.1] = np.nan
    return {
        "size": random.normal(size=rows),
        "income": random.lognormal(3, 1, rows),
        "hours": hours,
        "flag": (random.random(rows) < 0.02).astype(float),
        "kind": LEVELS[random.choice(5, rows, p=[0.6, 0.3, 0.06, 0.01, 0.03])],
        "zip": np.array([f"z{at}" for at in random.geometric(0.01, rows)], object),
    }


def report(then: dict[str, Array], now: dict[str, Array]) -> list[str]:
    pairs = [found(then[name], now[name]) for name in then]
    names = list(then)
    marked, _ = drift.judged(pairs)
    return [name for name, item in zip(names, marked, strict=True) if item.alarming]


@pytest.mark.parametrize("distance", [0.0, 0.01, 0.05, 0.1, 0.3, 1.0])
@pytest.mark.parametrize(("rows", "others"), [(200, 500), (1_000, 20_000)])
def test_kolmogorovs_p_value_is_that_of_scipy(distance: float, rows: int, others: int) -> None:
    root = np.sqrt(rows * others / (rows + others))
    wanted = stats.kstwobign.sf((root + 0.12 + 0.11 / root) * distance)
    assert pvalues.kolmogorov(distance, rows, others) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize("freedom", [1, 2, 5, 30, 400])
def test_the_chi_square_p_value_is_that_of_scipy(freedom: int) -> None:
    for statistic in (0.0, 0.1, freedom / 2, freedom, 1.5 * freedom, 3.0 * freedom, 40 + freedom):
        assert pvalues.chi_square(statistic, freedom) == pytest.approx(stats.chi2.sf(statistic, freedom), rel=1e-9)


@pytest.mark.parametrize("table", [(0, 300, 0, 9_000), (3, 300, 0, 9_000), (2, 200, 40, 3_000), (40, 300, 900, 9_000)])
def test_small_shares_are_compared_exactly(table: tuple[int, int, int, int]) -> None:
    hits, rows, other_hits, others = table
    counts = [[hits, rows - hits], [other_hits, others - other_hits]]
    exact = stats.fisher_exact(counts).pvalue
    small = (hits + other_hits) * rows / (rows + others) < 5
    wanted = exact if small else stats.chi2_contingency(counts, correction=False).pvalue
    assert pvalues.shares(*table) == pytest.approx(wanted, rel=1e-6)


def test_the_distance_is_that_of_scipy_also_with_ties() -> None:
    random = np.random.default_rng(0)
    then, now = random.integers(0, 30, 900).astype(float), random.integers(2, 30, 400).astype(float)
    assert found(then, now).statistic == pytest.approx(stats.ks_2samp(then, now).statistic, abs=1e-12)


@pytest.mark.parametrize("rows", [200, 1_000, 5_000])
def test_twenty_quiet_windows_raise_at_most_one_alarm(rows: int) -> None:
    random = np.random.default_rng(rows)
    then = people(random, 20_000)
    alarms = [report(then, people(random, rows)) for _ in range(20)]
    assert sum(bool(names) for names in alarms) <= 1, alarms


def test_over_many_quiet_reports_false_alarms_stay_below_the_promise() -> None:
    """Against a new reference each time, because one that happens to lie badly would count many times."""
    random = np.random.default_rng(7)
    alarms = sum(bool(report(people(random, 1_000), people(random, 300))) for _ in range(100))
    assert alarms / 100 <= drift.ALPHA + 3 * np.sqrt(drift.ALPHA * (1 - drift.ALPHA) / 100)


def test_a_column_that_moves_is_named_and_no_other() -> None:
    random = np.random.default_rng(1)
    then, now = people(random, 20_000), people(random, 1_000, shift=3.0)
    assert report(then, now) == ["hours"]
    now["kind"] = np.where(random.random(1_000) < 0.1, "e", now["kind"]).astype(object)
    marked = found(then["kind"], now["kind"])
    assert report(then, now) == ["hours", "kind"] and marked.new_levels == ("e",) and 60 < marked.new_rows < 140


def test_missing_values_are_an_alarm_of_their_own() -> None:
    random = np.random.default_rng(2)
    then, now = people(random, 20_000), people(random, 1_000)
    now["size"][random.random(1_000) < 0.02] = np.nan
    marked, _ = drift.judged([found(then["size"], now["size"])])
    assert (marked[0].drifted, marked[0].missing_drifted) == (False, True)
    assert marked[0].missing[0] == 0 and 0.005 < marked[0].missing[1] < 0.04


@pytest.mark.parametrize("now", [np.full(300, np.nan), np.empty(0), np.full(300, 7.0)])
def test_columns_without_values_or_variety_can_be_compared(now: Array) -> None:
    constant = found(np.full(500, 7.0), now)
    assert 0 <= constant.p <= 1 and 0 <= constant.missing_p <= 1
    assert (constant.missing_p < 1e-9) == (len(now) > 0 and bool(np.isnan(now).all()))
    assert found(np.full(500, np.nan), now).p == 1


def test_the_more_rows_the_smaller_the_change_that_is_seen_while_psi_stands_still() -> None:
    random = np.random.default_rng(3)
    then = random.normal(size=20_000)
    few, many = (found(then, random.normal(0.1, 1, rows)) for rows in (200, 20_000))
    assert many.p < 1e-6 < few.p and many.psi < 0.2
