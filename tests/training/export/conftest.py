"""What the tests of the exporter share: how a small function is exported, run and compared."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tidemill.training.export import spec, to_onnx
from tidemill.training.export.parity import furthest, session

FEATURES = 6
BATCH = 3  # a number of rows that no trace has seen


@pytest.fixture(autouse=True, scope="session")
def compiling_fast_rather_than_well() -> Iterator[None]:
    """Most of the time of these tests is XLA optimising functions that run once."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)


def rows() -> np.ndarray:
    """Inputs with zeros and ties among them."""
    x = np.random.default_rng(7).normal(size=(BATCH, FEATURES)).astype(np.float32) * 1.3
    x[0, 1] = x[0, 4] = 0.5
    x[-1, 2] = 0.0
    return x


def gradient(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The gradient of a weighted sum of what a function computes."""

    def total(x):
        y = function(x).astype(jnp.float32)
        return (y * jnp.cos(jnp.arange(y.shape[-1]) if y.ndim else 1.0)).sum()

    return jax.grad(total)


def assert_exported(function: Callable[[Any], Any]) -> None:
    """The graph of a function and of its gradient computes what JAX computes."""

    def both(x):
        return function(x), gradient(function)(x)

    x = rows()
    got = session(to_onnx(both, {"x": spec(("batch", FEATURES))}, ("y", "dx"))).run(None, {"x": x})
    for name, left, right in zip(("function", "gradient"), got, jax.jit(both)(x), strict=True):
        wanted = np.asarray(right)
        scale = max(1.0, float(np.max(np.abs(wanted), initial=0, where=np.isfinite(wanted))))
        assert furthest(left, wanted) <= 1e-5 * scale, (name, left, wanted)


@pytest.fixture(scope="session")
def exported() -> Callable[[Callable[[Any], Any]], None]:
    """The check that a function and its gradient are exported equal."""
    return assert_exported
