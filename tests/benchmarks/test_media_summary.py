"""The arithmetic of the comparison on texts and pictures: whose seeds count, what an error is, when a target is met."""

from __future__ import annotations

import csv
import math
import random
import statistics
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.benchmarks.media.sets import LARGEST, PICTURES, TEXTS, sample, source_of, spec_of
from tests.benchmarks.media.summary import beats, by_seed, common, mean, newest, reaches, table, within_error

from tidemill.core.spec import Spec

ACCURACY = st.floats(0, 1)


def row(model: str, seed: int, accuracy: float, name: str = "one", **more: Any) -> dict[str, Any]:
    """A line of results."""
    ours = {"code": "c1", "when": "2020-01-01"} if model == "tidemill" else {}
    facts = {"fitted": 800, "classes": 2, "fit_cpu_s": 1.0}
    return {"set": name, "seed": seed, "model": model, "accuracy": accuracy, **facts, **ours, **more}


def rows(**models: list[float]) -> list[dict[str, Any]]:
    """A seed for every place of a list."""
    return [row(model, seed, value) for model, values in models.items() for seed, value in enumerate(values)]


@given(st.lists(ACCURACY, min_size=2, max_size=9))
def test_a_mean_has_the_standard_error_of_its_seeds(values: list[float]) -> None:
    found = mean(values)
    assert found is not None
    assert min(values) - 1e-12 <= found.value <= max(values) + 1e-12
    assert found.error == pytest.approx(statistics.stdev(values) / math.sqrt(len(values)))


def test_one_seed_has_no_standard_error_and_none_has_no_mean() -> None:
    single = mean([0.5])
    assert single is not None and str(single) == "0.5000"
    assert mean([]) is None
    assert within_error(rows(tidemill=[0.9], tfidf=[0.1]), "one", "tidemill", "tfidf") == "one seed"


def test_one_standard_error_below_is_enough_and_more_is_not() -> None:
    theirs = [0.80, 0.82, 0.84]
    error = statistics.stdev(theirs) / math.sqrt(3)
    near, far = 0.82 - 0.9 * error, 0.82 - 1.1 * error
    assert within_error(rows(tidemill=[near] * 3, tfidf=theirs), "one", "tidemill", "tfidf") == "yes"
    assert within_error(rows(tidemill=[far] * 3, tfidf=theirs), "one", "tidemill", "tfidf") == "NO"
    assert within_error(rows(tidemill=[far] * 3), "one", "tidemill", "tfidf") == "-"


def test_only_seeds_that_all_have_are_compared() -> None:
    found = rows(tidemill=[0.5, 0.5, 1.0], tfidf=[0.6, 0.6])
    assert common(found, "one", ("tidemill", "tfidf")) == {0, 1}
    assert beats(found, "one", "tidemill", ("tfidf",)) == "NO"
    assert beats(rows(tidemill=[0.7, 0.7], tfidf=[0.6, 0.6]), "one", "tidemill", ("tfidf",)) == "yes"
    assert beats(found, "other", "tidemill", ("tfidf",)) == "-"


def test_a_draw_beats_nobody() -> None:
    assert beats(rows(a=[0.5, 0.6], b=[0.6, 0.5]), "one", "a", ("b",)) == "NO"


def test_a_target_met_exactly_is_met_and_one_not_measured_is_not_told() -> None:
    assert "met with" in reaches(rows(a=[0.8, 0.8]), "one", "a", 0.8)
    assert "MISSED" in reaches(rows(a=[0.8, 0.79]), "one", "a", 0.8)
    assert reaches([], "one", "a", 0.8) == ""


def test_the_newest_result_of_the_newest_code_counts() -> None:
    old, new = row("tidemill", 0, 0.1), row("tidemill", 1, 0.2, code="c2", when="2021-01-01")
    again = [row("tfidf", 0, 0.3), row("tfidf", 0, 0.4), {"set": "one", "seed": 0, "model": "svm", "failed": "exit 1"}]
    found = newest([old, new, *again], ["one"], [0, 1])
    assert {(one["model"], one["accuracy"]) for one in found} == {("tidemill", 0.2), ("tfidf", 0.4)}
    assert newest([old, new, *again], ["other"], [0, 1]) == []
    assert by_seed(found, "one", "tfidf") == {0: 0.4}


def test_a_line_tells_rows_seeds_means_and_seconds_and_shows_the_best() -> None:
    found = rows(tidemill=[0.9, 0.9], tfidf=[0.8, 0.8])
    (line,) = table(found, ["one", "without results"], ["tidemill", "tfidf", "svm"])
    assert line[:4] == ["one", "800", "2", "2"]
    assert line[4:] == ["**0.9000 ± 0.0000**", "0.8000 ± 0.0000", "-", "1 / 1 / -"]


# --- the sets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*TEXTS, *PICTURES])
def test_what_is_asked_of_a_set_is_a_specification_and_a_seed_is_a_split(name: str) -> None:
    first, second = (Spec.from_json(spec_of(name, seed)) for seed in (0, 1))
    assert first.split.seed != second.split.seed
    assert first.data == second.data
    assert first.split.test == 0.2


def test_a_large_set_is_sampled_the_same_every_time(tmp_path: Path) -> None:
    folder = tmp_path / "news20"
    folder.mkdir()
    with (folder / "train.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["text", "label"], *([f"text {at}", at % 3] for at in range(LARGEST + 50))])
    source = source_of(folder)
    first, second = (sample(source, tmp_path / f"{turn}.csv") for turn in (1, 2))
    assert first.read_bytes() == second.read_bytes()
    assert len(first.read_text().splitlines()) == LARGEST + 1
    random.seed(9)  # what a caller did with the shared generator does not matter
    assert sample(source, tmp_path / "3.csv").read_bytes() == first.read_bytes()


def test_a_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match="write the set there first"):
        source_of(tmp_path)
