"""A population trains as its members would alone, keeps each one's best, repeats itself, and stops when it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest
from tests.training.populations import Population, Problem, member, members, near, same

from tidemill.training import batches, loop
from tidemill.training.blend import loss_of
from tidemill.training.evaluate import in_blocks
from tidemill.training.loop import Pace, State
from tidemill.training.search import narrowed

Make = Callable[..., Problem]
DESCENT = {"family": "linear", "optimizer": "gradient_descent", "batch": 320, "clip_norm": float("inf")}
THREE = ({"learning_rate": 3e-2}, {"weight_decay": 0.3}, {"learning_rate": 1e-3, "l1": 1e-3})


@pytest.fixture(scope="module")
def three(make_problem: Make) -> Population:
    return members(make_problem("binary"), *THREE, copies=2)


@pytest.fixture(scope="module")
def trained(three: Population) -> State:
    return three.train()


# --- side by side -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", ["linear", "mlp", "tabm"])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_member_gets_beside_others_what_it_gets_alone(make_problem: Make, family: str, place: int) -> None:
    together = members(make_problem("regression"), *THREE, family=family, pace=Pace(3, 3))
    alone = together.changed(settings=together.settings[place : place + 1])
    beside, single = together.train(), alone.train(narrowed(together.start(), [place]))
    assert near(member(beside.weights, 0, place), member(single.weights, 0, 0))
    assert near(member(beside.best, 0, place), member(single.best, 0, 0))
    assert single.best_loss[0, 0] == pytest.approx(beside.best_loss[0, place], rel=1e-5)


def test_dropout_too_is_the_same_beside_others(make_problem: Make) -> None:
    together = members(make_problem("regression"), {"dropout": 0.1}, {"dropout": 0.3}, pace=Pace(3, 3))
    alone = together.changed(settings=together.settings[1:2])
    assert near(member(together.train().best, 0, 1), member(alone.train(narrowed(together.start(), [1])).best, 0, 0))


def test_groups_do_not_touch_each_other(three: Population, trained: State) -> None:
    alone = three.changed(copies=1).train()
    assert near(member(trained.best, 0, 0), member(alone.best, 0, 0))
    assert not near(member(trained.best, 1, 0), member(alone.best, 0, 0))


def test_members_differ_from_the_start(three: Population) -> None:
    kernel = np.asarray(three.start().weights["hidden"][0]["kernel"])
    drawn = kernel.reshape(-1, *kernel.shape[2:])
    assert len({one.tobytes() for one in drawn}) == len(drawn) == 6


def test_a_member_that_breaks_leaves_its_neighbours_bits_alone(make_problem: Make, three: Population) -> None:
    sound = three.changed(settings=(three.settings[0],) * 3)
    broken = sound.changed(
        settings=(sound.settings[0], {**sound.settings[0], "learning_rate": 1e30}, *sound.settings[2:])
    )
    left, right = sound.train(), broken.train()
    for group in (0, 1):
        for place in (0, 2):
            assert same(member(left.weights, group, place), member(right.weights, group, place))
            assert same(member(left.best, group, place), member(right.best, group, place))
    assert np.isinf(right.best_loss[:, 1]).all()
    assert np.isfinite(right.best_loss[:, [0, 2]]).all()
    assert same(member(right.best, 0, 1), member(broken.start().weights, 0, 1))


# --- what a seed decides ----------------------------------------------------------------------------------------------


def test_equal_seeds_give_equal_bits_and_other_seeds_do_not(three: Population, trained: State) -> None:
    noisy = three.changed(settings=tuple({**some, "dropout": 0.2} for some in three.settings))
    first, again, other = noisy.train(), noisy.train(), noisy.changed(seed=1).train()
    assert same((first.weights, first.best, first.moments), (again.weights, again.best, again.moments))
    assert first.curve == again.curve
    assert not same(first.weights, other.weights)
    assert not near(first.weights, trained.weights)


def test_other_settings_and_other_rows_reuse_one_program(make_problem: Make, three: Population, trained: State) -> None:
    program: Any = loop.run_chunk
    compiled = program._cache_size()
    case = make_problem("binary", rows=345, seed=5)
    knobs = ({"learning_rate": 0.02, "dropout": 0.3}, {"weight_decay": 0.1, "l1": 0.1}, {"width": 3})
    other = members(case, *knobs, copies=2, pace=Pace(5, 2, 0.1), seed=9, momentum=0.3, clip_norm=0.1)
    assert other.kind == three.kind
    assert other.train().epoch
    assert program._cache_size() == compiled


# --- what the rows decide ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("task", ["binary", "regression"])
def test_padding_rows_teach_nothing_and_are_not_watched(make_problem: Make, task: str) -> None:
    case = members(make_problem(task), pace=Pace(2, 2))
    plain = case.ground.rows
    size = len(case.case.y_n)
    assert len(plain.y_n) > size
    wild = plain._replace(x_n=plain.x_n.at[size:].set(1e3), y_n=plain.y_n.at[size:].set(0))
    first = case.train()
    ground = loop.Field(wild, case.ground.scale, case.ground.groups, case.ground.cut)
    second = loop.train(case.kind, case.knobs, ground, case.pace, case.start())
    assert same(first.weights, second.weights)
    assert first.curve == second.curve


def test_chunks_change_nothing_but_where_one_may_stop(make_problem: Make) -> None:
    whole = members(make_problem("binary"), {"dropout": 0.3})
    parts = whole.changed(chunks=8)
    asked: list[tuple[int, int]] = []
    assert whole.ground.cut.rows == parts.ground.cut.rows
    left, right = whole.train(), parts.train(before_chunk=lambda state: asked.append((state.epoch, state.chunk)))
    assert same((left.weights, left.moments, left.best), (right.weights, right.moments, right.best))
    assert left.curve == right.curve
    assert asked == [(epoch, chunk) for epoch in range(6) for chunk in range(8)]


def test_a_row_of_weight_two_counts_as_the_row_twice(make_problem: Make) -> None:
    weighed = members(make_problem("regression"), **DESCENT)
    pool, train = weighed.case.pool, weighed.ground.groups[0].train
    twice = np.random.default_rng(0).choice(train, 40, replace=False)
    weight_n = np.ones(len(pool.y_n), np.float32)
    weight_n[twice] = 2.0
    heavy = batches.on_device(pool.x_n, pool.y_n, weight_n)

    def trained(rows: Any, train: Any) -> State:
        groups = [batches.Group(train, weighed.ground.groups[0].held, (0, 0, 0))]
        ground = loop.Field(rows, weighed.ground.scale, groups, weighed.ground.cut)
        return loop.train(weighed.kind, weighed.knobs, ground, weighed.pace, weighed.start())

    left, right = trained(heavy, train), trained(weighed.ground.rows, np.concatenate([train, twice]))
    assert near(left.weights, right.weights)
    assert not near(left.weights, weighed.train().weights)


@pytest.mark.parametrize("loss", ["mse", "mae"])
def test_what_is_watched_is_what_is_trained_weighed_alike(make_problem: Make, loss: str) -> None:
    case = members(make_problem("regression").changed(loss=loss), family="linear", pace=Pace(2, 2))
    pool, held = case.case.pool, case.ground.groups[0].held
    weight_n = np.random.default_rng(0).uniform(0.1, 5, len(pool.y_n)).astype(np.float32)
    rows = batches.on_device(pool.x_n, pool.y_n, weight_n)
    ground = loop.Field(rows, case.ground.scale, case.ground.groups, case.ground.cut)
    state = loop.train(case.kind, case.knobs, ground, case.pace, case.start())
    average = jax.tree.map(lambda leaf: leaf[0, :1], state.average)
    answer_nk = in_blocks(case.kind, average, case.ground.scale, pool.x_n[held])
    told = loss_of("regression", pool.y_n[held], answer_nk, loss, weight_n[held])
    assert state.curve[-1][1][0][0] == pytest.approx(told, rel=1e-5)


# --- width ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("width", [1, 3, 7])
def test_units_beyond_the_width_of_an_mlp_stay_exactly_zero(make_problem: Make, width: int) -> None:
    pulled = {"width": width, "dropout": 0.2, "weight_decay": 0.1}
    narrow = members(make_problem("regression"), {}, pulled, pace=Pace(3, 3)).train()
    for tree in (narrow.weights, narrow.average, narrow.best):
        hidden = member(tree, 0, 1)["hidden"]
        for layer, live in ((hidden[0], width), (hidden[1], max(1, width // 2))):
            assert not layer["kernel"][:, live:].any()
            assert not layer["bias"][live:].any()
            assert layer["kernel"][:, :live].all()


@pytest.mark.parametrize("width", [1, 5])
def test_units_beyond_the_width_of_a_tabm_stay_exactly_zero(make_problem: Make, width: int) -> None:
    case = make_problem("regression")
    narrow = members(case, {}, {"width": width, "weight_decay": 0.1}, family="tabm", pace=Pace(3, 3)).train()
    for layer in member(narrow.best, 0, 1)["hidden"].values():
        assert not layer["kernel"][:, width:].any()
        assert not layer["bias"][width:].any()
        assert layer["kernel"][:, :width].any(0).all()


def test_what_leaves_a_dead_unit_does_not_matter(make_problem: Make) -> None:
    narrow = members(make_problem("regression"), {}, {"width": 4}, pace=Pace(2, 2))
    weights = jax.tree.map(lambda leaf: leaf[:, 1], narrow.train().best)
    other = jax.tree.map(np.array, weights)
    other["out"]["kernel"][:, 2:] = 1e6
    other["hidden"][1]["kernel"][:, 4:, :2] = -1e6
    args = (narrow.ground.scale, narrow.case.x_nf)
    assert near(in_blocks(narrow.kind, weights, *args), in_blocks(narrow.kind, other, *args))


# --- the best and the end ---------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def overfitted(make_problem: Make) -> tuple[Population, State]:
    restless = ({"learning_rate": 0.1}, {"learning_rate": 1e-4}, {"learning_rate": 3e-2})
    case = members(make_problem("binary"), *restless, copies=2, pace=Pace(40, 4))
    return case, case.train()


def test_the_best_loss_is_the_lowest_of_the_curve_and_its_epoch_the_first_with_it(
    overfitted: tuple[Population, State],
) -> None:
    _, state = overfitted
    held_egc = np.array([held for _, held in state.curve])
    assert held_egc.shape == (state.epoch, 2, 3)
    assert np.array_equal(state.best_loss, held_egc.min(0))
    assert np.array_equal(state.best_epoch, held_egc.argmin(0) + 1)
    assert (state.best_epoch.min(), state.best_epoch.max()) != (state.epoch, state.epoch)


def test_the_best_weights_give_the_best_loss(overfitted: tuple[Population, State]) -> None:
    case, state = overfitted
    held_gv = batches.looked([group.held for group in case.ground.groups], case.ground.padding)
    found = loop.look(case.kind, state.best, case.ground.rows, case.ground.scale, held_gv, held_gv)[1]
    assert np.array_equal(np.asarray(found, np.float64), state.best_loss)


def test_training_ends_when_the_last_member_has_stalled_and_not_before(overfitted: tuple[Population, State]) -> None:
    case, state = overfitted
    held_egc = np.array([held for _, held in state.curve])
    since = [epoch - (held_egc[:epoch].argmin(0) + 1).max() for epoch in range(1, state.epoch + 1)]
    assert state.epoch == 40 or since[-1] == case.pace.patience
    assert max(since[:-1]) < case.pace.patience


def test_members_are_broken_or_stalled_one_by_one(make_problem: Make) -> None:
    case = members(make_problem("binary"), {"learning_rate": 1e30}, {}, pace=Pace(30, 3))
    state = case.train()
    assert state.epoch > 3
    hopeless = case.changed(settings=(case.settings[0],) * 3).train()
    assert hopeless.epoch == 3


@pytest.mark.parametrize(
    ("task", "family"), [("binary", "mlp"), ("multiclass", "tabm"), ("regression", "mlp"), ("regression", "tabm")]
)
def test_training_learns_what_no_linear_model_can(make_problem: Make, task: str, family: str) -> None:
    case, pace = make_problem(task), Pace(60, 60)
    bent = members(case, {"learning_rate": 2e-2}, {}, {}, family=family, pace=pace).train()
    line = members(case, {"learning_rate": 2e-2}, {}, {}, family="linear", pace=pace).train()
    assert bent.best_loss.min() < 0.85 * line.best_loss.min()


def test_until_is_a_pause_and_not_an_end(three: Population, trained: State) -> None:
    paused = three.train(until=2)
    assert paused.epoch == 2
    assert same(three.train(paused).weights, trained.weights)


def test_whoever_watches_is_told_of_every_epoch(three: Population) -> None:
    told: list[int] = []
    three.train(after_epoch=lambda state: told.append(state.epoch))
    assert told == [1, 2, 3, 4, 5, 6]


def test_stopping_before_a_chunk_leaves_a_whole_state(three: Population, trained: State) -> None:
    class Enough(Exception):
        pass

    def stop(state: State) -> None:
        if state.epoch == 3:
            raise Enough

    state = three.start()
    with pytest.raises(Enough):
        three.train(state, before_chunk=stop)
    assert same(three.train(state).best, trained.best)


# --- steps ------------------------------------------------------------------------------------------------------------


def descended(case: Population, epochs: int) -> tuple[Any, Any]:
    """Weights and their running average by NumPy: gradient descent on the mean squared error, in float64."""
    pool, scale = case.case.pool, case.ground.scale
    train = pool.folds[0][0]
    x_nf = np.c_[pool.x_n[train].astype(np.float64), np.ones(len(train))]
    target_n = (pool.y_n[train] - float(scale.mean)) / float(scale.std)
    w_f, average_f = np.zeros(x_nf.shape[1]), np.zeros(x_nf.shape[1])
    for turn in range(epochs):
        w_f = w_f - 0.1 * 2 * x_nf.T @ (x_nf @ w_f - target_n) / len(train)
        average_f += max(1 / loop.AVERAGED, 1 / (turn + 1)) * (w_f - average_f)
    return w_f, average_f


@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_gradient_descent_makes_exactly_one_step_an_epoch_on_all_rows(make_problem: Make, epochs: int) -> None:
    case = members(make_problem("regression"), {"learning_rate": 0.1}, pace=Pace(epochs, epochs), **DESCENT)
    state = case.train()
    w_f, average_f = descended(case, epochs)
    for tree, expected_f in ((state.weights, w_f), (state.average, average_f)):
        out = member(tree, 0, 0)["out"]
        assert np.allclose(np.r_[out["kernel"][:, 0], out["bias"]], expected_f, atol=1e-5)


def test_a_step_is_never_longer_than_the_clipped_gradient_allows(make_problem: Make) -> None:
    case = members(
        make_problem("regression"),
        {"learning_rate": 1.0},
        family="linear",
        optimizer="sgd",
        clip_norm=1e-3,
        pace=Pace(1, 1),
    )
    moved = jax.tree.leaves(member(case.train().weights, 0, 0))
    steps = case.ground.cut.steps
    assert 0 < np.sqrt(sum(np.square(leaf).sum() for leaf in moved)) <= steps * 1e-3 * 1.001
