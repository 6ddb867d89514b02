"""Where windows start: the one form that gather and scatter share.

The operand with its batch axes first, then the axes that are indexed, then the rest; the indices as
(batch..., places..., which indexed axis). JAX moves an index that points outside, or drops what it points to;
ONNX Runtime stops. So indices are always brought inside, and where JAX drops, it is kept which were.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jax import lax

from tidemill.training.export.call import Call
from tidemill.training.export.graph import Value, constant, vector
from tidemill.training.export.handlers.arithmetic import apply, number
from tidemill.training.export.handlers.reductions import reduced
from tidemill.training.export.shapes import Shape

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


def fixed_start(call: Call, plan: Plan, operand: Value, indices: Value) -> tuple[int, ...] | None:
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


def places_of(call: Call, plan: Plan, operand: Value, indices: Value) -> tuple[Value, Value | None]:
    """The indices as (batch..., places..., windows..., indexed axes), all inside; and which were, where it matters."""
    graph = call.graph
    order = [*plan.index_batch, *(at for at in range(len(indices.shape)) if at not in plan.index_batch)]
    starts = graph.cast(graph.full(graph.transpose(indices, order)), np.int64)
    last = last_starts(call, plan, operand)
    inside = None
    if call.params["mode"] == DROP or call.primitive.startswith("scatter"):
        inside = _inside(call, starts, last)
    starts = graph.full(clipped(call, starts, last))
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


def last_starts(call: Call, plan: Plan, operand: Value) -> Value:
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
    last_axis = [len(starts.shape) - 1]
    return call.graph.cast(reduced(call, "ReduceMin", call.graph.cast(both, np.int32), last_axis), bool)


def clipped(call: Call, starts: Value, last: Value) -> Value:
    if starts.array is not None and last.array is not None:
        return constant(np.clip(starts.known, 0, last.known))
    return apply(call, "Min", apply(call, "Max", starts, number(0, starts)), last)


def source_axes(plan: Plan, rank: int, places: int) -> list[int]:
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


def beside_window(call: Call, plan: Plan, inside: Value, shape: Shape) -> Value:
    """A truth value per place, with ones for the axes of the window, in the order of the result of this shape."""
    graph = call.graph
    order = [*plan.index_batch, *(at for at in range(len(inside.shape)) if at not in plan.index_batch)]
    inside = graph.ranked(graph.transpose(inside, [order.index(at) for at in range(len(order))]))
    dims = iter(inside.held)
    held = tuple(1 if at in plan.window else next(dims) for at in range(len(shape)))
    return graph.reshape(inside, held).like(shape)
