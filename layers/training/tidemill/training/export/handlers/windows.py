"""Pooling: largest, smallest and sum over windows, and where the gradient of a largest goes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.graph import Value, constant, vector
from tidemill.training.export.handlers.arithmetic import apply, number
from tidemill.training.export.handlers.products import joined
from tidemill.training.export.shapes import Shape


@dataclass(frozen=True)
class Pool:
    """A window in the form of ONNX: (all, 1, space...), the space being the axes the window goes along."""

    order: list[int]  # the axes of the value, those without a window first
    space: list[int]
    attributes: dict[str, Any]

    def moved(self, call: Call, value: Value) -> Value:
        """A value with its axes in this form."""
        value = call.graph.full(call.graph.transpose(call.graph.full(value), self.order))
        shape = self.shape(value.shape)
        return call.graph.reshape(value, shape).like(shape)

    def shape(self, moved: Shape) -> Shape:
        """The shape in this form, from that of a value with its axes in order."""
        plain = len(self.order) - len(self.space)
        return (joined(moved[:plain]), 1, *moved[plain:])

    def back(self, call: Call, value: Value, shape: Shape) -> Value:
        """A value in this form with its axes as JAX has them."""
        moved = tuple(shape[axis] for axis in self.order)
        value = call.graph.reshape(value, moved).like(moved)
        return call.graph.transpose(value, list(np.argsort(self.order)))


def pool_of(call: Call) -> Pool:
    """The window of a primitive; refuses what MaxPool and AveragePool do not have."""
    params = call.params
    sizes, strides = list(params["window_dimensions"]), list(params["window_strides"])
    padding = [tuple(pair) for pair in params["padding"]]
    holes = list(params.get("window_dilation", (1,) * len(sizes)))
    if any(step != 1 for step in params.get("base_dilation", ())):
        raise call.refuse("holes in the operand are not supported")
    numbers = [*sizes, *strides, *holes, *(end for pair in padding for end in pair)]
    if not all(isinstance(item, int | np.integer) and item >= 0 for item in numbers):
        raise call.refuse("windows, strides and padding must be numbers that are not negative")
    window = list(zip(sizes, strides, padding, strict=True))
    space = [axis for axis, item in enumerate(window) if item != (1, 1, (0, 0))] or [len(sizes) - 1]
    if len(space) > 3:
        raise call.refuse("a window can go along three axes at most")
    if any(end >= holes[axis] * (sizes[axis] - 1) + 1 for axis in space for end in padding[axis]):
        raise call.refuse("the padding must be smaller than the window")
    attributes: dict[str, Any] = {
        "kernel_shape": _pick(sizes, space),
        "strides": _pick(strides, space),
        "dilations": _pick(holes, space),
        "pads": _pick([low for low, _ in padding], space) + _pick([high for _, high in padding], space),
    }
    return Pool([*(axis for axis in range(len(sizes)) if axis not in space), *space], space, attributes)


def _pick(numbers: Sequence[int], axes: Sequence[int]) -> list[int]:
    return [int(numbers[axis]) for axis in axes]


def largest(call: Call, value: Value) -> Value:
    """The largest in every window, or the smallest: the negative of the largest negative."""
    _check(call, value)
    pool = pool_of(call)
    smallest = call.primitive == "reduce_window_min"
    moved = pool.moved(call, apply(call, "Neg", value) if smallest else value)
    made = call.graph.emit("MaxPool", [moved], _made(call, pool), value.dtype, **pool.attributes)
    result = pool.back(call, made, call.shape)
    return apply(call, "Neg", result) if smallest else result


def total(call: Call, value: Value) -> Value:
    """The sum of every window: its mean, padding counted, times its size."""
    _check(call, value)
    pool = pool_of(call)
    moved = pool.moved(call, value)
    mean = call.graph.emit(
        "AveragePool", [moved], _made(call, pool), value.dtype, count_include_pad=1, **pool.attributes
    )
    size = int(np.prod(pool.attributes["kernel_shape"]))
    return pool.back(call, apply(call, "Mul", mean, number(size, mean)), call.shape)


def to_largest(call: Call, source: Value, operand: Value) -> Value:
    """What arrives for a window goes to its largest element, the first of equals."""
    _check(call, operand)
    graph, pool = call.graph, pool_of(call)
    chosen = str(call.params["select_prim"].name)
    if chosen not in ("ge", "le"):
        raise call.refuse(f"windows select with {chosen}")
    moved = pool.moved(call, operand if chosen == "ge" else apply(call, "Neg", operand))
    arriving = pool.moved(call, source)
    _, places = graph.node("MaxPool", [moved], outputs=2, **pool.attributes)
    flat = Value(places, arriving.shape, arriving.shape, np.dtype(np.int64))
    ends = [graph.emit("Reshape", [item, vector([-1])], ("all",), item.dtype) for item in (flat, arriving)]
    count = (joined(moved.shape),)
    zeros = graph.emit("Expand", [constant(np.zeros((), operand.dtype)), graph.dims(count)], count, operand.dtype)
    summed = graph.emit("ScatterElements", [zeros, *ends], count, operand.dtype, axis=0, reduction="add")
    shape = tuple(call.shape[axis] for axis in pool.order)
    made = graph.reshape(summed, pool.shape(shape))
    return pool.back(call, made.like(made.held), call.shape)


def _check(call: Call, value: Value) -> None:
    if value.dtype != np.float32:
        raise call.refuse(f"it has no kernel for {value.dtype}")


def _made(call: Call, pool: Pool) -> Shape:
    return pool.shape(tuple(call.shape[axis] for axis in pool.order))


HANDLERS: dict[str, Handler] = {
    "reduce_window_max": largest, "reduce_window_min": largest, "reduce_window_sum": total,
    "select_and_scatter_add": to_largest,
}  # fmt: skip
