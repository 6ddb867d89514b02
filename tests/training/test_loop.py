"""Training learns, keeps the best, compiles once for equal shapes, and stops when it is told or has diverged."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pytest

from tidemill.core.errors import BadSpec, TidemillError
from tidemill.core.progress import Progress
from tidemill.training import batches, loop, losses
from tidemill.training.checkpoint import Interrupted
from tidemill.training.families import FAMILIES, family

TASKS = ["binary", "multiclass", "regression"]


@pytest.mark.parametrize("task", TASKS)
def test_training_learns_what_no_linear_model_can(make_problem: Any, task: str) -> None:
    case = make_problem(task).changed(epochs=80, patience=80, learning_rate=1e-2, dropout=0.0)
    state = case.train()
    first = state.history[0]["validation_loss"]
    assert state.best_loss < 0.7 * first
    assert state.best_loss == min(entry["validation_loss"] for entry in state.history)


def test_the_best_weights_are_those_of_the_best_epoch(make_problem: Any) -> None:
    case = make_problem("binary").changed(epochs=40, patience=8, learning_rate=3e-2, dropout=0.0)
    state = case.train()
    assert state.best_epoch < state.epoch
    assert state.epoch == min(40, state.best_epoch + 8)
    scale = losses.scale_of(case.y_n, log1p=False)
    held = batches.for_looking(case.x_nf[160:], case.y_n[160:])
    assert float(loop.look(case.kind, state.best, scale, held)) == pytest.approx(state.best_loss)


def test_equal_runs_are_equal_to_the_last_bit_and_seeds_matter(make_problem: Any) -> None:
    case = make_problem("binary")
    first, second, other = case.train(), case.train(), case.changed(seed=1).train()
    assert same(first.weights, second.weights)
    assert first.history == second.history
    assert not same(first.weights, other.weights)


def test_members_differ_from_the_start(make_problem: Any) -> None:
    state = loop.start(make_problem("binary").kind, make_problem("binary").config)
    kernel = np.asarray(state.weights["hidden"][0]["kernel"])
    assert kernel.shape[0] == 2
    assert not np.array_equal(kernel[0], kernel[1])


def test_equal_shapes_reuse_one_program_whatever_the_settings(make_problem: Any) -> None:
    make_problem("binary").train()
    program: Any = loop.run_chunk
    compiled = program._cache_size()
    other = make_problem("binary", rows=235, seed=5)
    other.changed(learning_rate=0.02, weight_decay=0.1, dropout=0.3, seed=9, patience=2).train()
    assert program._cache_size() == compiled


def test_padding_rows_teach_nothing(make_problem: Any) -> None:
    case = make_problem("regression", rows=60).changed(batch_size=64, dropout=0.0, epochs=3)
    scale = losses.scale_of(case.y_n, log1p=False)
    held = batches.for_looking(case.x_nf, case.y_n)
    plain = batches.padded(case.x_nf, case.y_n, 64)
    wild = plain._replace(x_nf=plain.x_nf.at[60:].set(1e3), y_n=plain.y_n.at[60:].set(-1e3))
    states = [loop.train(case.kind, case.config, scale, rows, batches.Plan(64, 1, 1), held) for rows in (plain, wild)]
    assert states[0].history == states[1].history


def test_chunks_change_nothing_but_where_one_may_stop(make_problem: Any) -> None:
    case = make_problem("binary").changed(batch_size=40)
    whole = case.train()
    parts = case.changed(chunk_values=40 * 5 * 2 * 2).train()
    assert [e["validation_loss"] for e in parts.history] == pytest.approx([e["validation_loss"] for e in whole.history])


def test_every_epoch_is_reported(make_problem: Any) -> None:
    told: list[Progress] = []
    make_problem("regression").train(report=told.append)
    assert [report.step for report in told] == [1, 2, 3, 4, 5, 6]
    assert {report.steps for report in told} == {6}
    assert "validation RMSE" in told[0].message


def test_enormous_steps_are_called_divergence(make_problem: Any) -> None:
    case = make_problem("regression").changed(learning_rate=1e30, epochs=50, patience=50)
    with pytest.raises(TidemillError, match="diverged in epoch") as caught:
        case.train()
    assert caught.value.code == "DIVERGED"
    assert "learning_rate" in caught.value.remedy


def test_told_to_stop_without_a_folder_it_says_that_nothing_was_saved(make_problem: Any) -> None:
    with pytest.raises(Interrupted, match="nothing was saved"):
        make_problem("binary").train(stop=lambda: True)


def test_an_unknown_family_is_refused_by_name() -> None:
    with pytest.raises(BadSpec, match="'forest'") as caught:
        family("forest")
    assert all(repr(name) in caught.value.remedy for name in FAMILIES)


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_describes_itself_in_a_line_and_is_affine_where_it_enters(name: str) -> None:
    known = family(name)
    assert name == known.NAME
    assert "\n" not in known.DESCRIPTION
    net = known.net(4, 2)
    weights = net.init(np.random.default_rng(0))
    a, b = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    between = net.enter(weights, 0.25 * a + 0.75 * b)
    mixed = jax.tree.map(lambda p, q: 0.25 * p + 0.75 * q, net.enter(weights, a), net.enter(weights, b))
    assert all(
        np.allclose(p, q, atol=1e-5) for p, q in zip(jax.tree.leaves(between), jax.tree.leaves(mixed), strict=True)
    )


def same(left: Any, right: Any) -> bool:
    """Whether two trees are equal to the last bit."""
    return all(jax.tree.leaves(jax.tree.map(lambda a, b: bool(np.array_equal(a, b)), left, right)))
