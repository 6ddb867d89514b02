"""The arithmetic of the comparison with other libraries: what is averaged, who competes, what counts as worse."""

from __future__ import annotations

import math
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.benchmarks.tables.summary import (
    Standing,
    beside,
    errors_of,
    geometric_mean,
    means_of,
    medians,
    newest,
    pairs,
    promises,
    rank_of,
    singles,
    standings,
)

ERROR = st.floats(1e-3, 1e3)


def row(name: str, seed: int, model: str, error: float, **more: Any) -> dict[str, Any]:
    """A line of results."""
    code = {"code": "c1"} if model == "tidemill" else {}
    return {"set": name, "seed": seed, "model": model, "error": error, "rows": "r1", "task": "binary", **code, **more}


def table(**sets: dict[str, list[float]]) -> list[dict[str, Any]]:
    """Lines from errors by set, model and seed."""
    return [
        row(name, seed, model, error)
        for name, models in sets.items()
        for model, errors in models.items()
        for seed, error in enumerate(errors)
    ]


def found(rows: list[dict[str, Any]]) -> dict[str, Standing]:
    errors = errors_of(rows, "error")
    models = singles(errors)
    return {standing.model: standing for standing in standings(means_of(errors, models), models)}


def test_standings_of_a_case_worked_by_hand() -> None:
    by_model = found(table(one={"a": [1.0, 3.0], "b": [4.0, 4.0]}, two={"a": [9.0, 9.0], "b": [1.0, 1.0]}))
    a, b = by_model["a"], by_model["b"]
    assert (a.ratio, b.ratio) == (pytest.approx(3.0), pytest.approx(math.sqrt(2)))  # sqrt(1 * 9), sqrt(2 * 1)
    assert (a.to_others, b.to_others) == (pytest.approx(math.sqrt(4.5)), pytest.approx(math.sqrt(2 / 9)))
    assert a.improvable == pytest.approx((0 + 8 / 9) / 2)
    assert (a.worst, a.worst_set, b.worst_set) == (pytest.approx(9), "two", "one")
    assert (a.rank, b.rank, a.wins, b.wins, a.sets) == (1.5, 1.5, 1, 1, 2)


@given(st.lists(st.tuples(ERROR, ERROR, ERROR), min_size=1, max_size=6), st.floats(0.01, 100))
def test_standings_depend_neither_on_the_unit_nor_on_the_order(sets: list[tuple[float, ...]], unit: float) -> None:
    rows = table(**{f"s{i}": {m: [e] for m, e in zip("abc", errors, strict=True)} for i, errors in enumerate(sets)})
    other = [{**line, "error": line["error"] * unit} for line in rows]
    random.Random(0).shuffle(other)
    left, right = found(rows), found(other)
    for model in "abc":
        assert left[model].ratio == pytest.approx(right[model].ratio, rel=1e-9)
        assert left[model].ratio >= 1 or left[model].ratio == pytest.approx(1)
        assert left[model].improvable == pytest.approx(right[model].improvable, abs=1e-9)
    assert sum(standing.rank for standing in left.values()) == pytest.approx(6)
    assert sum(standing.wins for standing in left.values()) >= len(sets)


def test_only_seeds_that_every_single_model_has_are_averaged() -> None:
    rows = table(one={"a": [1.0, 100.0], "b": [2.0]})
    assert means_of(errors_of(rows, "error"), ["a", "b"]) == {"one": {"a": 1.0, "b": 2.0}}


def test_a_set_that_a_model_lacks_does_not_count() -> None:
    by_model = found(table(one={"a": [1.0], "b": [2.0]}, two={"a": [50.0]}))
    assert by_model["a"].sets == 1
    assert by_model["a"].ratio == 1.0


def test_an_ensemble_is_beside_the_single_models_and_moves_none_of_them() -> None:
    rows = table(one={"tidemill": [2.0], "b": [4.0], "autogluon": [1.0]}, two={"tidemill": [3.0], "b": [1.0]})
    errors = errors_of(rows, "error")
    assert singles(errors) == ["b", "tidemill"]
    assert found(rows) == found([line for line in rows if line["model"] != "autogluon"])
    both = beside(errors, "autogluon", ["b", "tidemill"])
    assert both is not None
    ensemble, ours = both
    assert ours is not None
    assert (ensemble.sets, ensemble.ratio, ensemble.rank, ensemble.wins) == (1, 0.5, 1.0, 1)
    assert (ours.model, ours.sets, ours.ratio) == ("tidemill", 1, 1.0)
    assert beside(errors, "nobody", ["b"]) is None
    assert beside(errors, "autogluon", []) is None  # which ran alone: there is nothing to stand beside


def test_equal_errors_share_their_ranks() -> None:
    assert rank_of(1.0, [1.0, 1.0, 2.0]) == 1.5
    assert rank_of(2.0, [1.0, 1.0, 2.0]) == 3.0
    assert rank_of(0.5, [1.0, 1.0, 2.0]) == 1.0
    assert rank_of(1.5, [1.0, 2.0]) == 2.0


