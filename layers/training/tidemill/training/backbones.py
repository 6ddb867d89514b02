"""A backbone as training holds it: the weights of a frozen network, equal where their content is."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load as read_tensors

from tidemill.core.backbones import WEIGHTS
from tidemill.core.errors import BadBackbone

Array = NDArray[Any]


@dataclass(frozen=True, eq=False)
class Backbone:
    """Tensors by name, never changed. Hashable, so that a net that carries them can be a static argument of JAX."""

    arrays: Mapping[str, Array]
    digest: str  # SHA-256 of the file

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Backbone) and self.digest == other.digest

    def __hash__(self) -> int:
        return hash(self.digest)

    def tensor(self, name: str, shape: tuple[int, ...], remedy: str) -> Array:
        """A tensor as float32; raises BadBackbone where it is missing or of another shape."""
        found = self.arrays.get(name)
        if found is None or found.shape != shape:
            seen = "no such tensor" if found is None else f"one of shape {found.shape}"
            raise BadBackbone(
                f"{WEIGHTS} should have the tensor {name!r} of shape {shape}; it has {seen}.",
                remedy=remedy,
                tensor=name,
                shape=list(shape),
            )
        return found.astype(np.float32)


def load(folder: Path) -> Backbone:
    """Read model.safetensors; raises BadBackbone."""
    try:
        content = (folder / WEIGHTS).read_bytes()
        arrays = read_tensors(content)
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:  # the last ones: types NumPy has not
        raise BadBackbone(
            f"{WEIGHTS} cannot be read: {error}.", remedy="Save the weights with safetensors, as float32 or float16."
        ) from error
    return Backbone(arrays, hashlib.sha256(content).hexdigest())
