"""The correction inside the model is the correction that was fitted, in JAX and in ONNX, at every probability."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tidemill.core.calibration import Calibration
from tidemill.training import calibrate
from tidemill.training.export import difference, spec, to_onnx

CASES = [
    (Calibration(), 3),
    (Calibration("platt", 1.7, -0.8), 2),
    (Calibration("platt", 0.2, 3.0), 2),
    (Calibration("platt", 20.0, 0.0), 2),
    (Calibration("temperature", 0.4), 4),
    (Calibration("temperature", 6.0), 3),
]


def probabilities(k: int) -> np.ndarray:
    """Ordinary rows, and rows as far out as single precision goes."""
    z_nk = np.random.default_rng(0).normal(0, 3, (200, k))
    p_nk = np.exp(z_nk) / np.exp(z_nk).sum(1, keepdims=True)
    edges = [np.eye(k)[0], np.eye(k)[-1], np.full(k, 1 / k), np.r_[1 - 1e-7, 1e-7, np.zeros(k - 2)]]
    return np.concatenate([p_nk, edges]).astype(np.float32)


@pytest.mark.parametrize(("calibration", "k"), CASES)
def test_jax_gives_the_numbers_of_numpy(calibration: Calibration, k: int) -> None:
    p_nk = probabilities(k)
    found_nk = np.asarray(jax.jit(lambda p: calibrate.apply(calibration, p))(p_nk))
    assert found_nk.dtype == np.float32
    assert np.abs(found_nk - calibration.apply(p_nk)).max() < 1e-5
    assert np.abs(found_nk.sum(1) - 1).max() < 1e-6


@pytest.mark.parametrize(("calibration", "k"), CASES)
def test_the_exported_graph_gives_them_too(calibration: Calibration, k: int) -> None:
    def model(z_bk: jax.Array) -> jax.Array:
        return calibrate.apply(calibration, jax.nn.softmax(z_bk, axis=-1) * 1.0)

    exported = to_onnx(model, {"x": spec(f"batch, {k}")}, ("probabilities",))
    z_nk = np.random.default_rng(1).normal(0, 12, (300, k)).astype(np.float32)
    assert max(difference(exported, model, [z_nk]).values()) < 1e-5


@pytest.mark.parametrize(("calibration", "k"), CASES)
def test_explanations_can_follow_it(calibration: Calibration, k: int) -> None:
    def chance(z_bk: jax.Array) -> jax.Array:
        return calibrate.apply(calibration, jax.nn.softmax(z_bk, axis=-1))[:, -1].sum()

    z_nk = np.random.default_rng(2).normal(0, 30, (100, k)).astype(np.float32)
    assert bool(jnp.isfinite(jax.grad(chance)(z_nk)).all())
