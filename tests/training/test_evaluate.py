"""Answers come in blocks of one shape without showing it; importance finds the columns the model leans on."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidemill.core.features import Number, Program
from tidemill.training import evaluate, losses
from tidemill.training.evaluate import Model


@pytest.fixture(scope="module")
def fitted(make_problem: Any) -> tuple[Any, Model]:
    case = make_problem("regression")
    state = case.changed(epochs=30, patience=30, learning_rate=1e-2).train()
    return case, Model(case.kind, state.best, losses.scale_of(case.y_n, log1p=False), float(case.y_n.std()))


@pytest.mark.parametrize("rows", [1, 511, 512, 513])
def test_any_number_of_rows_is_answered_as_one_by_one(fitted: tuple[Any, Model], rows: int) -> None:
    case, model = fitted
    x_nf = np.resize(case.x_nf, (rows, 5))
    answer_nk = model.answers(x_nf)
    assert answer_nk.shape == (rows, 1)
    assert np.allclose(answer_nk[-1], model.answers(x_nf[-1:])[0], rtol=1e-6)


def test_columns_the_target_follows_from_are_important_and_noise_is_not(fitted: tuple[Any, Model]) -> None:
    case, model = fitted
    program = Program(tuple(Number(f"c{i}", False, 0.0, 0.0, 1.0, False) for i in range(5)))
    found = evaluate.importance(model, case.x_nf, case.y_n, program, seed=0)
    names = [item["column"] for item in found]
    assert set(names[:3]) == {"c0", "c1", "c2"}
    assert all(item["importance"] >= 0 for item in found)
    assert found == evaluate.importance(model, case.x_nf, case.y_n, program, seed=0)
