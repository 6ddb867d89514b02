"""Steps that do not depend on the inputs are computed when the graph is made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from tidemill.training.export.flatten import Step
from tidemill.training.export.graph import Value, constant
from tidemill.training.export.handlers import arithmetic, layout
from tidemill.training.export.shapes import broadcast, is_static, shape_of, size_of

NOT_COMPUTED = {*layout.HANDLERS, *arithmetic.IDENTITIES}
FOLDED_BYTES = 16 << 20  # a constant larger than this is computed when the graph runs, unless its inputs are as large

# Where NumPy gives the same bits as XLA, without compiling anything.
EXACT: dict[str, Callable[..., Any]] = {
    "add": np.add, "add_any": np.add, "sub": np.subtract, "mul": np.multiply, "neg": np.negative, "max": np.maximum,
    "min": np.minimum, "abs": np.abs, "square": np.square, "eq": np.equal, "ne": np.not_equal, "lt": np.less,
    "le": np.less_equal, "gt": np.greater, "ge": np.greater_equal, "floor": np.floor,
}  # fmt: skip


def fold(step: Step, inputs: list[Value]) -> list[Value] | None:
    """The outputs where they do not depend on the inputs of the graph; None where they do, or are too large."""
    if not inputs or step.primitive.name in NOT_COMPUTED or any(value.array is None for value in inputs):
        return None
    shapes = [shape_of(output.aval.shape) for output in step.outputs]
    if step.primitive.name in arithmetic.ELEMENTWISE:
        held = broadcast(*(value.held for value in inputs))
        arrays = [np.broadcast_to(value.array, tuple(map(int, held))) for value in inputs if value.array is not None]
        return [constant(array, shape) for array, shape in zip(_compute(step, arrays), shapes, strict=True)]
    if not all(is_static(shape) for shape in (*shapes, *(value.shape for value in inputs))):
        return None
    sizes = [(size_of(value.shape) or 0) * value.dtype.itemsize for value in inputs]
    made = sum((size_of(shape) or 0) * 4 for shape in shapes)
    if made > max(FOLDED_BYTES, sum(sizes)):
        return None
    return [constant(array) for array in _compute(step, [value.known for value in inputs])]


def _compute(step: Step, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """Apply the primitive, by NumPy where that is exact, else itself, on the CPU and in full precision."""
    quick = _quickly(step, arrays)
    if quick is not None:
        return [quick]
    with jax.default_device(jax.local_devices(backend="cpu")[0]), jax.default_matmul_precision("highest"):
        result: Any = step.primitive.bind(*map(jax.numpy.asarray, arrays), **step.params)  # type: ignore[no-untyped-call]
    return [np.asarray(item) for item in (result if step.primitive.multiple_results else [result])]


def _quickly(step: Step, arrays: list[np.ndarray]) -> np.ndarray | None:
    name, dtype = step.primitive.name, step.outputs[0].aval.dtype
    if name == "convert_element_type" and (arrays[0].dtype.kind, np.dtype(dtype).kind) != ("f", "i"):
        return np.asarray(arrays[0].astype(dtype)) if np.dtype(dtype).kind in "fib" else None
    if name == "select_n" and arrays[0].dtype == bool:
        return np.where(arrays[0], arrays[2], arrays[1])
    if name not in EXACT:
        return None
    with np.errstate(all="ignore"):
        return np.asarray(EXACT[name](*arrays), dtype)
