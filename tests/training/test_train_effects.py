"""What stands in tidemill.toml does what it says: every setting of [train] and [search] leaves its mark."""

from __future__ import annotations

from functools import cache
from types import SimpleNamespace
from typing import Any

import jax
import numpy as np
import pytest
from tests.training.populations import Problem, problem

from tidemill.core.spec import Decision, Spec, Train
from tidemill.training import blend, honest
from tidemill.training.search import Found

SMALL = {"family": "linear", "epochs": 30, "patience": 30, "batch_size": 32}
BINARY = {"task": "binary", "labels": ["a", "b"]}
Run = tuple[Problem, Found]


def toml(train: dict[str, Any], search: dict[str, Any]) -> str:
    """A tidemill.toml with these settings."""

    def lines(section: dict[str, Any]) -> str:
        said = {key: f'"{value}"' if isinstance(value, str) else value for key, value in section.items()}
        return "".join(f"{key} = {str(value).lower()}\n" for key, value in said.items())

    return f"[train]\n{lines(train)}\n[search]\n{lines(search)}"


def line(task: str, rows: int = 350) -> Problem:
    """A target that follows from the first of five columns, along a line."""
    case = problem(task, rows=rows)
    rng = np.random.default_rng(1)
    signal_n = case.x_nf[:, 0] + 0.3 * rng.normal(size=rows)
    return Problem(case.x_nf, 10 * signal_n if task == "regression" else (signal_n > 0).astype(int), case.config)


@cache
def ran(case: Problem, text: str) -> Run:
    resolved = case.resolved(Spec.from_toml(text))
    return resolved, resolved.found()


def run(case: Problem, /, configurations: int = 1, folds: int = 1, blend: bool = True, **train: Any) -> Run:
    """A search as a tidemill.toml asks for it."""
    search = {"configurations": configurations, "folds": folds, "blend": blend}
    return ran(case, toml({**SMALL, **train}, search))


def loss_of(made: Run) -> float:
    case, found = made
    return blend.loss_of(case.config.task, case.y_n[found.held_n], found.answer_nk, case.config.loss)


def trivial(case: Problem) -> float:
    """The loss of always answering the mean, or the shares of the classes."""
    train, held = case.pool.folds[0]
    if case.config.task == "regression":
        answer_k = case.y_n[train].mean(keepdims=True)
    else:
        answer_k = np.bincount(case.y_n[train]) / len(train)
    return blend.loss_of(case.config.task, case.y_n[held], np.tile(answer_k, (len(held), 1)))


def leaves_of(made: Run, place: int = 0) -> dict[str, Any]:
    """Weights of a part by path, of its first member."""
    leaves = jax.tree_util.tree_leaves_with_path(made[1].parts[place].weights)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): np.asarray(leaf[0]) for path, leaf in leaves}


def settings_of(made: Run) -> dict[str, float]:
    return dict(made[1].record["trials"][0]["settings"])


def norm_of(made: Run) -> float:
    return float(np.sqrt(sum(np.square(leaf).sum() for leaf in leaves_of(made).values() if leaf.ndim > 1)))


@pytest.fixture(scope="module")
def easy() -> Problem:
    return line("regression")


@pytest.fixture(scope="module")
def bent() -> Problem:
    return problem("binary")


# --- pulls ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "sgd"])
def test_l1_leaves_exactly_nothing_to_columns_that_do_not_matter(easy: Problem, optimizer: str) -> None:
    rate = {"optimizer": optimizer, "learning_rate": 3e-2}
    without, pulled = (leaves_of(run(easy, l1=l1, **rate))["out/kernel"][:, 0] for l1 in (0.0, 0.3))
    assert without.all()
    assert not pulled[1:].any()
    assert 0.3 < pulled[0] < without[0]


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "momentum"])
def test_weight_decay_makes_weights_smaller(easy: Problem, optimizer: str) -> None:
    pulls = (0.0, 1.0, 9.0)
    norms = [norm_of(run(easy, weight_decay=pull, optimizer=optimizer, learning_rate=3e-2)) for pull in pulls]
    assert norms[0] > norms[1] > 1.2 * norms[2] > 0


# --- steps ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [
        *((name, "constant") for name in ("adamw", "adam", "momentum", "sgd", "gradient_descent")),
        *(("adamw", "cosine"), ("adamw", "step"), ("gradient_descent", "cosine")),
    ],
)
def test_every_optimizer_and_schedule_learns_what_is_easy(easy: Problem, optimizer: str, schedule: str) -> None:
    made = run(easy, optimizer=optimizer, schedule=schedule)
    assert loss_of(made) < 0.8 * trivial(made[0])


