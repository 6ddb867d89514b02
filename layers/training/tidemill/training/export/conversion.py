"""to_onnx: a pure JAX function as an ONNX model with named inputs, outputs and dimensions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import onnx
from jax.extend import core
from onnx import helper

from tidemill.training.export.call import check_dtype
from tidemill.training.export.flatten import trace
from tidemill.training.export.graph import Graph, Value, tensor
from tidemill.training.export.lowering import lower
from tidemill.training.export.refusal import CannotExport
from tidemill.training.export.rewriting import rewrite
from tidemill.training.export.shapes import InputSpec, Shape, shape_of, spec_of, structs

OPSET = 21
IR_VERSION = 10


def to_onnx(
    function: Callable[..., Any],
    inputs: Mapping[str, Any],
    outputs: tuple[str, ...],
    *,
    constraints: tuple[str, ...] = (),
) -> onnx.ModelProto:
    """Convert a function of these inputs, by position, into a model with these outputs.

    An input is `spec("batch, 12")`, the text or tuple alone for float32, or anything with `.shape` and `.dtype`.
    Equal names are equal sizes. `constraints` such as "length <= 512" are what JAX may assume while it traces.
    Raises CannotExport for whatever cannot be converted exactly.
    """
    specs = {name: spec_of(given) for name, given in inputs.items()}
    _check_names([*specs, *outputs])
    try:
        return _converted(function, specs, outputs, constraints)
    except core.InconclusiveDimensionOperation as error:
        raise CannotExport(
            f"The function compares sizes that are only known when it runs: {str(error).splitlines()[0]}.",
            remedy='State what holds as a constraint, such as "length >= 2", or fix the size.',
        ) from error


def _converted(
    function: Callable[..., Any], specs: Mapping[str, InputSpec], outputs: tuple[str, ...], constraints: tuple[str, ...]
) -> onnx.ModelProto:
    program = trace(function, structs(specs, constraints))
    if len(program.outputs) != len(outputs):
        raise CannotExport(
            f"The function returns {len(program.outputs)} arrays, but {len(outputs)} outputs are named.",
            remedy="Name every output once, in order.",
        )
    graph = Graph()
    graph.taken.update(specs, outputs)
    arguments = [_input(graph, name, item) for name, item in specs.items()]
    results = [graph.full(value) for value in lower(graph, program, arguments)]
    finals = {_output(graph, value): name for name, value in zip(outputs, results, strict=True)}
    return _model(graph, arguments, dict(zip(finals.values(), results, strict=True)), finals, constraints)


def _check_names(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise CannotExport(f"The name {twice[0]!r} is given twice.", remedy="Give every input and output its own name.")


def _input(graph: Graph, name: str, item: InputSpec) -> Value:
    check_dtype(item, lambda why: CannotExport(f'Input "{name}" cannot be exported: {why}.'))
    shape = shape_of(item.dims)
    graph.inputs[name] = graph.shapes[name] = shape
    return Value(name, shape, shape, item.dtype)


def _output(graph: Graph, value: Value) -> str:
    """A tensor that may be renamed: an input, a constant or what is an output already gets a node of its own."""
    made = {name for node in graph.nodes for name in node.output}
    if value.array is None and value.name in made and value.name not in graph.outputs:
        graph.outputs.append(value.name)
        return value.name
    name = graph.fresh("identity")
    graph.nodes.append(helper.make_node("Identity", [graph.name(value)], [name]))
    graph.outputs.append(name)
    return name


def _model(
    graph: Graph, inputs: list[Value], outputs: dict[str, Value], finals: dict[str, str], constraints: tuple[str, ...]
) -> onnx.ModelProto:
    nodes = rewrite(graph, finals)
    used = set(names_used(nodes))
    weights = [tensor(name, array) for name, array in graph.initializers.items() if name in used]
    proto = helper.make_graph(
        nodes,
        "tidemill",
        [_info(value.name, value.shape, value.dtype) for value in inputs],
        [_info(name, value.shape, value.dtype) for name, value in outputs.items()],
        initializer=weights,
    )
    model = helper.make_model(
        proto, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="tidemill"
    )
    if constraints:
        helper.set_model_props(model, {"constraints": "; ".join(constraints)})
    onnx.checker.check_model(model, full_check=True)
    return model


def _info(name: str, shape: Shape, dtype: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(dtype), list(shape))


def names_used(nodes: list[onnx.NodeProto]) -> list[str]:
    """Every tensor the nodes read, those in bodies too."""
    names = []
    for node in nodes:
        names.extend(node.input)
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                names.extend(names_used(list(attribute.g.node)))
                names.extend(output.name for output in attribute.g.output)
    return names
