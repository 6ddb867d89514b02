"""What is tried: the defaults first, what the user fixed everywhere, and records that are plain JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from tests.training.populations import TASKS, Problem

from tidemill.training import trials
from tidemill.training.config import SEARCHED
from tidemill.training.families import FAMILIES, family, grid
from tidemill.training.trials import Trial

Make = Callable[..., Problem]


def made(case: Problem, name: str, **fields: object) -> list[Trial]:
    return trials.trials_of(family(name), case.changed(**{"fixed": (), **fields}).config, len(case.y_n))


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize("task", TASKS)
def test_every_family_offers_different_settings_of_the_known_names(name: str, task: str) -> None:
    offered = family(name).trials(task, 1000)
    assert all(set(settings) == set(SEARCHED) for settings in offered)
    assert len({tuple(settings.items()) for settings in offered}) == len(offered) > 1
    assert all(settings["learning_rate"] > 0 and 0 <= settings["dropout"] < 1 for settings in offered)
    assert all(min(settings.values()) >= 0 for settings in offered)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_first_trial_is_the_default_and_one_configuration_is_only_it(make_problem: Make, name: str) -> None:
    case = make_problem("binary")
    only = made(case, name, configurations=1)
    assert [trial.settings for trial in only] == [family(name).trials("binary", len(case.y_n))[0]]
    assert only[0].id == f"{name}-1"


@pytest.mark.parametrize("name", FAMILIES)
def test_the_number_asked_for_is_tried_and_nothing_twice(make_problem: Make, name: str) -> None:
    for count in (1, 3, 5):
        found = made(make_problem("binary"), name, configurations=count)
        assert [trial.id for trial in found] == [f"{name}-{at}" for at in range(1, count + 1)]
        assert len({tuple(trial.settings.items()) for trial in found}) == count


@pytest.mark.parametrize("name", FAMILIES)
def test_what_is_fixed_is_in_every_trial_and_trials_it_makes_equal_are_one(make_problem: Make, name: str) -> None:
    fixed = {"learning_rate": 0.123, "weight_decay": 0.0, "l1": 0.5, "dropout": 0.25, "width": 12}
    case = make_problem("binary")
    some = made(case, name, fixed=(("l1", 0.5), ("dropout", 0.25)))
    assert all(trial.settings["l1"] == 0.5 and trial.settings["dropout"] == 0.25 for trial in some)
    assert len({tuple(trial.settings.items()) for trial in some}) == len(some)
    assert [trial.settings for trial in made(case, name, fixed=tuple(fixed.items()))] == [fixed]


def test_a_fixed_learning_rate_is_taken_at_its_word_whatever_the_optimizer(make_problem: Make) -> None:
    case = make_problem("binary")
    plain = made(case, "mlp", optimizer="sgd")
    assert plain[0].settings["learning_rate"] > made(case, "mlp")[0].settings["learning_rate"]
    told = made(case, "mlp", optimizer="sgd", fixed=(("learning_rate", 0.01),))
    assert {trial.settings["learning_rate"] for trial in told} == {0.01}


def test_no_more_are_kept_than_were_tried() -> None:
    for name in FAMILIES:
        for folds, kept in ((1, trials.KEPT), (4, trials.KEPT_FOLDED)):
            assert [trials.kept_of(name, 1, folds), trials.kept_of(name, 0, folds)] == [1, 0]
            assert trials.kept_of(name, 1000, folds) == kept[name]


def test_knobs_stand_in_the_order_of_the_trials() -> None:
    settings = {"learning_rate": 0.1, "weight_decay": 0.2, "l1": 0.3, "dropout": 0.4, "width": 5}
    knobs = trials.knobs_of([Trial("a", "mlp", settings), Trial("b", "mlp", {**settings, "l1": 0.0})], 0.7)
    assert np.allclose(knobs.learning_rate, 0.1)
    assert np.allclose(knobs.l1, [0.3, 0.0])
    assert np.allclose(knobs.momentum, 0.7)
    assert knobs.bend is None
    assert all(knob.shape == (2,) and knob.dtype == np.float32 for knob in knobs[:-1])


def test_a_trial_tells_of_its_rungs_and_epochs_and_comes_back_from_json() -> None:
    trial = Trial("mlp-1", "mlp", {"learning_rate": 0.1})
    trial.passed(1, 0.6)
    trial.ended([(0.5, 0.6), (0.4, 0.55)], 0.55)
    assert trial.curve[1] == {"epoch": 2, "train_loss": 0.4, "validation_loss": 0.55}
    assert trial.rungs == [{"epochs": 1, "loss": 0.6}, {"epochs": 2, "loss": 0.55}]
    assert trial.loss == 0.55
    assert Trial(**json.loads(json.dumps(trial.json(), allow_nan=False))) == trial


@pytest.mark.parametrize("loss", [math.inf, math.nan])
def test_a_trial_without_a_finite_loss_has_diverged_and_says_none(loss: float) -> None:
    trial = Trial("mlp-1", "mlp", {})
    trial.ended([(math.nan, math.inf)], loss)
    assert (trial.state, trial.loss) == (trials.DIVERGED, None)
    assert trial.curve == [{"epoch": 1, "train_loss": None, "validation_loss": None}]
    json.dumps(trial.json(), allow_nan=False)


def test_choices_of_different_lengths_meet_in_all_combinations() -> None:
    found = grid({"a": 9, "b": 9, "c": 9}, a=(1, 2), b=(1, 2, 3))
    assert found[0] == {"a": 9, "b": 9, "c": 9}
    assert {(some["a"], some["b"]) for some in found[1:]} == {(a, b) for a in (1, 2) for b in (1, 2, 3)}
    assert all(some["c"] == 9 for some in found)