def test_schedules_and_warmup_train_otherwise_than_the_constant_rate(easy: Problem) -> None:
    norms = {
        name: norm_of(run(easy, learning_rate=3e-2, **more))
        for name, more in {
            "constant": {"schedule": "constant"},
            "cosine": {"schedule": "cosine"},
            "step": {"schedule": "step"},
            "warmup": {"schedule": "constant", "warmup": 0.5},
        }.items()
    }
    assert len(set(norms.values())) == 4


def test_a_warmup_begins_slowly(easy: Problem) -> None:
    first = [run(easy, learning_rate=1e-2, **more)[1].record["trials"][0]["curve"][0] for more in ({}, {"warmup": 0.9})]
    assert first[1]["train_loss"] > first[0]["train_loss"]


def test_the_ball_is_as_heavy_as_told(easy: Problem) -> None:
    light, heavy = (
        run(easy, optimizer="momentum", momentum=momentum, learning_rate=1e-4, epochs=5) for momentum in (0.0, 0.9)
    )
    assert norm_of(heavy) > 3 * norm_of(light)


def test_a_learning_rate_is_the_length_of_steps(easy: Problem) -> None:
    slow, fast = (run(easy, learning_rate=rate, epochs=2) for rate in (1e-4, 1e-2))
    assert norm_of(fast) > 30 * norm_of(slow)
    assert (settings_of(slow)["learning_rate"], settings_of(fast)["learning_rate"]) == (1e-4, 1e-2)


# --- what is learned --------------------------------------------------------------------------------------------------


def outliers() -> Problem:
    """Numbers that follow from nothing: most near 10, a fifth of them far above."""
    case = problem("regression")
    rng = np.random.default_rng(3)
    y_n = np.where(rng.random(len(case.y_n)) < 0.2, 1000.0, 10.0) + rng.normal(size=len(case.y_n))
    return Problem(0.1 * case.x_nf, y_n, case.config)


def test_mae_answers_near_the_median_and_mse_near_the_mean() -> None:
    case = outliers()
    train = case.y_n[case.pool.folds[0][0]]
    middle = {}
    for loss, score in (("mse", "RMSE"), ("mae", "MAE"), ("huber", "MAE")):
        found = run(case, loss=loss, learning_rate=3e-2)[1]
        middle[loss] = float(np.median(found.answer_nk))
        assert found.record["score"] == f"validation {score}"
    assert abs(middle["mse"] - train.mean()) < 0.2 * train.mean()
    assert abs(middle["mae"] - np.median(train)) < 0.1 * (train.mean() - np.median(train))
    assert middle["mae"] < middle["huber"] < middle["mse"]


def test_sigmoid_learns_what_softmax_does() -> None:
    case = problem("multiclass")
    asked, known = (run(case, loss=loss) for loss in ("sigmoid", "softmax"))
    assert loss_of(asked) < trivial(asked[0])
    assert loss_of(asked) != loss_of(known)


def test_balanced_classes_find_more_of_the_rare_one_calibrated_or_not() -> None:
    case = line("binary")
    rare_n = (case.x_nf[:, 0] + np.random.default_rng(5).normal(size=len(case.y_n)) > 1.6).astype(int)
    assert 0.08 < rare_n.mean() < 0.2
    case = Problem(case.x_nf, rare_n, case.config)
    recall = {}
    for weights in ("none", "balanced"):
        made = run(case, class_weights=weights, learning_rate=1e-2)
        is_rare = case.y_n[made[1].held_n] == 1
        spec = Spec(train=Train(class_weights=weights))
        model, _ = honest.complete(made[1], case.pool, SimpleNamespace(schema=BINARY), spec)
        for answer_nk in (made[1].answer_nk, model.calibrated(made[1].answer_nk)):
            recall.setdefault(weights, []).append(float(answer_nk.argmax(1)[is_rare].mean()))
    assert min(recall["balanced"]) > max(recall["none"]) + 0.3


def test_where_costs_decide_probabilities_stay_honest_though_classes_are_balanced() -> None:
    rng = np.random.default_rng(0)
    case = line("binary", rows=3000)
    rare_n = (case.x_nf[:, 0] + rng.normal(size=len(case.y_n)) > 1.6).astype(int)
    case = Problem(case.x_nf, rare_n, case.config)
    made = run(case, class_weights="balanced", learning_rate=1e-2)
    balanced = Train(class_weights="balanced")
    costs = Decision(false_positive=1.0, false_negative=5.0, positive="b")
    share = case.y_n[made[1].held_n].mean()
    for decision, honest_ones in ((Decision(), False), (costs, True)):
        spec = Spec(train=balanced, decision=decision)
        model, _ = honest.complete(made[1], case.pool, SimpleNamespace(schema=BINARY), spec)
        mean = model.calibrated(made[1].answer_nk)[:, 1].mean()
        assert (abs(mean - share) < 0.02) == honest_ones


