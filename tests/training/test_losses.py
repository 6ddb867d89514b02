"""Training losses and answers fit together, whatever the scale of the target."""

from __future__ import annotations

from functools import partial
from typing import Any, get_args, get_type_hints

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from tidemill.core.errors import BadSpec
from tidemill.core.metrics import row_losses
from tidemill.core.spec import Train
from tidemill.training import losses
from tidemill.training.export import difference, spec, to_onnx

RNG = np.random.default_rng(0)
TASKS = ["binary", "multiclass", "regression"]
FITTING = {
    "binary": ["softmax", "sigmoid"],
    "multiclass": ["softmax", "sigmoid"],
    "regression": ["mse", "mae", "huber"],
}
UNUSED = losses.scale_of(np.array([0, 1]), log1p=False)


@pytest.mark.parametrize("log1p", [False, True])
def test_a_perfect_output_has_no_loss_and_is_answered_as_the_target(log1p: bool) -> None:
    y_n = np.exp(RNG.normal(10, 1, 100))
    scale = losses.scale_of(y_n, log1p=log1p)
    learned = np.log1p(y_n) if log1p else y_n
    out_nk = jnp.asarray(((learned - learned.mean()) / learned.std())[:, None], jnp.float32)
    assert float(losses.row_losses("regression", log1p, scale, out_nk, jnp.asarray(y_n)).max()) < 1e-9
    value_nk = losses.answer("regression", log1p, scale, jnp.stack([out_nk, out_nk]))
    assert np.allclose(value_nk[:, 0], y_n, rtol=1e-4)


def test_answers_stay_near_what_was_seen_and_never_turn_negative_without_cause() -> None:
    scale = losses.scale_of(np.array([1.0, 2.0, 11.0]), log1p=False)
    wild = jnp.asarray([[[1e9], [-1e9]]])
    low, high = losses.answer("regression", False, scale, wild.transpose(0, 1, 2))[:, 0][::-1]
    assert float(low) == pytest.approx(0.5)
    assert float(high) == pytest.approx(11.5)
    assert float(losses.scale_of(np.array([0.0, 1.0]), log1p=False).low) == 0.0
    assert float(losses.scale_of(np.array([-1.0, 1.0]), log1p=False).low) < -1.0


def test_a_constant_target_is_answered() -> None:
    scale = losses.scale_of(np.full(5, 3.0), log1p=False)
    assert float(losses.answer("regression", False, scale, jnp.zeros((2, 1, 1)))[0, 0]) == 3.0


def test_members_are_averaged_as_probabilities() -> None:
    sure = jnp.asarray([[[10.0, -10.0]], [[-10.0, 10.0]]])
    scale = losses.scale_of(np.array([0, 1]), log1p=False)
    assert np.allclose(losses.answer("binary", False, scale, sure), [[0.5, 0.5]])


def test_what_early_stopping_watches_is_the_primary_metric_of_core() -> None:
    p_nk, y_n = RNG.dirichlet(np.ones(3), 50).astype(np.float32), RNG.integers(0, 3, 50)
    ours = losses.primary_losses("multiclass", jnp.asarray(p_nk), jnp.asarray(y_n))
    assert np.allclose(ours, row_losses("multiclass", y_n, p_nk), rtol=1e-5)


# --- losses by name ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "name"), [("binary", "softmax"), ("multiclass", "softmax"), ("regression", "mse")])
def test_auto_means_the_loss_of_the_task(task: str, name: str) -> None:
    assert losses.resolve_loss("auto", task) == name
    assert losses.resolve_loss(name, task) == name


@pytest.mark.parametrize("task", TASKS)
def test_a_loss_of_another_task_is_refused_with_those_that_fit(task: str) -> None:
    fitting = FITTING[task]
    for name in [*({name for names in FITTING.values() for name in names} - set(fitting)), "hinge"]:
        with pytest.raises(BadSpec, match=f"'{name}'.*{task}") as caught:
            losses.resolve_loss(name, task)
        assert all(repr(right) in caught.value.remedy for right in ("auto", *fitting))


def test_the_names_are_those_of_the_specification() -> None:
    hints = get_type_hints(Train)
    assert (
        set(get_args(hints["loss"])) == {"auto", *losses.LOSSES} == {"auto", *FITTING["binary"], *FITTING["regression"]}
    )
    assert get_args(hints["class_weights"]) == losses.CLASS_WEIGHTS


@pytest.mark.parametrize("loss", FITTING["binary"])
def test_a_perfect_class_has_no_loss_and_a_wrong_one_much(loss: str) -> None:
    for k in (2, 3):
        sure_nk, y_n = 60 * jnp.eye(k) - 30, jnp.arange(k)
        assert float(of_rows("multiclass", sure_nk, y_n, loss).max()) < 1e-6
        assert float(of_rows("multiclass", sure_nk, (y_n + 1) % k, loss).min()) > 30


