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
GROUP = 12  # cases compiled together
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


def references(cases: dict[str, Callable[[Any], Any]], name: str, made: dict[Any, Any]) -> tuple[Any, Any]:
    """What JAX computes for a case and its gradient; a group of cases is compiled at once, which halves the time."""
    names = list(cases)
    first = names.index(name) // GROUP * GROUP
    group = names[first : first + GROUP]
    if (id(cases), first) not in made:
        made[id(cases), first] = jax.jit(lambda x: [(cases[item](x), gradient(cases[item])(x)) for item in group])(
            rows()
        )
    pair: tuple[Any, Any] = made[id(cases), first][group.index(name)]
    return pair


@pytest.fixture(scope="session")
def exported() -> Callable[[dict[str, Callable[[Any], Any]], str], None]:
    """The check that the graph of a function and of its gradient computes what JAX computes."""
    made: dict[Any, Any] = {}

    def check(cases, name):
        function = cases[name]
        model = to_onnx(lambda x: (function(x), gradient(function)(x)), {"x": spec(("batch", FEATURES))}, ("y", "dx"))
        got = session(model).run(None, {"x": rows()})
        for part, left, right in zip(("function", "gradient"), got, references(cases, name, made), strict=True):
            wanted = np.asarray(right)
            scale = max(1.0, float(np.max(np.abs(wanted), initial=0, where=np.isfinite(wanted))))
            assert furthest(left, wanted) <= 1e-5 * scale, (part, left, wanted)

    return check
