"""dot_general as MatMul: axes are put in order, joined where there are several, and weights stay as stored."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.graph import Graph, Value
from tidemill.training.export.shapes import Dim, Shape, broadcast


def dot_general(call: Call, left: Value, right: Value) -> Value:
    """Sum of products over the contracted axes, for each of the batch axes."""
    (left_sum, right_sum), (left_batch, right_batch) = call.params["dimension_numbers"]
    if left.dtype not in (np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.int32), np.dtype(np.int64)):
        raise call.refuse(f"it has no kernel for {left.dtype}")
    if left.dtype != right.dtype or call.dtype != left.dtype:
        raise call.refuse(f"{left.dtype} and {right.dtype} cannot be multiplied into {call.dtype}")
    graph = call.graph
    a, left_heads, kept = _side(graph, left, left_batch, left_sum, sum_last=True)
    b, right_heads, lost = _side(graph, right, right_batch, right_sum, sum_last=False)
    heads = broadcast(left_heads, right_heads)
    rows = a.held[len(heads) : -1]
    columns = b.held[len(heads) + 1 :]
    made = graph.emit("MatMul", [a, b], (*heads, *rows, *columns), call.dtype)
    return graph.reshape(made, (*heads, *kept, *lost)).like(call.shape)


def _others(value: Value, *used: Sequence[int]) -> list[int]:
    taken = {int(axis) for axes in used for axis in axes}
    return [axis for axis in range(len(value.shape)) if axis not in taken]


def _side(
    graph: Graph, value: Value, batch: Sequence[int], summed: Sequence[int], *, sum_last: bool
) -> tuple[Value, Shape, Shape]:
    """One operand as (batch..., free, sum) or (batch..., sum, free); its batch and its free dimensions.

    An axis that only repeats stays a one where MatMul repeats it: among the batch axes and the free ones.
    """
    free = _others(value, summed, batch)
    present = [axis for axis, dim in enumerate(graph.ranked(value).held) if dim != 1]
    value = graph.full(value, [*present, *summed])
    order = [*batch, *free, *summed] if sum_last else [*batch, *summed, *free]
    value = graph.ranked(graph.transpose(value, order))
    heads, rest = value.held[: len(batch)], value.held[len(batch) :]
    frees, sums = (rest[: len(free)], rest[len(free) :]) if sum_last else (rest[len(summed) :], rest[: len(summed)])
    # Without batch axes MatMul takes any number of axes before the last of the left operand, and none at all.
    middle = frees if not batch and (sum_last or len(free) < 2) else (joined(frees),)
    shape = (*heads, *middle, joined(sums)) if sum_last else (*heads, joined(sums), *middle)
    return graph.reshape(value, shape).like(shape), heads, frees


def joined(dims: Shape) -> Dim:
    """The size of several axes seen as one."""
    names = [dim for dim in dims if isinstance(dim, str)]
    count = int(np.prod([dim for dim in dims if isinstance(dim, int)], dtype=np.int64))
    if not names:
        return count
    parts = [f"({name})" if len(names) > 1 or count != 1 else name for name in names]
    return "*".join(([str(count)] if count != 1 else []) + parts)


HANDLERS: dict[str, Handler] = {"dot_general": dot_general}
