"""Tidemill's linear layer is Flax's, gradient and all, for one member and for several."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx

from tidemill.training.families import modules


def pulled(kind: Any, x: Any, pull: Any) -> Any:
    """Output and gradients by kernel, bias and input of a layer with weights that follow from the seed."""

    def output(kernel: jax.Array, bias: jax.Array, x: jax.Array) -> jax.Array:
        layer = kind(5, 3, rngs=nnx.Rngs(0))
        layer.kernel, layer.bias = nnx.Param(kernel), nnx.Param(bias)
        return layer(x)  # type: ignore[no-any-return]

    drawn = np.random.default_rng(3)
    weights = drawn.normal(size=(5, 3)).astype(np.float32), drawn.normal(size=3).astype(np.float32)
    out, back = jax.vjp(output, *weights, x)
    return out, *back(pull)


@pytest.mark.parametrize("before", [(7,), (7, 4)])
@pytest.mark.parametrize("members", [0, 2])
def test_the_layer_and_its_gradients_are_those_of_flax(before: tuple[int, ...], members: int) -> None:
    drawn, several = np.random.default_rng(0), ((members,) if members else ())
    x = drawn.normal(size=(*several, *before, 5)).astype(np.float32)
    pull = drawn.normal(size=(*several, *before, 3)).astype(np.float32)

    def of(kind: Any) -> Any:
        return (jax.vmap(partial(pulled, kind)) if members else partial(pulled, kind))(x, pull)

    for left, right in zip(of(modules.Linear), of(nnx.Linear), strict=True):
        assert left.shape == right.shape
        assert np.allclose(left, right, atol=1e-5)
