"""Flax modules as pure functions: weights come and go as plain nested dicts of arrays."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar

import jax
import numpy as np
from flax import nnx

from tidemill.training.families import Weights

Module = TypeVar("Module", bound=nnx.Module)


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