def test_a_perfect_score_makes_no_ratio_endless() -> None:
    by_model = found(table(one={"a": [0.0], "b": [0.5]}))
    assert by_model["a"].ratio == 1.0
    assert math.isfinite(by_model["b"].ratio)


@given(st.lists(st.floats(1e-3, 1e3), min_size=1))
def test_the_geometric_mean_lies_between_least_and_greatest(values: list[float]) -> None:
    assert min(values) * (1 - 1e-9) <= geometric_mean(values) <= max(values) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("ours", "verdict"),
    [
        ([1.1, 1.2, 1.3], "WORSE beyond noise"),  # differences .1 .2 .3: mean .2, standard error .058
        ([0.9, 0.8, 0.7], "better beyond noise"),
        ([1.4, 0.9, 1.3], "level"),
        ([1.0, 1.0, 1.0], "level"),
        ([5.0], "one seed"),
    ],
)
def test_worse_means_by_more_than_two_standard_errors(ours: list[float], verdict: str) -> None:
    rows = table(one={"tidemill": ours, "linear": [1.0, 1.0, 1.0]})
    assert [pair.verdict for pair in pairs(errors_of(rows, "error"))] == [verdict]


def test_the_standard_error_is_that_of_paired_differences() -> None:
    rows = table(one={"tidemill": [10.1, 20.2, 30.3, 9.0], "linear": [10.0, 20.0, 30.0]})
    (pair,) = pairs(errors_of(rows, "error"))
    assert (pair.seeds, pair.difference) == (3, pytest.approx(0.2))
    assert pair.noise == pytest.approx(0.1 / math.sqrt(3))


def test_the_newest_line_of_a_cell_counts_and_failures_do_not() -> None:
    failed = {name: value for name, value in row("one", 0, "a", 9.0).items() if name != "error"} | {"failed": "exit 1"}
    assert [line["error"] for line in newest([row("one", 0, "a", 1.0), row("one", 0, "a", 2.0), failed])] == [2.0]


def test_results_of_another_division_of_the_rows_do_not_count() -> None:
    rows = [row("one", 0, "a", 1.0), row("one", 0, "b", 2.0, rows="r2"), row("two", 0, "a", 3.0)]
    assert [line["error"] for line in newest(rows)] == [2.0, 3.0]


def test_results_of_older_code_do_not_count_unless_asked_for() -> None:
    rows = [row("one", 0, "tidemill", 1.0), row("two", 0, "tidemill", 2.0, code="c2"), row("one", 0, "a", 3.0)]
    assert [line["error"] for line in newest(rows)] == [2.0, 3.0]
    assert len(newest(rows, any_code=True)) == 3


def test_log_loss_leaves_regressions_out() -> None:
    rows = [row("one", 0, "a", 0.1, log_loss=0.5), row("two", 0, "a", 9.0, rmse=9.0)]
    assert errors_of(rows, "log_loss") == {"one": {"a": {0: 0.5}}}


def test_costs_are_medians_over_the_cells_of_a_model() -> None:
    rows = [row("one", seed, "a", 1.0, cpu_s=cpu) for seed, cpu in enumerate((1.0, 100.0, 3.0))]
    assert medians(rows, ["cpu_s"]) == {"a": [3, 3.0]}


def test_every_table_is_told_and_kept_only_on_request(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    import results
    from tables.report import tell

    monkeypatch.setattr(results, "RESULTS", tmp_path / "RESULTS.md")
    spent = {"cpu_s": 1.0, "fit_cpu_s": 1.0, "wall_s": 1.0, "memory_mib": 1.0, "log_loss": 0.5, "version": "a 1"}
    rows = [{**line, **spent} for line in table(titanic={m: [0.1, 0.2] for m in ("tidemill", "linear", "autogluon")})]
    tell(rows)
    told = capsys.readouterr().out
    assert not results.RESULTS.exists()
    for words in ("tidemill against linear", "autogluon", "mean log loss", "median cost", "titanic"):
        assert words in told
    tell(rows, keep=True)
    assert results.RESULTS.read_text().count("\n## ") == 7
    capsys.readouterr()
    tell([line for line in rows if line["model"] == "autogluon"])
    assert "0.15" in capsys.readouterr().out  # its mean, though nothing is there to stand beside


def test_coverage_and_calibration_are_means_over_the_seeds_of_the_own_cells() -> None:
    rows = [
        row("homes", 0, "tidemill", 1.0, coverage=0.88),
        row("homes", 1, "tidemill", 1.0, coverage=0.92),
        row("mails", 0, "tidemill", 1.0, coverage=0.9, ece=0.03, ece_floor=0.02),
        row("mails", 0, "linear", 1.0, ece=0.5, ece_floor=0.02),
    ]
    homes, mails = promises(rows)
    assert (homes.seeds, homes.coverage, homes.ece) == (2, pytest.approx(0.9), None)
    assert homes.noise == pytest.approx(0.02)
    assert (mails.seeds, mails.ece, mails.floor, mails.noise) == (1, 0.03, 0.02, None)
