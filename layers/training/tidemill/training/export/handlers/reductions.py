"""Reductions along axes, and sums that run along one.

Inputs must be free of NaN for largest, smallest and argmax: ONNX Runtime passes over a NaN that JAX would return.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.graph import Value, vector
from tidemill.training.export.handlers.arithmetic import apply, number
from tidemill.training.export.shapes import Shape

REDUCED = {"reduce_sum": "ReduceSum", "reduce_max": "ReduceMax", "reduce_min": "ReduceMin", "reduce_prod": "ReduceProd"}
PICKED = {"argmax": "ArgMax", "argmin": "ArgMin"}


def reduce(call: Call, value: Value) -> Value:
    """Sum, largest, smallest or product along some axes."""
    if value.dtype not in (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int32), np.dtype(np.int64)):
        raise call.refuse(f"it has no kernel for {value.dtype}")
    return reduced(call, REDUCED[call.primitive], value, call.params["axes"])


def reduced(call: Call, op: str, value: Value, axes: Sequence[int]) -> Value:
    """One reduction. The axes are kept as ones and dropped by a view, which is free where they come back."""
    dropped = sorted(int(axis) for axis in axes)
    value, repeats = _unrepeated(call, op, value, dropped)
    axes = [axis for axis in dropped if value.held[axis] != 1]
    if axes:
        held: Shape = tuple(1 if axis in axes else dim for axis, dim in enumerate(value.held))
        value = call.graph.emit(op, [value, vector(axes)], value.shape, value.dtype, held=held, keepdims=1)
    if repeats != 1:
        value = apply(call, "Mul", value, number(repeats, value))
    held, shape = (
        tuple(dim for axis, dim in enumerate(dims) if axis not in dropped) for dims in (value.held, value.shape)
    )
    return call.graph.reshape(value, held).like(shape)


def _unrepeated(call: Call, op: str, value: Value, axes: list[int]) -> tuple[Value, int]:
    """The value with the axes to reduce that must be there, and how often the rest counts in a sum."""
    value = call.graph.ranked(value)
    lazy = [axis for axis in axes if value.held[axis] == 1 and value.shape[axis] != 1]
    if op in ("ReduceMax", "ReduceMin"):
        return value, 1
    sizes = [value.shape[axis] for axis in lazy]
    if op == "ReduceSum" and all(isinstance(size, int) for size in sizes):
        return value, int(np.prod([int(size) for size in sizes], dtype=np.int64))
    present = [axis for axis, dim in enumerate(value.held) if dim != 1]
    return call.graph.full(value, [*axes, *present]), 1


def reduce_logical(call: Call, value: Value) -> Value:
    """All or any."""
    if value.dtype != bool:
        raise call.refuse(f"it has no kernel for {value.dtype}")
    op = "ReduceMin" if call.primitive == "reduce_and" else "ReduceMax"
    return call.graph.cast(reduced(call, op, call.graph.cast(value, np.int32), call.params["axes"]), bool)


def pick(call: Call, value: Value) -> Value:
    """Where the largest or smallest stands; the first of equals."""
    if value.dtype.kind != "f" and value.dtype != np.int32:
        raise call.refuse(f"it has no kernel for {value.dtype}")
    (axis,) = call.params["axes"]
    present = [at for at, dim in enumerate(call.graph.ranked(value).held) if dim != 1]
    value = call.graph.full(value, [axis, *present])
    held = tuple(dim for at, dim in enumerate(value.held) if at != axis)
    made = call.graph.emit(
        PICKED[call.primitive],
        [value],
        call.shape,
        np.int64,
        held=held,
        axis=int(axis),
        keepdims=0,
        select_last_index=0,
    )
    return call.graph.cast(made, call.dtype)


def running_sum(call: Call, value: Value) -> Value:
    """The sums of all elements up to each."""
    if value.dtype not in (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int32), np.dtype(np.int64)):
        raise call.refuse(f"it has no kernel for {value.dtype}")
    axis = call.params["axis"]
    axis_value = vector([axis])
    value = call.graph.full(value)
    return call.graph.emit(
        "CumSum",
        [value, call.graph.reshape(axis_value, ())],
        call.shape,
        call.dtype,
        reverse=int(call.params["reverse"]),
    )


HANDLERS: dict[str, Handler] = {
    **dict.fromkeys(REDUCED, reduce),
    **dict.fromkeys(("reduce_and", "reduce_or"), reduce_logical),
    **dict.fromkeys(PICKED, pick),
    "cumsum": running_sum,
}
