"""The model families by name. A family is a small file: a Flax module, made pure, and one line in FAMILIES."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any, Protocol

import jax
import numpy as np

from tidemill.core.errors import BadSpec

Weights = Any  # a pytree of arrays
Drop = Callable[[jax.Array], jax.Array]  # what a layer's output goes through: dropout in training, nothing after


class Net(Protocol):
    """An architecture with its sizes filled in; hashable, so that JAX can take it as a static argument."""

    features: int
    outputs: int

    def init(self, rng: np.random.Generator) -> Weights:
        """Fresh weights of one member, as NumPy arrays."""

    def enter(self, weights: Weights, x_bf: jax.Array) -> Any:
        """The affine part that features go through first (any pytree [b, ...]), or the features as they are."""

    def finish(self, weights: Weights, entered: Any, drop: Drop) -> jax.Array:
        """Outputs [b, k] of one member from what `enter` gave: logits, or the standardised value."""


class Family(Protocol):
    """What a module of this folder holds."""

    NAME: str
    DESCRIPTION: str  # one line, for the card

    def net(self, features: int, outputs: int) -> Net:
        """The architecture for these sizes."""


# name -> module; imported when asked for, so that a family costs nothing where it is not used
FAMILIES = {"mlp": "tidemill.training.families.mlp"}


def family(name: str) -> Family:
    """A family by name; raises BadSpec naming the known ones."""
    if name not in FAMILIES:
        raise BadSpec(f"[train] family is {name!r}.", remedy=f"It is one of {', '.join(map(repr, FAMILIES))}.")
    module: Any = import_module(FAMILIES[name])
    return module  # type: ignore[no-any-return]


def keep(x: jax.Array) -> jax.Array:
    """Drop nothing: a layer after training."""
    return x
