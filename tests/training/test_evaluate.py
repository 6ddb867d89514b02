"""Answers come in blocks of one shape without showing it; importance finds the columns the model leans on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import numpy as np
import pytest
from tests.training.explained import model_of, part_of, trained_part
from tests.training.populations import Problem

from tidemill.core.calibration import Calibration
from tidemill.core.features import Category, Number, Program
from tidemill.training import evaluate
from tidemill.training.evaluate import Model

Make = Callable[..., Problem]
NUMBERS = Program(tuple(Number(f"c{i}", False, 0.0, 0.0, 1.0, False) for i in range(5)))


@pytest.fixture(scope="module")
def fitted(make_problem: Make) -> tuple[Problem, Model]:
    case = make_problem("regression")
    return case, model_of(case, trained_part(case, "mlp", 0.6), part_of(case, "tabm", share=0.4))


@pytest.mark.parametrize("rows", [1, 511, 512, 513])
def test_any_number_of_rows_is_answered_as_one_by_one(fitted: tuple[Problem, Model], rows: int) -> None:
    case, model = fitted
    x_nf = np.resize(case.x_nf, (rows, 5))
    answer_nk = model.answers(x_nf)
    assert answer_nk.shape == (rows, 1)
    assert np.allclose(answer_nk[-1], model.answers(x_nf[-1:])[0], rtol=1e-6)


def test_a_blend_answers_with_the_average_of_its_parts(fitted: tuple[Problem, Model]) -> None:
    case, model = fitted
    alone = [replace(model, parts=(replace(part, share=1.0),)).answers(case.x_nf[:50]) for part in model.parts]
    assert np.allclose(model.answers(case.x_nf[:50]), 0.6 * alone[0] + 0.4 * alone[1], rtol=1e-6)


def test_what_is_exported_answers_as_what_is_asked_row_by_row(make_problem: Make) -> None:
    case = make_problem("binary")
    parts = part_of(case, "mlp", folds=2, share=0.5), part_of(case, "linear", share=0.5)
    model = model_of(case, *parts, calibration=Calibration("platt", 0.5, 0.3))
    with jax.default_matmul_precision("highest"):
        assert np.allclose(model.predict(case.x_nf[:40]), model.answers(case.x_nf[:40]), atol=1e-6)


def importances(case: Problem, model: Model, program: Program = NUMBERS, seed: int = 0) -> dict[str, float]:
    found = evaluate.importance(model, case.x_nf, case.y_n, program, seed)
    assert [item["importance"] for item in found] == sorted((i["importance"] for i in found), reverse=True)
    return {item["column"]: item["importance"] for item in found}


def test_columns_the_target_follows_from_are_important_and_noise_is_not(fitted: tuple[Problem, Model]) -> None:
    found = importances(*fitted)
    assert set(list(found)[:3]) == {"c0", "c1", "c2"}
    assert min(found.values()) >= 0
    assert found == importances(*fitted)
    assert found != importances(*fitted, seed=1)


def test_importance_is_the_loss_that_dealing_out_adds(fitted: tuple[Problem, Model]) -> None:
    case, model = fitted
    rng, before, added = np.random.default_rng(5), model.losses(case.x_nf, case.y_n).mean(), []
    for _ in range(20):
        dealt_nf = case.x_nf.copy()
        dealt_nf[:, 0] = rng.permutation(dealt_nf[:, 0])
        added.append(model.losses(dealt_nf, case.y_n).mean() - before)
    assert importances(case, model)["c0"] == pytest.approx(np.mean(added), abs=3 * np.std(added))


def test_features_of_one_column_are_dealt_out_together(fitted: tuple[Problem, Model]) -> None:
    """x and its opposite tell the same, so that dealing out one of them alone leaves what cannot be: 2 x0 - 2 x0'."""
    case, model = fitted
    x_nf = case.x_nf[:, [0, 0, 2, 3, 4]]
    together = Program((Category("pair", ("a", "b"), False, False), *NUMBERS.inputs[2:]))
    found = evaluate.importance(model, x_nf, case.y_n, together, 0)
    assert {item["column"] for item in found} == {"pair", "c2", "c3", "c4"}
    own_n = np.random.default_rng(0).permutation(len(x_nf))
    rows = {row.tobytes() for row in x_nf[own_n][:, :2]}
    seen: list[Any] = []
    watched = replace(model)
    object.__setattr__(watched, "losses", lambda x_nf, y_n: seen.append(x_nf) or np.zeros(len(x_nf)))
    evaluate.importance(watched, x_nf, case.y_n, together, 0)
    assert all(row.tobytes() in rows for dealt_nf in seen for row in dealt_nf[:, :2])


def test_a_column_without_features_is_not_important(fitted: tuple[Problem, Model]) -> None:
    still = Program((Number("still", False, 0.0, 0.0, 0.0, False), *NUMBERS.inputs))
    assert importances(*fitted, still)["still"] == 0.0


def test_a_large_model_is_asked_about_fewer_rows(
    fitted: tuple[Problem, Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    case, model = fitted
    asked: list[int] = []
    watched = replace(model)
    object.__setattr__(watched, "losses", lambda x_nf, y_n: asked.append(len(x_nf)) or np.zeros(len(x_nf)))
    deals = 5 * evaluate.REPEATS
    for budget in (evaluate.WORK, 100 * deals * evaluate.work(model)):
        monkeypatch.setattr(evaluate, "WORK", budget)
        asked.clear()
        evaluate.importance(watched, case.x_nf, case.y_n, NUMBERS, 0)
        rows, *dealt = asked
        assert rows == (100 if budget < 1e9 else len(case.x_nf))
        assert sum(dealt) == deals * rows
