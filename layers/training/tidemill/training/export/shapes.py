"""Shapes with named dimensions: a dimension is an int, or a str such as "batch" or "2*length + 1".

JAX's symbolic dimensions have one canonical spelling, so their text is kept: it compares, hashes,
and is what ONNX calls a `dim_param`.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from tidemill.training.export.refusal import CannotExport

Dim = int | str
Shape = tuple[Dim, ...]


@dataclass(frozen=True)
class InputSpec:
    """The shape and the type of one input."""

    dims: Shape
    dtype: Any = np.float32


def spec(dims: str | Iterable[Any], dtype: Any = np.float32) -> InputSpec:
    """An input from "batch, 12" or ("batch", 12)."""
    parts: Iterable[Any] = dims.split(",") if isinstance(dims, str) else dims
    return InputSpec(tuple(_dim_of(part) for part in parts if str(part).strip()), np.dtype(dtype))


def spec_of(given: Any) -> InputSpec:
    """An input from whatever describes one: an InputSpec, text, a tuple of dimensions, or a shape with a dtype."""
    if isinstance(given, InputSpec):
        return InputSpec(given.dims, np.dtype(given.dtype))
    if isinstance(given, str | tuple | list):
        return spec(given)
    return spec(given.shape, given.dtype)


def _dim_of(part: Any) -> Dim:
    text = str(part).strip()
    return int(text) if text.lstrip("-").isdigit() else text


def shape_of(dims: Iterable[Any]) -> Shape:
    """A shape as JAX holds it, with every symbolic dimension as its text."""
    return tuple(int(dim) if isinstance(dim, int | np.integer) else str(dim) for dim in dims)


def structs(specs: Mapping[str, InputSpec], constraints: tuple[str, ...]) -> list[jax.ShapeDtypeStruct]:
    """The inputs as JAX traces them: one scope for all, so that equal names are equal sizes."""
    scope = jax.export.SymbolicScope(constraints)
    made = []
    for name, item in specs.items():
        try:
            dims = jax.export.symbolic_shape(",".join(map(str, item.dims)), scope=scope) if item.dims else ()
        except ValueError as error:
            raise CannotExport(
                f'Input "{name}" has the shape {item.dims}, which cannot be read: {error}',
                remedy='Give integers and names, for example spec("batch, 12").',
            ) from error
        made.append(jax.ShapeDtypeStruct(dims, item.dtype))  # type: ignore[no-untyped-call]
    return made


def is_static(shape: Shape) -> bool:
    """Whether every dimension is a number."""
    return all(isinstance(dim, int) for dim in shape)


def ranked(shape: Shape, rank: int) -> Shape:
    """A shape with ones in front up to a rank."""
    return (1,) * (rank - len(shape)) + shape


def stripped(shape: Shape) -> Shape:
    """A shape without the ones in front."""
    first = next((at for at, dim in enumerate(shape) if dim != 1), len(shape))
    return shape[first:]


def broadcast(*shapes: Shape) -> Shape:
    """The shape NumPy's broadcasting gives, for shapes known to fit one another."""
    rank = max(map(len, shapes), default=0)
    columns = zip(*(ranked(shape, rank) for shape in shapes), strict=True)
    return tuple(next((dim for dim in column if dim != 1), 1) for column in columns)


def size_of(shape: Shape) -> int | None:
    """How many elements, or None where that is not known."""
    total = 1
    for dim in shape:
        if isinstance(dim, str):
            return None
        total *= dim
    return total


def evaluate(
    dim: str, variable: Callable[[str], Any], number: Callable[[int], Any], apply: Callable[[str, Any, Any], Any]
) -> Any:
    """Walk through the text of a symbolic dimension; `apply` gets add, sub, mul, floordiv, mod, max or min."""

    def walk(tree: ast.AST) -> Any:
        match tree:
            case ast.Name(id=name):
                return variable(name)
            case ast.Constant(value=int(value)):
                return number(value)
            case ast.UnaryOp(op=ast.USub(), operand=operand):
                return apply("sub", number(0), walk(operand))
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int(power))) if power > 0:
                base = result = walk(left)
                for _ in range(power - 1):
                    result = apply("mul", result, base)
                return result
            case ast.BinOp(left=left, op=op, right=right) if type(op) in _OPERATORS:
                return apply(_OPERATORS[type(op)], walk(left), walk(right))
            case ast.Call(func=ast.Name(id=name), args=[left, right]) if name in ("floordiv", "mod", "max", "min"):
                return apply(name, walk(left), walk(right))
        raise CannotExport(f'The dimension "{dim}" cannot be computed from the inputs.', dimension=dim)

    return walk(ast.parse(dim.replace("^", "**"), mode="eval").body)


_OPERATORS: dict[type[ast.operator], str] = {ast.Add: "add", ast.Sub: "sub", ast.Mult: "mul"}