def test_for_two_classes_the_sigmoid_is_the_softmax() -> None:
    out_nk, y_n = logits(2), jnp.asarray(RNG.integers(0, 2, 50))
    softmax, sigmoid = (of_rows("binary", out_nk, y_n, name) for name in FITTING["binary"])
    assert np.allclose(softmax, sigmoid, atol=1e-5)
    answers = [losses.answer("binary", False, UNUSED, out_nk[None], name) for name in FITTING["binary"]]
    assert np.allclose(*answers, atol=1e-6)


def test_of_more_classes_the_sigmoid_asks_each_for_itself() -> None:
    """What a class costs does not depend on what the others say: with softmax it does."""
    out_nk = jnp.asarray([[1.0, 0.5, -2.0], [1.0, 0.5, 3.0]])
    slopes = {
        name: np.asarray(slope("multiclass", out_nk, jnp.zeros(2, jnp.int32), name)) for name in FITTING["binary"]
    }
    assert np.allclose(slopes["sigmoid"][:, 1], 1 / (1 + np.exp(-0.5)))
    assert slopes["softmax"][0, 1] > 2 * slopes["softmax"][1, 1]


@pytest.mark.parametrize("loss", FITTING["binary"])
@pytest.mark.parametrize("k", [2, 3, 26])
def test_answers_sum_to_one_however_far_the_outputs_are_and_rank_as_they_do(loss: str, k: int) -> None:
    for reach in (0.1, 3.0, 300.0, 1e4):
        out_nk = logits(k, reach)
        p_nk = np.asarray(losses.answer("multiclass", False, UNUSED, out_nk[None], loss))
        assert np.allclose(p_nk.sum(1), 1.0, atol=1e-5)
        assert (p_nk >= 0).all()
        if reach <= 3:  # beyond, several sigmoids round to one
            assert (p_nk.argmax(1) == np.asarray(out_nk).argmax(1)).all()
    low_nk = jnp.asarray([[-200.0, -210.0, -230.0]])  # every question answered no
    assert float(losses.answer("multiclass", False, UNUSED, low_nk[None], "sigmoid")[0, 0]) == pytest.approx(
        1, abs=1e-4
    )


def test_sigmoid_answers_are_the_sigmoids_shared_out() -> None:
    out_nk = logits(4)
    sigmoid_nk = 1 / (1 + np.exp(-np.asarray(out_nk, np.float64)))
    ours = losses.answer("multiclass", False, UNUSED, out_nk[None], "sigmoid")
    assert np.allclose(ours, sigmoid_nk / sigmoid_nk.sum(1, keepdims=True), atol=1e-6)


def test_the_sigmoid_answer_and_its_gradient_can_be_exported() -> None:
    def answered(out_bk: Any) -> Any:
        return losses.answer("multiclass", False, UNUSED, out_bk[None], "sigmoid")

    def pushed(out_bk: Any) -> Any:
        return jax.grad(lambda out_bk: answered(out_bk)[:, 0].sum())(out_bk)

    out_bk = np.concatenate([logits(3, 4.0), np.zeros((1, 3)), np.full((1, 3), -80.0)]).astype(np.float32)
    for function in (answered, pushed):
        model = to_onnx(function, {"x": spec("batch, 3")}, ("y",))
        assert max(difference(model, function, [out_bk]).values()) < 1e-5


def test_huber_is_half_the_square_near_the_target_and_the_distance_less_a_half_far_off() -> None:
    y_n = RNG.normal(50, 7, 200)
    scale = losses.scale_of(y_n, log1p=False)
    target_n = jnp.asarray((y_n - y_n.mean()) / y_n.std(), jnp.float32)[:, None]
    mse, mae, huber = (
        {
            by: losses.row_losses("regression", False, scale, target_n + by, jnp.asarray(y_n), name)
            for by in (-40.0, -0.5, 0.0, 0.9, 3.0)
        }
        for name in FITTING["regression"]
    )
    for by in (-0.5, 0.0, 0.9):
        assert np.allclose(huber[by], mse[by] / 2, atol=1e-5)
    for by in (-40.0, 3.0):
        assert np.allclose(huber[by], mae[by] - 0.5, atol=1e-4)
        assert np.allclose(mae[by], abs(by), atol=1e-4)


def test_the_constant_that_fits_best_is_the_mean_of_mse_the_median_of_mae_and_between_for_huber() -> None:
    y_n = np.exp(RNG.normal(0, 1, 401))
    best = {name: constant_fit(y_n, False, name) for name in FITTING["regression"]}
    assert best["mse"] == pytest.approx(y_n.mean(), rel=0.01)
    assert best["mae"] == pytest.approx(np.median(y_n), rel=0.01)
    assert best["mae"] < best["huber"] < best["mse"]