def test_dropout_changes_the_result_and_is_the_seeds_own(bent: Problem) -> None:
    net = {"family": "mlp", "width": 8, "members": 2, "epochs": 4, "configurations": 3}
    losses = [loss_of(run(bent, dropout=dropout, **net)) for dropout in (0.0, 0.3, 0.6)]
    assert len(set(losses)) == 3


def test_another_seed_is_another_model(bent: Problem) -> None:
    net = {"family": "mlp", "width": 8, "members": 2, "epochs": 4, "dropout": 0.0, "configurations": 3}
    assert loss_of(run(bent, seed=0, **net)) != loss_of(run(bent, seed=1, **net))


# --- sizes ------------------------------------------------------------------------------------------------------------


def test_the_width_is_that_of_the_layers(bent: Problem) -> None:
    net = {"members": 2, "epochs": 1, "configurations": 3}
    assert leaves_of(run(bent, family="mlp", width=8, **net))["hidden/0/kernel"].shape == (5, 8)
    assert leaves_of(run(bent, family="mlp", width=8, **net))["hidden/1/kernel"].shape == (8, 4)
    assert leaves_of(run(bent, family="tabm", width=8, **net))["head"].shape == (2, 8, 2)


@pytest.mark.slow
def test_members_are_nets_of_a_tabm_and_seeds_of_an_mlp(bent: Problem) -> None:
    for members in (2, 3):
        net = {"width": 8, "members": members, "epochs": 1, "configurations": 3}
        assert leaves_of(run(bent, family="tabm", **net))["adapter"].shape[0] == members
        weights = run(bent, family="mlp", **net)[1].parts[0].weights
        assert {leaf.shape[0] for leaf in jax.tree.leaves(weights)} == {members}


def test_epochs_are_counted_and_patience_ends_them(easy: Problem) -> None:
    def epochs(**more: Any) -> int:
        return len(run(easy, **more)[1].record["trials"][0]["curve"])

    assert [epochs(epochs=1), epochs(epochs=7)] == [1, 7]
    hopeless = {"learning_rate": 1.0, "schedule": "constant"}
    assert epochs(patience=3, **hopeless) < epochs(patience=30, **hopeless) == 30
    curve = run(easy, patience=3, **hopeless)[1].record["trials"][0]["curve"]
    held = [entry["validation_loss"] for entry in curve]
    assert len(held) == int(np.argmin(held)) + 1 + 3


def test_the_batch_size_decides_the_number_of_steps(easy: Problem) -> None:
    small, large = (run(easy, batch_size=size, learning_rate=1e-3, epochs=2) for size in (32, 128))
    assert (small[0].config.batch_size, large[0].config.batch_size) == (32, 128)
    assert norm_of(small) > 2 * norm_of(large)  # Adam's steps are of one length: four times as many go farther


def test_configurations_folds_and_blend_are_what_the_search_does(easy: Problem) -> None:
    for configurations in (1, 3):
        assert len(run(easy, configurations=configurations)[1].record["trials"]) == configurations
    folded = run(easy, folds=3)[1]
    assert folded.record["folds"] == 3
    assert {leaf.shape[0] for leaf in jax.tree.leaves(folded.parts[0].weights)} == {3}
    assert len(run(easy, configurations=3, blend=False)[1].parts) == 1


def test_what_is_left_out_is_searched_and_what_is_given_is_kept_to(easy: Problem) -> None:
    searched = run(easy, configurations=3)[1].record["trials"]
    kept = run(easy, configurations=3, weight_decay=0.05, l1=0.0)[1].record["trials"]
    assert len({(trial["settings"]["weight_decay"], trial["settings"]["l1"]) for trial in searched}) > 1
    assert {(trial["settings"]["weight_decay"], trial["settings"]["l1"]) for trial in kept} == {(0.05, 0.0)}


@pytest.mark.parametrize("name", ["linear", "mlp", "tabm"])
def test_the_family_is_the_one_that_was_asked_for(bent: Problem, name: str) -> None:
    record = run(bent, family=name, width=8, members=2, epochs=1, configurations=3)[1].record
    assert {trial["family"] for trial in record["trials"]} == {name}
