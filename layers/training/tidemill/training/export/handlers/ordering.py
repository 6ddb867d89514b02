"""Sorting, by TopK: it keeps equal elements in their order, as JAX's stable sort does.

Inputs must be free of NaN, which TopK puts anywhere. JAX's top_k ranks 0.0 above -0.0; here they are equal.
"""

from __future__ import annotations

import numpy as np

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.graph import Value
from tidemill.training.export.shapes import shape_of


def sort(call: Call, *values: Value) -> list[Value]:
    """The first value in rising order along an axis, and the others in the same order."""
    call.only(num_keys=1)
    axis, graph = int(call.params["dimension"]), call.graph
    key = graph.full(values[0])
    _check_key(call, key)
    names = graph.node("TopK", [key, graph.size(key.shape[axis])], outputs=2, axis=axis, largest=0, sorted=1)
    found = Value(names[0], key.shape, key.shape, key.dtype)
    order = Value(names[1], key.shape, key.shape, np.dtype(np.int64))
    moved = [
        graph.emit("GatherElements", [graph.full(value), order], value.shape, value.dtype, axis=axis)
        for value in values[1:]
    ]
    return [found, *moved]


def top_k(call: Call, value: Value) -> list[Value]:
    """The largest k along an axis, and where they stood."""
    graph, axis = call.graph, int(call.params["axis"])
    value = graph.full(value)
    _check_key(call, value)
    count = graph.size(shape_of([call.params["k"]])[0])
    names = graph.node("TopK", [value, count], outputs=2, axis=axis, largest=1, sorted=1)
    order = Value(names[1], call.shape, call.shape, np.dtype(np.int64))
    return [Value(names[0], call.shape, call.shape, value.dtype), graph.cast(order, call.avals[1].dtype)]


def _check_key(call: Call, key: Value) -> None:
    if key.dtype.kind != "f" and key.dtype != np.int32:
        raise call.refuse(f"it has no kernel for {key.dtype}")


HANDLERS: dict[str, Handler] = {"sort": sort, "top_k": top_k}