def test_on_a_logarithmic_scale_the_median_stays_the_median_and_the_mean_does_not() -> None:
    y_n = np.exp(RNG.normal(3, 1, 401))
    assert constant_fit(y_n, True, "mae") == pytest.approx(np.median(y_n), rel=0.01)
    assert constant_fit(y_n, True, "mse") == pytest.approx(np.expm1(np.log1p(y_n).mean()), rel=0.01)
    assert constant_fit(y_n, True, "mse") < 0.8 * y_n.mean()


@pytest.mark.parametrize("task", TASKS)
def test_losses_of_many_members_are_those_of_each(task: str) -> None:
    k = {"binary": 2, "multiclass": 3, "regression": 1}[task]
    y_n = RNG.normal(size=50) if task == "regression" else RNG.integers(0, k, 50)
    scale, out_mnk = losses.scale_of(y_n, log1p=False), jnp.stack([logits(k), logits(k)])
    for name in FITTING[task]:
        one = partial(losses.row_losses, task, False, scale, y_b=jnp.asarray(y_n), loss=name)
        assert np.allclose(jax.vmap(one)(out_mnk), [one(out_nk) for out_nk in out_mnk], atol=1e-6)


# --- class weights ----------------------------------------------------------------------------------------------------


def test_balanced_weights_give_every_class_the_same_weight_and_a_row_one_on_average() -> None:
    y_n = np.repeat([0, 1, 2], [90, 9, 1])
    weight_k = losses.class_weights("balanced", y_n, 3)
    assert weight_k.dtype == np.float32
    assert weight_k[y_n].mean() == pytest.approx(1.0)
    assert np.bincount(y_n) * weight_k == pytest.approx([100 / 3] * 3)
    assert weight_k == pytest.approx(compute_class_weight("balanced", classes=np.arange(3), y=y_n))


def test_a_class_without_rows_weighs_one_and_does_not_lighten_the_others() -> None:
    y_n = np.repeat([0, 2], [30, 10])
    weight_k = losses.class_weights("balanced", y_n, 4)
    assert weight_k == pytest.approx([40 / 60, 1, 40 / 20, 1])
    assert weight_k[y_n].mean() == pytest.approx(1.0)
    assert losses.class_weights("balanced", np.zeros(0, np.int64), 2).tolist() == [1, 1]


def test_without_class_weights_every_row_weighs_one() -> None:
    assert losses.class_weights("none", RNG.integers(0, 3, 9), 3).tolist() == [1, 1, 1]
    assert losses.class_weights("none", RNG.normal(size=9), 1).tolist() == [1]


def test_class_weights_are_refused_for_numbers_and_by_unknown_names() -> None:
    with pytest.raises(BadSpec, match="target is a number"):
        losses.class_weights("balanced", RNG.normal(size=9), 1)
    with pytest.raises(BadSpec, match="'rare'") as caught:
        losses.class_weights("rare", RNG.integers(0, 2, 9), 2)
    assert all(repr(name) in caught.value.remedy for name in losses.CLASS_WEIGHTS)


# --- what the tests above are made of ---------------------------------------------------------------------------------


def logits(k: int, reach: float = 1.0) -> Any:
    """Fifty rows of outputs."""
    return jnp.asarray(RNG.normal(0, reach, (50, k)), jnp.float32)


def of_rows(task: str, out_nk: Any, y_n: Any, loss: str) -> Any:
    """The losses of rows whose target needs no scale."""
    return losses.row_losses(task, False, UNUSED, out_nk, y_n, loss)


def slope(task: str, out_nk: Any, y_n: Any, loss: str) -> Any:
    """What each output adds to the loss of its row."""
    return jax.grad(lambda out_nk: of_rows(task, out_nk, y_n, loss).sum())(out_nk)


def constant_fit(y_n: Any, log1p: bool, loss: str) -> float:
    """The answer of the one output, of ten thousand, whose mean loss is least."""
    scale = losses.scale_of(y_n, log1p=log1p)

    def mean(out: Any) -> Any:
        out_nk = jnp.full((len(y_n), 1), out)
        return losses.row_losses("regression", log1p, scale, out_nk, jnp.asarray(y_n, jnp.float32), loss).mean()

    outs = jnp.linspace(-3, 3, 10_001)
    best = outs[jax.lax.map(mean, outs, batch_size=500).argmin()]
    return float(losses.answer("regression", log1p, scale, best.reshape(1, 1, 1), loss)[0, 0])
