"""Slices whose start is computed, taken and replaced; JAX moves a start so that the window is inside."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.graph import Value, vector
from tidemill.training.export.handlers.arithmetic import apply
from tidemill.training.export.handlers.layout import END, join
from tidemill.training.export.handlers.places import Plan, clipped, last_starts
from tidemill.training.export.shapes import Shape, shape_of


def dynamic_slice(call: Call, operand: Value, *starts: Value) -> Value:
    """A part whose start is computed; JAX moves it inside."""
    sizes = shape_of(call.params["slice_sizes"])
    axes = [at for at, size in enumerate(sizes) if size != operand.shape[at]]
    if not axes:
        return operand
    begin = _starts(call, operand, sizes, axes, starts)
    end = apply(call, "Add", begin, call.graph.dims(tuple(sizes[at] for at in axes)))
    operand = call.graph.full(operand)
    inputs = [operand, begin, end, vector(axes)]
    return call.graph.emit("Slice", inputs, call.shape, operand.dtype)


def _starts(call: Call, operand: Value, sizes: Shape, axes: list[int], starts: Sequence[Value]) -> Value:
    plan = Plan(tuple(axes), (), (), (), (), sizes)
    graph = call.graph
    pieces = [graph.reshape(graph.cast(starts[at], np.int64), (1,)).like((1,)) for at in axes]
    return graph.full(clipped(call, join(call, pieces, 0, (len(axes),)), last_starts(call, plan, operand)))


def dynamic_update_slice(call: Call, operand: Value, update: Value, *starts: Value) -> Value:
    """A part replaced whose start is computed, axis by axis: what stands before it, the new part, what stands after."""
    axes = [at for at, size in enumerate(update.shape) if size != operand.shape[at]]
    if not axes:
        return call.graph.full(update)
    begin = _starts(call, operand, update.shape, axes, starts)
    end = apply(call, "Add", begin, call.graph.dims(tuple(update.shape[at] for at in axes)))
    return _replaced(call, call.graph.full(operand), call.graph.full(update), axes, begin, end)


def _replaced(call: Call, operand: Value, update: Value, axes: list[int], begin: Value, end: Value) -> Value:
    """The operand with the update in place along these axes; begin and end have one number for each."""
    graph, (axis, *others) = call.graph, axes
    first, last = (_numbered(call, bounds, 0, 1) for bounds in (begin, end))
    if others:
        shape = tuple(update.shape[at] if at == axis else dim for at, dim in enumerate(operand.shape))
        band = graph.emit("Slice", [operand, first, last, vector([axis])], shape, operand.dtype)
        rest = [_numbered(call, bounds, 1, len(axes)) for bounds in (begin, end)]
        update = _replaced(call, band, update, others, *rest)
    (before,) = graph.node("Slice", [operand, vector([0]), first, vector([axis])])
    (after,) = graph.node("Slice", [operand, last, vector([END]), vector([axis])])
    ends = [Value(name, operand.shape, operand.shape, operand.dtype) for name in (before, after)]
    return graph.emit("Concat", [ends[0], update, ends[1]], operand.shape, operand.dtype, axis=axis)


def _numbered(call: Call, bounds: Value, first: int, last: int) -> Value:
    if bounds.shape == (last - first,):
        return bounds
    if bounds.array is not None:
        return vector(bounds.known[first:last].tolist())
    return call.graph.emit("Slice", [bounds, vector([first]), vector([last])], (last - first,), np.int64)


HANDLERS: dict[str, Handler] = {"dynamic_slice": dynamic_slice, "dynamic_update_slice": dynamic_update_slice}
