"""Flax modules as pure functions: weights come and go as plain nested dicts of arrays.

Axes: b batch rows (and whatever else stands before), i inputs, o outputs.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import jax
import numpy as np
from flax import nnx

from tidemill.training.families import Weights

Module = TypeVar("Module", bound=nnx.Module)


class Linear(nnx.Linear):  # type: ignore[misc]
    """Flax's layer; its kernel's gradient is asked for as the kernel lies.

    JAX asks for it transposed. For one member XLA then swaps the factors; for a population it multiplies and copies,
    and a step of 32 small nets takes a quarter longer.
    """

    def __init__(self, inputs: int, outputs: int, *, use_bias: bool = True, rngs: nnx.Rngs) -> None:
        super().__init__(inputs, outputs, use_bias=use_bias, rngs=rngs, dot_general=_dot_general)


def _dot_general(x_bi: jax.Array, kernel_io: jax.Array, dimensions: Any, **options: Any) -> jax.Array:
    """What Flax calls: always the last axis of x with the first of the kernel."""
    del dimensions, options
    return product(x_bi, kernel_io)


@jax.custom_vjp
def product(x_bi: jax.Array, kernel_io: jax.Array) -> jax.Array:
    """x_bi @ kernel_io."""
    return x_bi @ kernel_io


def _product_seen(x_bi: jax.Array, kernel_io: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return x_bi @ kernel_io, (x_bi, kernel_io)


def _product_pulled(seen: tuple[jax.Array, jax.Array], pull_bo: jax.Array) -> tuple[jax.Array, jax.Array]:
    x_bi, kernel_io = seen
    rows = tuple(range(x_bi.ndim - 1))
    return pull_bo @ kernel_io.T, jax.lax.dot_general(x_bi, pull_bo, ((rows, rows), ((), ())))


product.defvjp(_product_seen, _product_pulled)


@lru_cache(maxsize=64)
def blueprint(kind: Any, *sizes: Any) -> tuple[Any, Any]:
    """A module's structure and its parameters' shapes, without any arrays."""
    empty = nnx.eval_shape(lambda: kind(*sizes, nnx.Rngs(0)))
    graph, state, _ = nnx.split(empty, nnx.Param, ...)
    return graph, state


def blank(kind: type[Module], *sizes: Any) -> Weights:
    """Zeros in the shape of a module's weights."""
    made: Any = kind
    shapes = nnx.to_pure_dict(blueprint(made, *sizes)[1])
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, np.float32), shapes)


def with_weights(weights: Weights, kind: type[Module], *sizes: Any) -> Module:
    """The module with these weights: made anew at every call, so nothing is shared and nothing leaks."""
    made: Any = kind
    graph, shapes = blueprint(made, *sizes)
    state = jax.tree.map(lambda leaf: leaf, shapes)
    nnx.replace_by_pure_dict(state, weights)
    module: Module = nnx.merge(graph, state)
    return module


def matrices(weights: Weights) -> Any:
    """True for matrices, False for biases: what is usually decayed."""
    return jax.tree.map(lambda leaf: bool(np.ndim(leaf) > 1), weights)
