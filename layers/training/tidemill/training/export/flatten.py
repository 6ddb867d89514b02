"""A function as a flat list of primitive steps: calls inlined, dead steps removed, constants kept by reference."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
from jax.extend import core, source_info_util

# Primitives that only wrap another program.
WRAPPERS = {
    "jit", "pjit", "closed_call", "core_call", "custom_jvp_call", "custom_vjp_call", "custom_vjp_call_jaxpr",
    "remat", "remat2", "checkpoint", "custom_lin",
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Ref:
    """What one step computes, or one input; equal only to itself."""

    aval: Any


@dataclass(frozen=True, eq=False)
class Known:
    """A value fixed when the function was traced."""

    value: Any
    aval: Any


Atom = Ref | Known


@dataclass(frozen=True)
class Step:
    """One primitive applied."""

    primitive: core.Primitive
    params: dict[str, Any]
    inputs: tuple[Atom, ...]
    outputs: tuple[Ref, ...]
    source: str


@dataclass(frozen=True)
class Program:
    """A traced function: what goes in, the steps, what comes out."""

    inputs: tuple[Ref, ...]
    steps: tuple[Step, ...]
    outputs: tuple[Atom, ...]


def trace(function: Callable[..., Any], arguments: Sequence[jax.ShapeDtypeStruct]) -> Program:
    """The program of a function; nothing is computed."""
    return flatten(jax.make_jaxpr(function)(*arguments))


def flatten(closed: core.ClosedJaxpr) -> Program:
    """A closed jaxpr with every call inlined and every step nobody needs removed."""
    inputs = tuple(Ref(var.aval) for var in closed.jaxpr.invars)
    steps: list[Step] = []
    outputs = _inline(closed.jaxpr, closed.consts, inputs, steps)
    return Program(inputs, tuple(_alive(steps, outputs)), outputs)


def _inline(jaxpr: core.Jaxpr, consts: Iterable[Any], arguments: Sequence[Atom], steps: list[Step]) -> tuple[Atom, ...]:
    known: dict[Any, Atom] = dict(zip(jaxpr.invars, arguments, strict=True))
    known |= {var: Known(value, var.aval) for var, value in zip(jaxpr.constvars, consts, strict=True)}

    def read(atom: Any) -> Atom:
        return Known(atom.val, atom.aval) if isinstance(atom, core.Literal) else known[atom]

    for equation in jaxpr.eqns:
        inputs = tuple(read(atom) for atom in equation.invars)
        outputs: tuple[Atom, ...]
        inner = _inner(equation) if equation.primitive.name in WRAPPERS else None
        if inner is not None:
            outputs = _inline(inner.jaxpr, inner.consts, inputs, steps)
        else:
            made = tuple(Ref(var.aval) for var in equation.outvars)
            source = source_info_util.summarize(equation.source_info)
            steps.append(Step(equation.primitive, equation.params, inputs, made, source))
            outputs = made
        known.update(zip(equation.outvars, outputs, strict=True))
    return tuple(read(atom) for atom in jaxpr.outvars)


def _inner(equation: core.JaxprEqn) -> core.ClosedJaxpr | None:
    """The program inside a wrapper; None where it has none that takes the same inputs."""
    for name in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        inner = equation.params.get(name)
        if isinstance(inner, core.Jaxpr):
            inner = core.ClosedJaxpr(inner, ())
        if isinstance(inner, core.ClosedJaxpr) and len(inner.jaxpr.invars) == len(equation.invars):
            return inner
    return None


def _alive(steps: Sequence[Step], outputs: Iterable[Atom]) -> list[Step]:
    needed: set[Atom] = set(outputs)
    kept = []
    for step in reversed(steps):
        if needed.intersection(step.outputs):
            needed.update(step.inputs)
            kept.append(step)
    return kept[::-1]
