"""A search keeps what held-out rows prefer, gives up the rest early, records all of it, and answers with the blend."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from tests.training.populations import TASKS, Problem, near, same

from tidemill.core.errors import TidemillError
from tidemill.core.progress import Progress
from tidemill.training import blend, loop
from tidemill.training.checkpoint import Interrupted
from tidemill.training.evaluate import in_blocks
from tidemill.training.families import FAMILIES
from tidemill.training.search import Found
from tidemill.training.trials import BLENDED, DIVERGED, KEPT_ON, STOPPED, kept_of

Make = Callable[..., Problem]
STATES = {BLENDED, KEPT_ON, STOPPED, DIVERGED}
GOOD = {"learning_rate": 1e-2, "weight_decay": 0.0, "l1": 0.0, "dropout": 0.0, "width": 8}
WILD = {**GOOD, "learning_rate": 1e30}


def case_of(make: Make, task: str, **fields: Any) -> Problem:
    """Three configurations: with a rung for classes a and b, all to the end for other tasks."""
    rung = 2 if task == "binary" else 4
    return make(task).changed(**{"epochs": 4, "patience": 4, "rung_epochs": rung, **fields})


@pytest.fixture(scope="module")
def cases(make_problem: Make) -> dict[str, Problem]:
    return {task: case_of(make_problem, task) for task in TASKS}


@pytest.fixture(scope="module")
def all_found(cases: dict[str, Problem]) -> dict[str, Found]:
    return {task: case.found() for task, case in cases.items()}


def held_loss(case: Problem, found: Found) -> float:
    return blend.loss_of(case.config.task, case.y_n[found.held_n], found.answer_nk)


# --- the record -------------------------------------------------------------------------------------------------------


def check_record(record: dict[str, Any]) -> None:
    """The contract of search.json."""
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert set(record) == {"format", "winner", "score", "folds", "loss", "trials", "blend", "compilations"}
    assert record["format"] == 1
    assert record["score"] in ("validation log loss", "validation RMSE")
    ids = [trial["id"] for trial in record["trials"]]
    assert len(set(ids)) == len(ids)
    for trial in record["trials"]:
        check_trial(trial)
    shares = {trial["id"]: trial["share"] for trial in record["trials"] if trial["share"]}
    assert {part["id"]: part["share"] for part in record["blend"]} == shares
    assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
    assert all(part["id"] in record["winner"] for part in record["blend"])
    assert "\n" not in record["winner"]
    assert 1 <= record["compilations"] <= 2 * len({trial["family"] for trial in record["trials"]})


def check_trial(trial: dict[str, Any]) -> None:
    assert set(trial) == {"id", "family", "settings", "rungs", "loss", "state", "share", "curve"}
    assert trial["family"] in FAMILIES
    assert trial["id"].startswith(trial["family"] + "-")
    assert set(trial["settings"]) == set(GOOD)
    assert trial["state"] in STATES
    assert (trial["share"] > 0) == (trial["state"] == BLENDED)
    assert (trial["loss"] is None) == (trial["state"] == DIVERGED)
    assert [entry["epoch"] for entry in trial["curve"]] == list(range(1, len(trial["curve"]) + 1))
    assert all(set(entry) == {"epoch", "train_loss", "validation_loss"} for entry in trial["curve"])
    assert trial["rungs"][-1] == {"epochs": len(trial["curve"]), "loss": trial["loss"]}


@pytest.mark.parametrize("task", TASKS)
def test_the_record_keeps_its_contract(all_found: dict[str, Found], task: str) -> None:
    record = all_found[task].record
    check_record(record)
    assert record["folds"] == 1
    assert record["score"] == ("validation RMSE" if task == "regression" else "validation log loss")
    assert {trial["family"] for trial in record["trials"]} == set(FAMILIES)


@pytest.mark.parametrize("task", TASKS)
def test_the_recorded_loss_is_that_of_the_answers(
    cases: dict[str, Problem], all_found: dict[str, Found], task: str
) -> None:
    assert all_found[task].record["loss"] == pytest.approx(held_loss(cases[task], all_found[task]), rel=1e-6)


def test_a_trials_loss_is_the_lowest_of_its_curve(all_found: dict[str, Found]) -> None:
    for trial in all_found["binary"].record["trials"]:
        if trial["family"] != "mlp":  # whose curve is a mean over copies, and each copy has a best of its own
            assert trial["loss"] == min(entry["validation_loss"] for entry in trial["curve"])


# --- who goes on ------------------------------------------------------------------------------------------------------


def test_the_worse_are_given_up_at_the_first_rung_by_their_held_loss(all_found: dict[str, Found]) -> None:
    for name in FAMILIES:
        tried = [trial for trial in all_found["binary"].record["trials"] if trial["family"] == name]
        stopped = [trial for trial in tried if trial["state"] == STOPPED]
        going = [trial for trial in tried if trial["state"] != STOPPED]
        assert len(going) == kept_of(name, len(tried), folds=1)
        assert all(len(trial["rungs"]) == 1 and len(trial["curve"]) == 2 for trial in stopped)
        assert all(len(trial["curve"]) == 4 for trial in going)
        if stopped:
            firsts = [trial["rungs"][0]["loss"] for trial in going]
            assert max(firsts) <= min(trial["loss"] for trial in stopped)
            assert all(trial["rungs"][1]["loss"] <= trial["rungs"][0]["loss"] for trial in going)
    assert any(trial["state"] == STOPPED for trial in all_found["binary"].record["trials"])


def test_giving_up_others_changes_nothing_for_those_who_go_on(make_problem: Make, all_found: dict[str, Found]) -> None:
    alone = case_of(make_problem, "binary", families=("linear",), rung_epochs=4).found()
    straight = {trial["id"]: trial for trial in alone.record["trials"]}
    for trial in all_found["binary"].record["trials"]:
        if trial["family"] == "linear" and trial["state"] != STOPPED:
            found = [entry["validation_loss"] for entry in trial["curve"]]
            expected = [entry["validation_loss"] for entry in straight[trial["id"]]["curve"]]
            assert found == pytest.approx(expected, rel=1e-5)


def test_what_a_fold_holds_out_tells_its_members_nothing_of_the_target(make_problem: Make) -> None:
    case = make_problem("regression").changed(folds=3, families=("tabm",))
    held = case.pool.folds[0][1]
    other_n = case.y_n.copy()
    other_n[held] = other_n[held][::-1] * 3
    seen, changed = (some.search()._seen("tabm") for some in (case, dataclasses.replace(case, y_n=other_n)))
    assert len(seen) == 3
    assert np.array_equal(seen[0].edges_mt, changed[0].edges_mt)
    assert not np.array_equal(seen[1].edges_mt, changed[1].edges_mt)
    assert {some.numbers for some in (*seen, *changed)} == {seen[0].numbers}


def test_one_configuration_or_a_short_run_needs_no_rung(make_problem: Make) -> None:
    for fields in ({"configurations": 1}, {"epochs": 2}):
        record = case_of(make_problem, "binary", families=("linear",), **fields).found().record
        assert all(len(trial["rungs"]) == 1 for trial in record["trials"])
        assert not any(trial["state"] == STOPPED for trial in record["trials"])


# --- divergence -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["mlp", "tabm"])
def test_what_diverges_is_told_and_never_answers(
    make_problem: Make, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    tried = [WILD, GOOD, {**WILD, "dropout": 0.1}]
    monkeypatch.setattr(f"tidemill.training.families.{name}.trials", lambda task, rows: tried)
    found = case_of(make_problem, "binary", families=(name,), fixed=(("width", 8),)).found()
    record = found.record
    check_record(record)
    assert [trial["state"] for trial in record["trials"]] == [DIVERGED, BLENDED, DIVERGED]
    assert [trial["share"] for trial in record["trials"]] == [0, 1, 0]
    assert [part.id for part in found.parts] == [f"{name}-2"]
    assert np.isfinite(found.answer_nk).all()


def test_where_all_diverges_there_is_no_model_but_a_remedy(make_problem: Make) -> None:
    fixed = (("learning_rate", 1e30), ("width", 8))
    with pytest.raises(TidemillError, match="diverged") as caught:
        case_of(make_problem, "regression", families=("mlp",), fixed=fixed).found()
    assert caught.value.code == "DIVERGED"
    assert "learning_rate" in caught.value.remedy


# --- what answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", TASKS)
def test_the_parts_answer_as_the_search_says_they_do(
    cases: dict[str, Problem], all_found: dict[str, Found], task: str
) -> None:
    case, found = cases[task], all_found[task]
    assert sum(part.share for part in found.parts) == pytest.approx(1)
    assert near(case.model(found).raw_answers(case.x_nf[found.held_n]), found.answer_nk)
    assert np.array_equal(found.held_n, case.pool.folds[0][1])


@pytest.mark.parametrize("task", TASKS)
def test_trying_everything_is_never_worse_than_the_linear_model(
    cases: dict[str, Problem], all_found: dict[str, Found], task: str
) -> None:
    linear = cases[task].changed(families=("linear",), blend=False)
    assert held_loss(cases[task], all_found[task]) <= held_loss(linear, linear.found()) * (1 + 1e-9)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_alone_makes_a_model_of_every_task(cases: dict[str, Problem], task: str, name: str) -> None:
    case = cases[task].changed(families=(name,))
    found = case.found()
    check_record(found.record)
    assert {trial["family"] for trial in found.record["trials"]} == {name}
    answer_nk = case.model(found).answers(case.x_nf)
    assert answer_nk.shape == (len(case.y_n), case.config.outputs)
    if task != "regression":
        assert np.allclose(answer_nk.sum(1), 1, atol=1e-5)
        assert answer_nk.min() >= 0


@pytest.mark.parametrize("task", TASKS)
def test_without_blending_exactly_one_part_answers_and_it_is_the_best(cases: dict[str, Problem], task: str) -> None:
    case = cases[task].changed(blend=False)
    found = case.found()
    assert [part.share for part in found.parts] == [1.0]
    going = [trial for trial in found.record["trials"] if trial["state"] in (BLENDED, KEPT_ON)]
    assert sum(trial["state"] == BLENDED for trial in going) == 1
    assert len(going) > 1
    check_record(found.record)


def test_what_the_user_fixed_is_in_every_trial(make_problem: Make) -> None:
    fixed = {"learning_rate": 0.02, "weight_decay": 0.01, "width": 8}
    record = case_of(make_problem, "binary", fixed=tuple(fixed.items())).found().record
    assert all(trial["settings"].items() >= fixed.items() for trial in record["trials"])


# --- folds ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folded(make_problem: Make) -> tuple[Problem, Found]:
    case = case_of(make_problem, "binary", folds=3, families=("linear", "tabm"))
    return case, case.found()


def test_with_folds_every_row_is_answered_by_members_that_have_not_seen_it(folded: tuple[Problem, Found]) -> None:
    case, found = folded
    check_record(found.record)
    assert found.record["folds"] == 3
    assert np.array_equal(found.held_n, np.arange(len(case.y_n)))
    for turn, (_, held) in enumerate(case.pool.folds):
        answer_nk = sum(
            part.share * in_blocks(part.kind, one_of(part.weights, turn), found.scale, case.x_nf[held])
            for part in found.parts
        )
        assert near(answer_nk, found.answer_nk[held])


def one_of(weights: Any, turn: int) -> Any:
    return jax.tree.map(lambda leaf: leaf[turn : turn + 1], weights)


def test_with_folds_the_first_rung_costs_one_fold_only(folded: tuple[Problem, Found]) -> None:
    for trial in folded[1].record["trials"]:
        epochs = [rung["epochs"] for rung in trial["rungs"]]
        assert epochs == ([2] if trial["state"] == STOPPED else [2, 4])


def test_a_fold_does_not_learn_from_the_rows_it_holds_out(make_problem: Make) -> None:
    case = case_of(make_problem, "binary", folds=3, families=("linear",), configurations=2)
    rows = case.pool.folds[0][1][:40]
    flipped_n = case.y_n.copy()
    flipped_n[rows] = 1 - flipped_n[rows]
    searches = [Problem(case.x_nf, y_n, case.config).search() for y_n in (case.y_n, flipped_n)]
    for search in searches:
        search.run()
    left, right = (search.lines["linear"].state.weights for search in searches)
    assert same(one_of(left, 0), one_of(right, 0))
    assert not same(one_of(left, 1), one_of(right, 1))


# --- cost and repetition ----------------------------------------------------------------------------------------------


def test_another_search_of_the_same_sizes_compiles_nothing(make_problem: Make, all_found: dict[str, Found]) -> None:
    programs: tuple[Any, ...] = (loop.run_chunk, loop.look, loop.keep_better)
    compiled = [program._cache_size() for program in programs]
    other = case_of(make_problem, "binary", fixed=(("width", 8), ("weight_decay", 0.3)), momentum=0.5, seed=4)
    other.found()
    assert [program._cache_size() for program in programs] == compiled


def test_equal_seeds_end_equal_to_the_last_bit_and_other_seeds_do_not(
    cases: dict[str, Problem], all_found: dict[str, Found]
) -> None:
    first, again = all_found["binary"], cases["binary"].found()
    assert first.record == again.record
    assert same([part.weights for part in first.parts], [part.weights for part in again.parts])
    assert first.answer_nk.tobytes() == again.answer_nk.tobytes()
    other = cases["binary"].changed(seed=1).found()
    assert other.record != first.record


def test_progress_never_goes_back_and_names_the_family(make_problem: Make) -> None:
    told: list[Progress] = []
    case_of(make_problem, "binary", folds=3, families=("linear", "tabm")).found(report=told.append)
    training = [report for report in told if report.stage == "training"]
    steps = [report.step for report in training]
    assert steps == sorted(steps)
    assert all(0 <= report.step <= report.steps for report in training)
    assert {report.message.split(":")[0] for report in training} == {"linear", "tabm"}
    assert all("validation log loss" in report.message for report in training)
    assert [report.stage for report in told][-1] == "blending"


def test_told_to_stop_without_a_folder_it_says_that_nothing_was_saved(make_problem: Make) -> None:
    with pytest.raises(Interrupted, match="nothing was saved"):
        case_of(make_problem, "binary", families=("linear",)).found(stop=lambda: True)
