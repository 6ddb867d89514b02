"""From a program to a graph: every step goes to the handler of its primitive, or is refused."""

from __future__ import annotations

import numpy as np

from tidemill.training.export.call import Call, Handler, check_dtype
from tidemill.training.export.flatten import Atom, Known, Program, Ref, Step
from tidemill.training.export.folding import fold
from tidemill.training.export.graph import Graph, Value, constant
from tidemill.training.export.handlers import (
    arithmetic,
    convolution,
    gathering,
    layout,
    loops,
    ordering,
    products,
    reductions,
    scattering,
    slicing,
    windows,
)
from tidemill.training.export.refusal import CannotExport
from tidemill.training.export.shapes import broadcast, shape_of

HANDLERS: dict[str, Handler] = {
    **arithmetic.HANDLERS,
    **layout.HANDLERS,
    **reductions.HANDLERS,
    **products.HANDLERS,
    **gathering.HANDLERS,
    **scattering.HANDLERS,
    **slicing.HANDLERS,
    **ordering.HANDLERS,
    **loops.HANDLERS,
    **convolution.HANDLERS,
    **windows.HANDLERS,
}


def lower(graph: Graph, program: Program, arguments: list[Value]) -> list[Value]:
    """Add a program to a graph, with these values as its inputs; its outputs."""
    values: dict[Atom, Value] = dict(zip(program.inputs, arguments, strict=True))

    def read(atom: Atom) -> Value:
        if atom not in values and isinstance(atom, Known):
            values[atom] = _constant(atom)
        return values[atom]

    for step in program.steps:
        outputs = _apply(graph, step, [read(atom) for atom in step.inputs])
        values.update(zip(step.outputs, outputs, strict=True))
    return [read(atom) for atom in program.outputs]


def _constant(known: Known) -> Value:
    check_dtype(known.aval, lambda why: CannotExport(f"A constant cannot be exported: {why}."))
    return constant(np.asarray(known.value, dtype=known.aval.dtype))


def _apply(graph: Graph, step: Step, inputs: list[Value]) -> list[Value]:
    name = step.primitive.name
    call = Call(graph, name, step.params, tuple(output.aval for output in step.outputs), step.source, lower)
    for output in step.outputs:
        check_dtype(output.aval, call.refuse)
    folded = fold(step, inputs)
    if folded is not None:
        return folded
    if name not in HANDLERS:
        raise call.refuse("no conversion is known for it")
    result = HANDLERS[name](call, *inputs)
    outputs = result if isinstance(result, list) else [result]
    _check(call, outputs, step.outputs)
    return outputs


def _check(call: Call, outputs: list[Value], expected: tuple[Ref, ...]) -> None:
    """What a handler says it made must be what JAX says comes out."""
    for output, ref in zip(outputs, expected, strict=True):
        made, wanted = (output.shape, output.dtype), (shape_of(ref.aval.shape), np.dtype(ref.aval.dtype))
        if made != wanted or broadcast(output.held, output.shape) != output.shape:
            raise call.refuse(f"the conversion gave {made} held as {output.held}, not {wanted}")
