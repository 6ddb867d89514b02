"""Gather, scatter and slices whose place is computed.

Every case has one form: the operand with its batch axes first, then the axes that are indexed, then the rest;
the indices as (batch..., places..., which indexed axis). JAX moves an index that points outside, or drops what it
points to; ONNX Runtime stops. So indices are always brought inside, and masked where JAX drops.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import lax

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.graph import Value, constant, vector
from tidemill.training.export.handlers.arithmetic import apply, number, simplified
from tidemill.training.export.handlers.layout import END, counted, cut, join, pad_ends
from tidemill.training.export.handlers.reductions import reduced
from tidemill.training.export.shapes import Dim, Shape, shape_of

DROP = lax.GatherScatterMode.FILL_OR_DROP
CLIP = lax.GatherScatterMode.CLIP


@dataclass(frozen=True)
class Plan:
    """Where the axes of operand and window go. `sizes` are those of the window along every axis of the operand."""

    indexed: tuple[int, ...]  # axes of the operand that the indices name, in their order
    batch: tuple[int, ...]  # axes of the operand that go along with axes of the indices
    index_batch: tuple[int, ...]  # those axes of the indices
    gone: tuple[int, ...]  # axes of the operand that the window does not have
    window: tuple[int, ...]  # axes of the window in the result (or in the updates)
    sizes: Shape

    def rest(self) -> list[int]:
        """The axes of the operand that are taken whole, without an index."""
        return [at for at in range(len(self.sizes)) if at not in self.indexed and at not in self.batch]

    def wide(self) -> list[int]:
        """The indexed axes that keep an axis in the window."""
        return [at for at in self.indexed if at not in self.gone]


def gather(call: Call, operand: Value, indices: Value) -> Value:
    """The windows of an operand that start where the indices say."""
    numbers = call.params["dimension_numbers"]
    plan = Plan(
        numbers.start_index_map, numbers.operand_batching_dims, numbers.start_indices_batching_dims,
        (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims), numbers.offset_dims,
        shape_of(call.params["slice_sizes"]),
    )  # fmt: skip
    operand = call.graph.full(operand)
    single = _fixed_start(call, plan, operand, indices)
    if single is not None:
        return _window(call, plan, operand, single)
    operand = _narrowed(call, plan, operand)
    places, inside = _places(call, plan, operand, indices)
    found = _look_up(call, plan, operand, places)
    out = _to_result(call, plan, found, len(places.shape) - 1)
    if inside is None:
        return out
    filling = call.params["fill_value"]
    return apply(call, "Where", _beside_window(call, plan, inside), out, _filling(out, filling), dtype=out.dtype)


def _filling(value: Value, filling: Any) -> Value:
    if filling is None:
        filling = np.nan if value.dtype.kind == "f" else value.dtype.kind == "b" or np.iinfo(value.dtype).min
        if value.dtype.kind == "u":
            filling = np.iinfo(value.dtype).max
    return number(filling, value)


def _fixed_start(call: Call, plan: Plan, operand: Value, indices: Value) -> tuple[int, ...] | None:
    """The start of the one window where it is known at export and inside."""
    if indices.array is None or len(indices.shape) != 1 or plan.batch:
        return None
    starts = [0] * len(plan.sizes)
    for axis, start in zip(plan.indexed, indices.known.tolist(), strict=True):
        size, window = operand.shape[axis], plan.sizes[axis]
        if isinstance(size, str) or isinstance(window, str):
            if start != 0:
                return None
        elif not 0 <= start <= size - window:
            return None
        starts[axis] = start
    return tuple(starts)


def _window(call: Call, plan: Plan, operand: Value, starts: tuple[int, ...]) -> Value:
    limits = tuple(
        operand.shape[at] if plan.sizes[at] == operand.shape[at] else _added(call, start, plan.sizes[at])
        for at, start in enumerate(starts)
    )
    part = Call(call.graph, call.primitive, {}, (_Aval(plan.sizes, operand.dtype),), call.source, call.lower)
    window = cut(part, operand, starts, limits, (1,) * len(starts))
    return call.graph.reshape(window, call.shape).like(call.shape)


@dataclass(frozen=True)
class _Aval:
    shape: Shape
    dtype: np.dtype[Any]


def _added(call: Call, start: int, size: Dim) -> Dim:
    if isinstance(size, str):
        return size if start == 0 else f"{size} + {start}"
    return start + size


def _narrowed(call: Call, plan: Plan, operand: Value) -> Value:
    """The operand cut to the window along the axes that have no index: their window starts at 0."""
    limits = tuple(plan.sizes[at] if at in plan.rest() else dim for at, dim in enumerate(operand.shape))
    part = Call(call.graph, call.primitive, {}, (_Aval(limits, operand.dtype),), call.source, call.lower)
    return cut(part, operand, (0,) * len(limits), limits, (1,) * len(limits)).like(limits)


def _places(call: Call, plan: Plan, operand: Value, indices: Value) -> tuple[Value, Value | None]:
    """The indices as (batch..., places..., windows..., indexed axes), all inside; and which were, where it matters."""
    graph = call.graph
    order = [*plan.index_batch, *(at for at in range(len(indices.shape)) if at not in plan.index_batch)]
    starts = graph.cast(graph.full(graph.transpose(indices, order)), np.int64)
    last = _last_starts(call, plan, operand)
    inside = None
    if call.params["mode"] == DROP or call.primitive.startswith("scatter"):
        inside = _inside(call, starts, last)
    starts = graph.full(_clipped(call, starts, last))
    for at, axis in enumerate(plan.wide()):
        size = plan.sizes[axis]
        if isinstance(size, str):
            raise call.refuse("a window of a size known only when the graph runs cannot be moved")
        depth, component = len(plan.wide()) - at, plan.indexed.index(axis)
        steps = np.zeros((size, *(1,) * (depth - 1), len(plan.indexed)), np.int64)
        steps[..., component] = np.arange(size).reshape(size, *(1,) * (depth - 1))
        if at == 0:
            starts = graph.reshape(starts, (*starts.held[:-1], *(1,) * depth, starts.held[-1]))
            starts = starts.like(starts.held)
        starts = apply(call, "Add", starts, constant(steps))
    return graph.full(starts), inside


def _last_starts(call: Call, plan: Plan, operand: Value) -> Value:
    """The largest start along every indexed axis that keeps the window inside."""
    pieces = []
    for axis in plan.indexed:
        size, window = operand.shape[axis], plan.sizes[axis]
        if isinstance(size, int) and isinstance(window, int):
            pieces.append(vector([size - window]))
        elif size == window:
            pieces.append(vector([0]))
        else:
            pieces.append(apply(call, "Sub", call.graph.size(size), call.graph.size(window)))
    if all(piece.array is not None for piece in pieces):
        return vector([piece.known[0] for piece in pieces])
    shape = (len(pieces),)
    return call.graph.emit("Concat", pieces, shape, np.int64, axis=0) if len(pieces) > 1 else pieces[0]


def _inside(call: Call, starts: Value, last: Value) -> Value | None:
    """Whether every component of a start is inside; None where all are known to be."""
    if starts.array is not None and last.array is not None:
        known = (starts.known >= 0) & (starts.known <= last.known)
        return None if known.all() else constant(known.all(-1))
    above = apply(call, "GreaterOrEqual", starts, number(0, starts), dtype=bool)
    below = apply(call, "LessOrEqual", starts, last, dtype=bool)
    both = apply(call, "And", above, below)
    if starts.shape[-1] == 1:
        return call.graph.reshape(call.graph.full(both), starts.shape[:-1]).like(starts.shape[:-1])
    part = Call(
        call.graph,
        call.primitive,
        {"axes": (len(starts.shape) - 1,)},
        (_Aval(starts.shape[:-1], both.dtype),),
        "",
        call.lower,
    )
    return call.graph.cast(reduced(part, "ReduceMin", call.graph.cast(both, np.int32), (len(starts.shape) - 1,)), bool)


def _clipped(call: Call, starts: Value, last: Value) -> Value:
    if starts.array is not None and last.array is not None:
        return constant(np.clip(starts.known, 0, last.known))
    return apply(call, "Min", apply(call, "Max", starts, number(0, starts)), last)


def _look_up(call: Call, plan: Plan, operand: Value, places: Value) -> Value:
    """(batch..., places..., rest...): by Gather where one axis is indexed, else by GatherND."""
    graph, shape = call.graph, places.shape[:-1]
    order = [*plan.batch, *plan.indexed, *plan.rest()]
    moved = graph.full(graph.transpose(operand, order))
    rest = moved.shape[len(plan.batch) + len(plan.indexed) :]
    if not plan.batch and len(plan.indexed) == 1:
        flat = graph.reshape(places, shape).like(shape)
        return graph.emit("Gather", [moved, flat], (*shape, *rest), operand.dtype, axis=0)
    batch = len(plan.batch)
    return graph.emit("GatherND", [moved, places], (*shape, *rest), operand.dtype, batch_dims=batch)


def _to_result(call: Call, plan: Plan, found: Value, places: int) -> Value:
    """From (batch..., places..., windows..., rest...) to the axes as JAX has them."""
    source = _source_axes(plan, len(call.shape), places, len(plan.index_batch))
    return call.graph.transpose(found, source)


def _source_axes(plan: Plan, rank: int, places: int, batch: int) -> list[int]:
    """For every axis of the result, the axis of (batch..., places..., windows..., rest...) it comes from."""
    wide, rest = plan.wide(), plan.rest()
    kept = sorted([*wide, *rest])
    plain = places - len(wide)
    window_of = dict(zip(plan.window, kept, strict=True))
    batch_axes = [at for at in range(rank) if at not in plan.window]
    order = [*plan.index_batch, *(at for at in range(len(batch_axes)) if at not in plan.index_batch)]
    source = []
    for at in range(rank):
        if at in window_of:
            axis = window_of[at]
            source.append(plain + wide.index(axis) if axis in wide else places + rest.index(axis))
        else:
            source.append(order.index(batch_axes.index(at)))
    return source


def _beside_window(call: Call, plan: Plan, inside: Value) -> Value:
    """A truth value per place, with ones for the axes of the window, in the order of the result."""
    graph, rank = call.graph, len(call.shape)
    order = [*plan.index_batch, *(at for at in range(len(inside.shape)) if at not in plan.index_batch)]
    inside = graph.ranked(graph.transpose(inside, [order.index(at) for at in range(len(order))]))
    dims = iter(inside.held)
    held = tuple(1 if at in plan.window else next(dims) for at in range(rank))
    return graph.reshape(inside, held).like(call.shape)


def scatter(call: Call, operand: Value, indices: Value, updates: Value) -> Value:
    """Windows put into an operand, or added to it, where the indices say."""
    adds = call.primitive == "scatter-add"
    plan = _scatter_plan(call, operand, updates)
    single = _fixed_start(call, plan, operand, indices)
    if adds and single is not None:
        return _added_window(call, plan, operand, updates, single)
    if not adds and not call.params["unique_indices"] and indices.array is None and len(indices.shape) > 1:
        raise call.refuse("which of two equal indices wins is not defined", "Pass unique_indices=True.")
    places, inside = _places(call, plan, operand, indices)
    if inside is not None and call.params["mode"] != CLIP:
        if not adds:
            raise call.refuse("an index outside drops its update", 'Use mode="clip".')
        mask = _beside_updates(call, plan, inside, updates)
        updates = apply(call, "Where", mask, updates, number(0, updates), dtype=updates.dtype)
    return _put(call, plan, operand, places, updates)


def _scatter_plan(call: Call, operand: Value, updates: Value) -> Plan:
    numbers = call.params["dimension_numbers"]
    gone = (*numbers.inserted_window_dims, *numbers.operand_batching_dims)
    kept = [at for at in range(len(operand.shape)) if at not in gone]
    sizes: list[Dim] = [1] * len(operand.shape)
    for axis, at in zip(kept, numbers.update_window_dims, strict=True):
        sizes[axis] = updates.shape[at]
    return Plan(
        numbers.scatter_dims_to_operand_dims, numbers.operand_batching_dims, numbers.scatter_indices_batching_dims,
        gone, numbers.update_window_dims, tuple(sizes),
    )  # fmt: skip


def _added_window(call: Call, plan: Plan, operand: Value, updates: Value, starts: tuple[int, ...]) -> Value:
    """One window at a fixed place: padded with zeros to the shape of the operand, then added."""
    graph = call.graph
    window = graph.reshape(graph.full(updates), plan.sizes).like(plan.sizes)
    highs: list[Dim] = []
    for at, start in enumerate(starts):
        size, width = operand.shape[at], plan.sizes[at]
        if size == width:
            highs.append(0)
        elif isinstance(size, int) and isinstance(width, int):
            highs.append(size - start - width)
        else:
            highs.append(f"{size} - ({width}) - {start}")
    wide = pad_ends(call, window, number(0, updates), starts, highs)
    return simplified(call, "Add", operand, wide.like(call.shape))


def _beside_updates(call: Call, plan: Plan, inside: Value, updates: Value) -> Value:
    part = Call(call.graph, call.primitive, {}, (_Aval(updates.shape, updates.dtype),), call.source, call.lower)
    return _beside_window(part, plan, inside)


def _put(call: Call, plan: Plan, operand: Value, places: Value, updates: Value) -> Value:
    """ScatterND knows no batch axes, so they become indices that count."""
    graph = call.graph
    if any(plan.sizes[at] != operand.shape[at] for at in plan.rest()):
        raise call.refuse("a window that covers part of an axis without an index is not supported")
    order = [*plan.batch, *plan.indexed, *plan.rest()]
    moved = graph.full(graph.transpose(graph.full(operand), order))
    source = _source_axes(plan, len(updates.shape), len(places.shape) - 1, len(plan.batch))
    ordered = graph.full(graph.transpose(graph.full(updates), list(np.argsort(source))))
    for axis in reversed(range(len(plan.batch))):
        places = _counted(call, places, axis)
    reduction = "add" if call.primitive == "scatter-add" else "none"
    made = graph.emit("ScatterND", [moved, places, ordered], moved.shape, call.dtype, reduction=reduction)
    return graph.transpose(made, list(np.argsort(order)))


def _counted(call: Call, places: Value, axis: int) -> Value:
    """The places with one more component in front: where they stand along a batch axis."""
    graph = call.graph
    shape = (*places.shape[:-1], 1)
    count = counted(graph, places.shape[axis], np.dtype(np.int64))
    held = tuple(places.shape[axis] if at == axis else 1 for at in range(len(shape)))
    full = graph.full(graph.reshape(count, held).like(shape))
    joined_shape = (*places.shape[:-1], int(places.shape[-1]) + 1)
    part = Call(graph, call.primitive, {}, (_Aval(joined_shape, np.dtype(np.int64)),), call.source, call.lower)
    return join(part, [full, places], len(shape) - 1)


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
    shape = (len(axes),)
    part = Call(graph, call.primitive, {}, (_Aval(shape, np.dtype(np.int64)),), call.source, call.lower)
    return graph.full(_clipped(call, join(part, pieces, 0), _last_starts(call, plan, operand)))


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


HANDLERS: dict[str, Handler] = {
    "gather": gather, "scatter": scatter, "scatter-add": scatter, "dynamic_slice": dynamic_slice,
    "dynamic_update_slice": dynamic_update_slice,
}  # fmt: skip
