"""Call: one primitive with its parameters, as a handler sees it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidemill.training.export.flatten import Program
from tidemill.training.export.graph import DTYPES, Graph, Value
from tidemill.training.export.refusal import CannotExport
from tidemill.training.export.shapes import Shape, shape_of


@dataclass(frozen=True)
class Call:
    """The graph to add to, what is applied, and what JAX says comes out."""

    graph: Graph
    primitive: str
    params: dict[str, Any]
    avals: tuple[Any, ...]
    source: str
    lower: Callable[[Graph, Program, list[Value]], list[Value]]

    @property
    def shape(self) -> Shape:
        """The shape of the first output."""
        return shape_of(self.avals[0].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The type of the first output."""
        dtype: np.dtype[Any] = np.dtype(self.avals[0].dtype)
        return dtype

    def refuse(self, why: str, remedy: str = "") -> CannotExport:
        """The error to raise where this primitive cannot be converted exactly."""
        where = f" (at {self.source})" if self.source else ""
        return CannotExport(
            f'The primitive "{self.primitive}" cannot be exported: {why}{where}.',
            remedy=remedy,
            primitive=self.primitive,
            source=self.source,
        )

    def only(self, **expected: Any) -> None:
        """Refuse a parameter that has another value than the handler was written for."""
        for name, value in expected.items():
            given = self.params.get(name)
            if given != value:
                raise self.refuse(f"the parameter {name}={given} is not supported")


Handler = Callable[..., Value | list[Value]]


def check_dtype(aval: Any, refuse: Callable[[str], CannotExport]) -> None:
    """Refuse a type the graph has no kernels for: complex numbers, half precision, random keys."""
    dtype = getattr(aval, "dtype", None)
    if not isinstance(dtype, np.dtype) or dtype not in DTYPES:
        raise refuse(f"values of the type {dtype} are not supported")
