"""scan, while and cond: as Scan, Loop and If, whose bodies are graphs of their own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from jax.extend import core
from onnx import helper

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.flatten import flatten
from tidemill.training.export.graph import Graph, Value
from tidemill.training.export.handlers.arithmetic import apply, number
from tidemill.training.export.handlers.layout import counted
from tidemill.training.export.rewriting import shortened
from tidemill.training.export.shapes import shape_of


def scan(call: Call, *inputs: Value) -> list[Value]:
    """A loop over the leading axis, forwards or backwards."""
    params, graph = call.params, call.graph
    closed, carried, consts = params["jaxpr"], int(params["num_carry"]), int(params["num_consts"])
    fixed, state = inputs[:consts], [graph.full(value) for value in inputs[consts : consts + carried]]
    rows = [graph.full(value) for value in inputs[consts + carried :]]
    counts = not rows  # Scan needs something to go over
    if counts:
        (length,) = shape_of([params["length"]])
        rows = [graph.full(counted(graph, length, np.dtype(np.int64)))]
    body = Graph(graph, hoists=True)
    locals_ = [_local(body, value.shape, value.dtype) for value in state]
    locals_ += [_local(body, value.shape[1:], value.dtype) for value in rows]
    outputs = call.lower(body, flatten(closed), [*fixed, *(locals_[:carried] if counts else locals_)])
    stacked = len(outputs) - carried
    turned = int(params["reverse"])
    names = _add(
        call, "Scan", [*state, *rows], len(outputs),
        num_scan_inputs=len(rows), body=_finished(body, locals_, outputs, "scan"),
        scan_input_directions=[turned] * len(rows),
        **({"scan_output_directions": [turned] * stacked} if stacked else {}),
    )  # fmt: skip
    return _results(call, names)


def loop(call: Call, *inputs: Value) -> list[Value]:
    """While a condition holds."""
    params, graph = call.params, call.graph
    tests, fixed = int(params["cond_nconsts"]), int(params["body_nconsts"])
    test_inputs, body_inputs = inputs[:tests], inputs[tests : tests + fixed]
    state = [graph.full(value) for value in inputs[tests + fixed :]]
    (first,) = call.lower(graph, flatten(params["cond_jaxpr"]), [*test_inputs, *state])
    body = Graph(graph, hoists=True)
    turn = [_local(body, (), np.dtype(np.int64)), _local(body, (), np.dtype(bool))]
    locals_ = [_local(body, value.shape, value.dtype) for value in state]
    outputs = [body.full(value) for value in call.lower(body, flatten(params["body_jaxpr"]), [*body_inputs, *locals_])]
    (again,) = call.lower(body, flatten(params["cond_jaxpr"]), [*test_inputs, *outputs])
    finished = _finished(body, [*turn, *locals_], [again, *outputs], "loop")
    return _results(call, _add(call, "Loop", [None, graph.full(first), *state], len(outputs), body=finished))


def branch(call: Call, index: Value, *inputs: Value) -> list[Value]:
    """The branch an index names; an index past the ends names the nearest."""
    branches = call.params["branches"]
    if index.array is not None:
        chosen = branches[int(np.clip(index.known, 0, len(branches) - 1))]
        return call.lower(call.graph, flatten(chosen), list(inputs))
    return _branch(call, call.graph, index, branches, list(inputs))


def _branch(
    call: Call, graph: Graph, index: Value, branches: Sequence[core.ClosedJaxpr], inputs: list[Value]
) -> list[Value]:
    here = Call(graph, call.primitive, call.params, call.avals, call.source, call.lower)
    first, *others = branches
    if not others:
        return call.lower(graph, flatten(first), inputs)
    past = graph.full(apply(here, "Greater", index, number(0, index), dtype=bool))
    low, high = Graph(graph), Graph(graph)
    off = call.lower(low, flatten(first), inputs)
    less = apply(Call(high, "", {}, (), "", call.lower), "Sub", index, number(1, index))
    on = _branch(call, high, less, others, inputs)
    names = _add(
        here, "If", [past], len(off),
        then_branch=_finished(high, [], on, "on"), else_branch=_finished(low, [], off, "off"),
    )  # fmt: skip
    return _results(call, names)


def _local(body: Graph, shape: tuple[Any, ...], dtype: np.dtype[Any]) -> Value:
    name = body.fresh("item")
    body.own.add(name)
    body.root.shapes[name] = shape
    return Value(name, shape, shape, dtype)


def _add(call: Call, op: str, inputs: Sequence[Value | None], outputs: int, **attributes: Any) -> list[str]:
    """A node with bodies; two such nodes are never taken for the same."""
    graph = call.graph
    names = ["" if value is None else graph.name(value) for value in inputs]
    made = [graph.fresh(op) for _ in range(outputs)]
    graph.own.update(made)
    graph.nodes.append(helper.make_node(op, names, made, **attributes))
    return made


def _results(call: Call, names: Sequence[str]) -> list[Value]:
    results = []
    for name, aval in zip(names, call.avals, strict=True):
        shape = shape_of(aval.shape)
        call.graph.root.shapes[name] = shape
        results.append(Value(name, shape, shape, np.dtype(aval.dtype)))
    return results


def _finished(body: Graph, inputs: Sequence[Value], outputs: Sequence[Value], name: str) -> onnx.GraphProto:
    """The body as a graph; what it returns must be made inside it, and each only once."""
    infos = []
    for output in outputs:
        whole = body.full(output)
        result = body.fresh("result")
        body.nodes.append(helper.make_node("Identity", [body.name(whole)], [result]))
        infos.append(_info(result, output))
    nodes = shortened(body, {info.name for info in infos})
    return helper.make_graph(nodes, body.fresh(name), [_info(value.name, value) for value in inputs], infos)


def _info(name: str, value: Value) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), list(value.shape))


HANDLERS: dict[str, Handler] = {"scan": scan, "while": loop, "cond": branch}
