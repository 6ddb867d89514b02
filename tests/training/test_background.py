"""A background is few rows that have, in what matters for the answer, the mean of all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tidemill.training import background as module
from tidemill.training.background import BACKGROUND, background


def table(rows: int = 1500, features: int = 40, seed: int = 0) -> tuple[Any, Any, Any]:
    """Rows whose answer is a line in five of many features."""
    rng = np.random.default_rng(seed)
    x_nf = rng.normal(size=(rows, features)).astype(np.float32)
    slope_f = np.where(np.arange(features) < 5, rng.normal(size=features), 0)
    return x_nf, (x_nf @ slope_f)[:, None], slope_f


@pytest.mark.parametrize("seed", range(3))
def test_its_means_are_nearer_to_those_of_all_rows_than_those_of_rows_drawn(seed: int) -> None:
    x_nf, answer_nk, slope_f = table(seed=seed)
    told_nf = x_nf * slope_f
    found = background(np.c_[x_nf, answer_nk], answer_nk, seed)
    apart = np.abs((found[:, :-1] * slope_f).mean(0) - told_nf.mean(0)).sum()
    rng = np.random.default_rng(seed)
    drawn = [told_nf[rng.choice(len(x_nf), BACKGROUND, replace=False)].mean(0) for _ in range(200)]
    assert apart < 0.4 * np.median(np.abs(np.array(drawn) - told_nf.mean(0)).sum(1))
    assert abs(found[:, -1].mean() - answer_nk.mean()) < 0.05 * answer_nk.std()


def test_its_answers_are_spread_as_those_of_all_rows() -> None:
    x_nf, answer_nk, _ = table()
    found = background(np.c_[x_nf, answer_nk], answer_nk, 0)[:, -1]
    assert 0.8 < found.std() / answer_nk.std() < 1.25


def test_it_is_distinct_rows_of_the_table_from_the_lowest_answer_to_the_highest_and_follows_from_the_seed() -> None:
    x_nf, answer_nk, _ = table()
    x_nf[:, 0] = answer_nk[:, 0]
    found = background(x_nf, answer_nk, 3)
    assert len(np.unique(found, axis=0)) == BACKGROUND
    assert (found[:, None] == x_nf).all(2).any(1).all()
    assert (np.diff(found[:, 0]) >= 0).all()
    assert np.array_equal(found, background(x_nf, answer_nk, 3))
    assert not np.array_equal(found, background(x_nf, answer_nk, 4))


def test_few_rows_are_all_background() -> None:
    x_nf, answer_nk, _ = table(rows=7)
    assert {row.tobytes() for row in background(x_nf, answer_nk, 0)} == {row.tobytes() for row in x_nf}


def test_rows_that_are_all_alike_do_no_harm() -> None:
    assert background(np.ones((50, 3), np.float32), np.full((50, 2), 0.5), 0).tolist() == [[1.0] * 3] * BACKGROUND


def test_of_many_rows_only_some_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    looked = []
    monkeypatch.setattr(module, "terms", lambda x_nf, answer_nk: looked.append(len(x_nf)) or x_nf)
    background(*table(rows=3 * module.LOOKED)[:2], 0)
    assert looked == [module.LOOKED]
