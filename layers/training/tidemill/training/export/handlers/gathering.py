"""gather: windows of an operand, chosen by fixed or computed indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.graph import Value
from tidemill.training.export.handlers.arithmetic import apply, number
from tidemill.training.export.handlers.layout import cut
from tidemill.training.export.handlers.places import Plan, beside_window, fixed_start, places_of, source_axes
from tidemill.training.export.shapes import Dim, shape_of


def gather(call: Call, operand: Value, indices: Value) -> Value:
    """The windows of an operand that start where the indices say."""
    numbers = call.params["dimension_numbers"]
    plan = Plan(
        numbers.start_index_map, numbers.operand_batching_dims, numbers.start_indices_batching_dims,
        (*numbers.collapsed_slice_dims, *numbers.operand_batching_dims), numbers.offset_dims,
        shape_of(call.params["slice_sizes"]),
    )  # fmt: skip
    operand = call.graph.full(operand)
    single = fixed_start(call, plan, operand, indices)
    if single is not None:
        return _window(call, plan, operand, single)
    operand = _narrowed(call, plan, operand)
    places, inside = places_of(call, plan, operand, indices)
    found = _look_up(call, plan, operand, places)
    out = call.graph.transpose(found, source_axes(plan, len(call.shape), len(places.shape) - 1))
    if inside is None:
        return out
    filling = call.params["fill_value"]
    return apply(
        call, "Where", beside_window(call, plan, inside, call.shape), out, _filling(out, filling), dtype=out.dtype
    )


def _filling(value: Value, filling: Any) -> Value:
    if filling is None:
        filling = np.nan if value.dtype.kind == "f" else value.dtype.kind == "b" or np.iinfo(value.dtype).min
        if value.dtype.kind == "u":
            filling = np.iinfo(value.dtype).max
    return number(filling, value)


def _window(call: Call, plan: Plan, operand: Value, starts: tuple[int, ...]) -> Value:
    limits = tuple(
        operand.shape[at] if plan.sizes[at] == operand.shape[at] else _added(call, start, plan.sizes[at])
        for at, start in enumerate(starts)
    )
    window = cut(call, operand, starts, limits, (1,) * len(starts), plan.sizes)
    return call.graph.reshape(window, call.shape).like(call.shape)


def _added(call: Call, start: int, size: Dim) -> Dim:
    if isinstance(size, str):
        return size if start == 0 else f"{size} + {start}"
    return start + size


def _narrowed(call: Call, plan: Plan, operand: Value) -> Value:
    """The operand cut to the window along the axes that have no index: their window starts at 0."""
    limits = tuple(plan.sizes[at] if at in plan.rest() else dim for at, dim in enumerate(operand.shape))
    return cut(call, operand, (0,) * len(limits), limits, (1,) * len(limits), limits)


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


HANDLERS: dict[str, Handler] = {"gather": gather}
