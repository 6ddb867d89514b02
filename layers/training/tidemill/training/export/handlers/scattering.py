"""scatter and scatter-add: windows put into an operand, or added to it."""

from __future__ import annotations

import numpy as np

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.graph import Value
from tidemill.training.export.handlers.arithmetic import apply, number, simplified
from tidemill.training.export.handlers.layout import counted, join, pad_ends
from tidemill.training.export.handlers.places import CLIP, Plan, beside_window, fixed_start, places_of, source_axes
from tidemill.training.export.shapes import Dim


def scatter(call: Call, operand: Value, indices: Value, updates: Value) -> Value:
    """Windows put into an operand, or added to it, where the indices say."""
    adds = call.primitive == "scatter-add"
    plan = _scatter_plan(call, operand, updates)
    single = fixed_start(call, plan, operand, indices)
    if adds and single is not None:
        return _added_window(call, plan, operand, updates, single)
    if not adds and not call.params["unique_indices"] and not _are_unique(indices):
        raise call.refuse("which of two equal indices wins is not defined", "Pass unique_indices=True.")
    places, inside = places_of(call, plan, operand, indices)
    if inside is not None and call.params["mode"] != CLIP:
        if not adds:
            raise call.refuse("an index outside drops its update", 'Use mode="clip".')
        mask = beside_window(call, plan, inside, updates.shape)
        updates = apply(call, "Where", mask, updates, number(0, updates), dtype=updates.dtype)
    return _put(call, plan, operand, places, updates)


def _are_unique(indices: Value) -> bool:
    """Whether no two windows are put at the same place, as far as that is known."""
    if all(dim == 1 for dim in indices.shape[:-1]):
        return True
    if indices.array is None:
        return False
    rows = indices.known.reshape(-1, indices.known.shape[-1])
    return len(np.unique(rows, axis=0)) == len(rows)


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


def _put(call: Call, plan: Plan, operand: Value, places: Value, updates: Value) -> Value:
    """ScatterND knows no batch axes, so they become indices that count."""
    graph = call.graph
    if any(plan.sizes[at] != operand.shape[at] for at in plan.rest()):
        raise call.refuse("a window that covers part of an axis without an index is not supported")
    order = [*plan.batch, *plan.indexed, *plan.rest()]
    moved = graph.full(graph.transpose(graph.full(operand), order))
    source = source_axes(plan, len(updates.shape), len(places.shape) - 1)
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
    return join(call, [full, places], len(shape) - 1, joined_shape)


HANDLERS: dict[str, Handler] = {"scatter": scatter, "scatter-add": scatter}
