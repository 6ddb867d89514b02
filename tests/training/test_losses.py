"""Training losses and answers fit together, whatever the scale of the target."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest

from tidemill.core.metrics import row_losses
from tidemill.training import losses

RNG = np.random.default_rng(0)


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
