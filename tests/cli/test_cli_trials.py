"""How a run's model was chosen, on a terminal: the sentence, the parts, the trials, and all of it as JSON."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.doubles.plane import ARTIFACTS, SEARCH

from tidemill.cli.trials import WIDTH, spark

RUN = "r-00000000cafe"


@pytest.fixture
def ready(run: Any) -> Any:
    """The command against a plane whose second run has an id of the usual kind."""
    row = run.plane.registry.rows["income"]
    row["runs"][1]["run"] = RUN
    return run


def many(run: Any, count: int) -> None:
    """Give the version so many trials, the last of them the best."""
    trials = [{**SEARCH["trials"][0], "id": f"tabm-{at}", "loss": 0.5 - at / 1000} for at in range(count)]
    run.plane.artefact("bundles/income/r-two/search.json", {**SEARCH, "trials": trials})


def test_a_ready_run_tells_why_its_model_won_and_what_it_is_made_of(ready: Any) -> None:
    shown = ready("runs", RUN).stdout
    assert f"Why this model: {SEARCH['winner']}" in shown
    assert "75%" in shown and "25%" in shown
    for trial in SEARCH["trials"]:
        assert trial["id"] in shown
    assert "in the model" in shown and "stopped" in shown
    assert "0.9 at 8" in shown, "a stopped trial has the loss it was stopped at"


def test_only_settings_that_differ_are_shown(ready: Any) -> None:
    shown = ready("runs", RUN).stdout
    assert "learning_rate=0.002" in shown and "dropout=0.1" in shown and "epochs=24" not in shown


def test_trials_stand_by_loss_ten_of_them_or_all(ready: Any) -> None:
    many(ready, 14)
    shown = ready("runs", RUN).stdout
    ids = [line.split()[0] for line in shown.splitlines() if line.startswith("tabm-") and "%" not in line.split()[1]]
    assert ids == [f"tabm-{at}" for at in range(13, 3, -1)]
    assert "4 more: --all" in shown
    shown = ready("runs", RUN, "--all").stdout
    assert "tabm-0 " in shown and "more" not in shown


def test_json_has_the_run_and_all_that_was_tried(ready: Any) -> None:
    many(ready, 14)
    found = ready.json("runs", RUN)
    assert found["state"] == "READY" and len(found["search"]["trials"]) == 14


def test_a_version_without_a_search_is_shown_as_before(ready: Any) -> None:
    del ready.plane.s3.objects[ARTIFACTS, "bundles/income/r-two/search.json"]
    shown = ready("runs", RUN).stdout
    assert "READY" in shown and "Why this model" not in shown
    assert ready.json("runs", RUN)["search"] is None


def test_a_running_run_tells_how_far_it_is(ready: Any) -> None:
    row = ready.plane.registry.rows["income"]["runs"][1]
    row |= {"state": "RUNNING", "version": None}
    row["progress"] = {"stage": "search", "step": 12, "steps": 40, "message": "halt 2 of 3, best tabm-3 at 0.31"}
    assert "Now: search 12/40 halt 2 of 3, best tabm-3 at 0.31" in ready("runs", RUN).stdout
    row["progress"] = {"stage": "features"}
    assert "Now: features\n" in ready("runs", RUN).stdout
    assert ready.json("runs", RUN)["search"] is None


@given(st.lists(st.floats(-1e6, 1e6), max_size=200), st.floats(-10, 10), st.floats(0, 10))
def test_a_curve_takes_one_line_whatever_its_losses(losses: list[float], low: float, more: float) -> None:
    assert len(spark(losses, low, low + more)) == min(WIDTH, len(losses))


def test_large_losses_are_written_as_people_write_them(ready: Any) -> None:
    trial = {**SEARCH["trials"][0], "loss": 11_213.7}
    ready.plane.artefact("bundles/income/r-two/search.json", {**SEARCH, "trials": [trial]})
    assert "11,210" in ready("runs", RUN).stdout


def test_a_falling_loss_falls() -> None:
    assert spark([8.0, 7, 6, 5, 4, 3, 2, 1], 1.0, 8.0) == "█▇▆▅▄▃▂▁"
    assert spark([5.0, 5.0], 5.0, 5.0) == "▁▁"
