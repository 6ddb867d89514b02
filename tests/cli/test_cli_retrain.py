"""tidemill retrain and schedule: what came of it, in words and as JSON, with an exit code."""

from __future__ import annotations

from typing import Any

import pytest

from tidemill.core.attempts import refused, started

ROWS = {"base": 3000, "labelled": 120, "unmatched": 4, "hidden": 0}
REASON = {"code": "NOTHING_NEW", "message": "There are no new rows.", "remedy": "Upload newer data."}


@pytest.fixture
def retrain(run: Any) -> Any:
    """Plays Retrain: the next poll finds its answer."""

    def answer(state: str) -> None:
        def step(_: float = 0.0) -> None:
            message = run.plane.woken.pop() if run.plane.woken else None
            if message and state == "STARTED":
                started("income", run.plane.registry, "hand", f"0123{message['ask']}", rows=ROWS, ask=message["ask"])
            elif message:
                refused("income", run.plane.registry, "hand", REASON, ask=message["ask"])

        run.pipeline.step = step

    return answer


def test_a_training_that_starts_says_from_what(run: Any, retrain: Any) -> None:
    retrain("STARTED")
    shown = run("retrain", "income", "--why", "new prices")
    assert shown.exit_code == 0
    for text in ("3000 rows and 120 labelled ones", "upload 0123", "4 labels belong to requests"):
        assert text in shown.stdout
    assert run.json("retrain", "income")["retrain"]["rows"]["labelled"] == 120


def test_nothing_to_learn_is_a_refusal_with_its_remedy(run: Any, retrain: Any) -> None:
    retrain("REFUSED")
    shown = run("retrain", "income")
    assert shown.exit_code == 4
    assert "NOTHING_NEW" in shown.stdout and "Upload newer data." in shown.stdout


def test_earlier_wishes_are_listed_and_nothing_is_started(run: Any) -> None:
    for _ in range(3):
        refused("income", run.plane.registry, "schedule", REASON)
    shown = run("retrain", "income", "--list")
    assert shown.exit_code == 0 and "the clock" in shown.stdout and "2 times more" in shown.stdout
    assert not run.plane.woken


def test_the_clocks_are_shown_paused_and_let_go_on(run: Any) -> None:
    run.plane.registry.run("income", "r-two")["spec"] = {"schedule": {"retrain": "rate(7 days)", "min_new_labels": 50}}
    shown = run("schedule", "income").stdout
    assert "rate(7 days), on drift and with every 50 new labels" in shown and "Paused" not in shown
    assert "--resume" in run("schedule", "income", "--pause").stdout
    assert run.json("schedule", "income")["paused"] is True
    assert "Paused" not in run("schedule", "income", "--resume").stdout


def test_a_run_that_was_trained_again_says_why(run: Any) -> None:
    item = next(item for item in run.plane.registry.rows["income"]["runs"] if item["run"] == "r-two")
    item |= {"run": "r-00000000beef", "trigger": {"why": "drift", "labelled": 120}}
    assert "Trained again because of drift, with 120 labelled rows." in run("runs", "r-00000000beef").stdout
