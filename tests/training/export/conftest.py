"""What the tests of the exporter share: how a small function is exported, run and compared."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tidemill.training.export import CannotExport, spec, to_onnx
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


def judged(function: Callable[[Any], Any], wanted: np.ndarray) -> str:
    """ "equal" or "refused", or how the exported graph is wrong."""
    try:
        model = to_onnx(function, {"x": spec(("batch", FEATURES))}, ("y",))
    except CannotExport as error:
        return f"refused: {error}"
    (got,) = session(model).run(None, {"x": rows()})
    scale = max(1.0, float(np.max(np.abs(wanted), initial=0, where=np.isfinite(wanted))))
    apart = furthest(got, wanted)
    return "equal" if apart <= 1e-5 * scale else f"wrong: {apart} apart on a scale of {scale}"


@pytest.fixture(scope="session")
def outcome() -> Callable[[Callable[[Any], Any]], tuple[str, str]]:
    """How a function and its gradient fare."""

    def of(function):
        pair = (function, gradient(function))
        wanted = jax.jit(lambda x: [part(x) for part in pair])(rows())
        forward, backward = (judged(part, np.asarray(array)) for part, array in zip(pair, wanted, strict=True))
        return forward, backward

    return of
