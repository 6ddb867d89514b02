"""What a model reads, rows first: one array (a table's features, pixels) or several (a text's n-grams and its tokens).

Any pytree of arrays with the same number of rows. Where there are several they are a NamedTuple, whose fields name the
inputs of the exported graph.

Axes: n rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

Inputs = Any  # a pytree of arrays
ONLY = "x"  # the name of an input that is alone


def count(inputs: Inputs) -> int:
    """The number of rows."""
    return len(jax.tree.leaves(inputs)[0])


def taken(inputs: Inputs, at: Any) -> Inputs:
    """Some rows, by number or slice."""
    return jax.tree.map(lambda array: array[at], inputs)


def joined(parts: Sequence[Inputs]) -> Inputs:
    """Rows of several parts after each other. Parts of different width are filled up with zeros behind."""

    def together(*arrays: NDArray[Any]) -> NDArray[Any]:
        shape = np.max([array.shape[1:] for array in arrays], axis=0, initial=0).astype(int)
        grown = [
            np.pad(a, [(0, 0), *((0, to - at) for to, at in zip(shape, a.shape[1:], strict=True))]) for a in arrays
        ]
        return np.concatenate(grown)

    return jax.tree.map(together, *parts)


def filled(inputs: Inputs, rows: int) -> Inputs:
    """The same with that many rows of zeros behind."""
    return jax.tree.map(lambda array: np.pad(array, [(0, rows), *[(0, 0)] * (array.ndim - 1)]), inputs)


def named(inputs: Inputs) -> dict[str, Any]:
    """The arrays by the names they have in an exported graph; a field without an array is no input."""
    fields = inputs._asdict() if hasattr(inputs, "_asdict") else {ONLY: inputs}
    return {name: array for name, array in fields.items() if array is not None}


def like(inputs: Inputs, arrays: Sequence[Any]) -> Inputs:
    """Arrays in the order of `named` as the inputs they are."""
    return inputs._replace(**dict(zip(named(inputs), arrays, strict=True))) if hasattr(inputs, "_asdict") else arrays[0]
