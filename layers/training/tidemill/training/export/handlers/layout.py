"""Primitives that move elements and compute nothing: most of them only change how a tensor is seen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.graph import Graph, Value, constant, vector
from tidemill.training.export.shapes import Dim, Shape, is_static, ranked, shape_of, stripped

END = np.iinfo(np.int64).max  # "to the end" in ONNX's Slice
LARGEST_IOTA = 1 << 16  # elements; a longer count is computed when the graph runs


def broadcast_in_dim(call: Call, value: Value, *_: Value) -> Value:
    """Place the axes among new ones; nothing is repeated yet, see graph.Value."""
    shape = call.shape
    held: list[Dim] = [1] * len(shape)
    for axis, dim in zip(call.params["broadcast_dimensions"], ranked(value.held, len(value.shape)), strict=True):
        held[axis] = dim
    target = stripped(tuple(held))
    if target == stripped(value.held):
        return value.like(shape)
    return call.graph.reshape(value, target).like(shape)


def reshape(call: Call, value: Value, *_: Value) -> Value:
    """Other dimensions over the same elements in the same order."""
    if call.primitive == "reshape" and call.params.get("dimensions") is not None:
        value = call.graph.transpose(value, call.params["dimensions"])
    shape = call.shape
    if not value.held:
        return value.like(shape)
    if _without_ones(value.shape) == _without_ones(shape):
        return call.graph.reshape(value, _follow(value, shape)).like(shape)
    return call.graph.reshape(call.graph.full(value), shape).like(shape)


def _without_ones(shape: Shape) -> Shape:
    return tuple(dim for dim in shape if dim != 1)


def _follow(value: Value, shape: Shape) -> Shape:
    """How a lazily held value is held in a shape that differs by ones only."""
    real = [held for held, dim in zip(ranked(value.held, len(value.shape)), value.shape, strict=True) if dim != 1]
    rest = iter(real)
    return tuple(1 if dim == 1 else next(rest) for dim in shape)


def transpose(call: Call, value: Value) -> Value:
    """The axes in another order."""
    return call.graph.transpose(value, call.params["permutation"])


def concatenate(call: Call, *values: Value) -> Value:
    """Side by side along one axis."""
    return join(call, values, int(call.params["dimension"]), call.shape)


def stack(call: Call, *values: Value) -> Value:
    """Side by side along a new axis."""
    axis = int(call.params["axis"]) % len(call.shape)
    shape = (*call.shape[:axis], 1, *call.shape[axis + 1 :])
    layers = []
    for value in values:
        held = ranked(value.held, len(value.shape))
        layers.append(call.graph.reshape(value, (*held[:axis], 1, *held[axis:])).like(shape))
    return join(call, layers, axis, call.shape)


def join(call: Call, values: Sequence[Value], axis: int, made: Shape) -> Value:
    """Concat into a shape; an axis that every value repeats stays unrepeated."""
    lazy = [call.graph.ranked(value) for value in values if value.shape[axis] != 0]
    if not lazy:
        raise call.refuse("there is nothing to join")
    keep = [at for at in range(len(made)) if at == axis or any(value.held[at] != 1 for value in lazy)]
    full = [call.graph.full(value, keep) for value in lazy]
    held = tuple(dim if at in keep else 1 for at, dim in enumerate(made))
    if len(full) == 1:
        return full[0].like(made)
    if all(value.array is not None and value.array.nbytes < 1024 for value in full):
        array = np.concatenate([value.array for value in full if value.array is not None], axis)
        return constant(array, made)
    return call.graph.emit("Concat", full, made, full[0].dtype, held=held, axis=axis)


def slice_(call: Call, value: Value) -> Value:
    """A part along every axis, with fixed bounds and steps."""
    starts, limits = shape_of(call.params["start_indices"]), shape_of(call.params["limit_indices"])
    strides = tuple(int(step) for step in call.params["strides"] or (1,) * len(starts))
    return cut(call, value, starts, limits, strides, call.shape)


def cut(call: Call, value: Value, starts: Shape, limits: Shape, strides: Sequence[int], made: Shape) -> Value:
    """Slice into a shape, only along the axes where it leaves something out."""
    shape = value.shape
    axes = [at for at in range(len(shape)) if (starts[at], limits[at], strides[at]) != (0, shape[at], 1)]
    if not axes:
        return value.like(made)
    if not value.held:
        return value.like(made)
    graph = call.graph
    value = graph.full(value, [*axes] + [at for at, dim in enumerate(graph.ranked(value).held) if dim != 1])
    held = tuple(made[at] if at in axes else dim for at, dim in enumerate(value.held))
    if value.array is not None and is_static((*starts, *limits)) and value.array.nbytes < 1024:
        index = tuple(
            slice(int(starts[at]), int(limits[at]), int(strides[at])) if at in axes else slice(None)
            for at in range(len(shape))
        )
        return constant(value.array[index], made)
    bounds = [graph.dims(tuple(starts[at] for at in axes)), _limits(call, limits, shape, axes)]
    steps = vector([strides[at] for at in axes])
    return graph.emit("Slice", [value, *bounds, vector(axes), steps], made, value.dtype, held=held)


def _limits(call: Call, limits: Shape, shape: Shape, axes: list[int]) -> Value:
    return call.graph.dims(tuple(END if limits[at] == shape[at] else limits[at] for at in axes))


def reverse(call: Call, value: Value) -> Value:
    """Back to front along some axes."""
    axes = [int(axis) for axis in call.params["dimensions"]]
    value = call.graph.ranked(value)
    axes = [axis for axis in axes if value.held[axis] != 1]
    if not axes:
        return value
    if value.array is not None and value.array.nbytes < 1024:
        return constant(np.flip(value.array, tuple(axes)), value.shape)
    count = len(axes)
    bounds = [vector([-1] * count), vector([-END] * count), vector(axes), vector([-1] * count)]
    return call.graph.emit("Slice", [value, *bounds], value.shape, value.dtype, held=value.held)


def pad(call: Call, value: Value, filling: Value) -> Value:
    """Elements added at the ends, taken away where negative, and put between the elements (interior)."""
    config = [tuple(shape_of(axis)) for axis in call.params["padding_config"]]
    if filling.held != ():
        filling = call.graph.reshape(filling, ())
    value = call.graph.full(value)
    for axis, (_, _, between) in enumerate(config):
        if between != 0:
            value = spread(call, value, filling, axis, int(between))
    return pad_ends(call, value, filling, [low for low, _, _ in config], [high for _, high, _ in config]).like(
        call.shape
    )


def pad_ends(call: Call, value: Value, filling: Value, lows: Sequence[Dim], highs: Sequence[Dim]) -> Value:
    """Pad; a negative amount cuts."""
    axes = [at for at in range(len(lows)) if (lows[at], highs[at]) != (0, 0)]
    if not axes:
        return value
    if value.dtype == bool:
        wide = pad_ends(call, call.graph.cast(value, np.int32), call.graph.cast(filling, np.int32), lows, highs)
        return call.graph.cast(wide, bool)
    amounts = call.graph.dims((*(lows[at] for at in axes), *(highs[at] for at in axes)))
    return call.graph.emit("Pad", [value, amounts, filling, vector(axes)], call.shape, value.dtype)


def spread(call: Call, value: Value, filling: Value, axis: int, between: int) -> Value:
    """Put `between` fillings after every element: a new axis, padded, then merged, less the last fillings."""
    graph, shape = call.graph, value.shape
    size = shape[axis]
    unit = graph.reshape(value, (*shape[: axis + 1], 1, *shape[axis + 1 :]))
    step = between + 1
    amounts = vector([0, between])
    wide_shape: Shape = (*shape[: axis + 1], step, *shape[axis + 1 :])
    wide = graph.emit("Pad", [unit.like(unit.held), amounts, filling, vector([axis + 1])], wide_shape, value.dtype)
    long: Dim = size * step if isinstance(size, int) else f"{step}*({size})"
    spread: Dim = long - between if isinstance(long, int) else f"{long} - {between}"
    merged = graph.reshape(wide, (*shape[:axis], long, *shape[axis + 1 :]))
    cut_shape = (*shape[:axis], spread, *shape[axis + 1 :])
    bounds = [vector([0]), vector([-between]), vector([axis])]
    return graph.emit("Slice", [merged.like(merged.held), *bounds], cut_shape, value.dtype)


def iota(call: Call) -> Value:
    """Counting along one axis."""
    axis = int(call.params["dimension"])
    length, after = call.shape[axis], len(call.shape) - axis - 1
    if isinstance(length, int) and length <= LARGEST_IOTA:
        return constant(np.arange(length, dtype=call.dtype).reshape(length, *(1,) * after), call.shape)
    count = call.graph.cast(counted(call.graph, length, np.dtype(np.int64)), call.dtype)
    return call.graph.reshape(count, (length, *(1,) * after)).like(call.shape)


def counted(graph: Graph, length: Dim, dtype: np.dtype[Any]) -> Value:
    """0, 1, 2, ... up to a length that may be known only when the graph runs."""
    if isinstance(length, int):
        array = np.arange(length, dtype=dtype)
        return Value("", (length,), (length,), dtype, array)
    bounds = [constant(np.int64(0)), graph.reshape(graph.size(length), ()), constant(np.int64(1))]
    return graph.cast(graph.emit("Range", bounds, (length,), np.int64), dtype)


def split(call: Call, value: Value) -> list[Value]:
    """Parts along one axis."""
    axis = int(call.params["axis"])
    value = call.graph.full(value)
    sizes = call.graph.dims(shape_of(call.params["sizes"]))
    shapes = [shape_of(aval.shape) for aval in call.avals]
    names = call.graph.node("Split", [value, sizes], outputs=len(shapes), axis=axis)
    return [Value(name, shape, shape, value.dtype) for name, shape in zip(names, shapes, strict=True)]


def unstack(call: Call, value: Value) -> list[Value]:
    """The layers along one axis."""
    axis = int(call.params["axis"]) % len(value.shape)
    shapes = [shape_of(aval.shape) for aval in call.avals]
    value = call.graph.full(value)
    names = call.graph.node("Split", [value, vector([1] * len(shapes))], outputs=len(shapes), axis=axis)
    held = (*value.shape[:axis], 1, *value.shape[axis + 1 :])
    layers = [Value(name, held, held, value.dtype) for name in names]
    return [call.graph.reshape(layer, shape).like(shape) for layer, shape in zip(layers, shapes, strict=True)]


def tile(call: Call, value: Value) -> Value:
    """Repeat whole axes."""
    repeats = shape_of(call.params["reps"])
    return call.graph.emit("Tile", [call.graph.full(value), call.graph.dims(repeats)], call.shape, value.dtype)


HANDLERS: dict[str, Handler] = {
    "broadcast_in_dim": broadcast_in_dim, "reshape": reshape, "squeeze": reshape, "expand_dims": reshape,
    "transpose": transpose, "concatenate": concatenate, "stack": stack, "slice": slice_, "rev": reverse,
    "pad": pad, "iota": iota, "split": split, "unstack": unstack, "tile": tile,
}  # fmt: skip
