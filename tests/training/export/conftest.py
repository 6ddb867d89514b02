"""What the tests of the exporter share: how a small function is exported, run and compared."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from tidemill.training.export import CannotExport, spec, to_onnx
from tidemill.training.export.parity import furthest, session

FEATURES = 6
BATCHES = (1, 7)
FAST_COMPILE = {"xla_backend_optimization_level": 0, "xla_llvm_disable_expensive_passes": True}


def rows(count: int) -> np.ndarray:
    """Inputs of a batch size no trace has seen, with zeros and ties among them."""
    x = np.random.default_rng(count).normal(size=(count, FEATURES)).astype(np.float32) * 1.3
    x[0, 1] = x[0, 4] = 0.5
    x[-1, 2] = 0.0
    return x


def gradient(function: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The gradient of a weighted sum of what a function computes."""

    def total(x):
        y = function(x).astype(jnp.float32)
        return (y * jnp.cos(jnp.arange(y.shape[-1]) if y.ndim else 1.0)).sum()

    return jax.grad(total)


def judged(function: Callable[[Any], Any], references: list[Any], at: int) -> str:
    """ "equal" or "refused", or how the exported graph is wrong."""
    try:
        model = to_onnx(function, {"x": spec(("batch", FEATURES))}, ("y",))
    except CannotExport as error:
        return "refused" if error.remedy else "refused without a remedy"
    runner = session(model)
    for batch, reference in zip(BATCHES, references, strict=True):
        (got,) = runner.run(None, {"x": rows(batch)})
        wanted = np.asarray(reference[at])
        scale = max(1.0, float(np.max(np.abs(wanted), initial=0, where=np.isfinite(wanted))))
        apart = furthest(got, wanted)
        if apart > 1e-5 * scale:
            return f"wrong at {batch} rows: {apart} apart on a scale of {scale}"
    return "equal"


@pytest.fixture(scope="session")
def outcome() -> Callable[[Callable[[Any], Any]], tuple[str, str]]:
    """How a function and its gradient fare."""

    def of(function):
        pair = (function, gradient(function))

        def together(*batches):
            return [[part(x) for part in pair] for x in batches]

        references = jax.jit(together, compiler_options=FAST_COMPILE)(*map(rows, BATCHES))
        return judged(pair[0], references, 0), judged(pair[1], references, 1)

    return of
