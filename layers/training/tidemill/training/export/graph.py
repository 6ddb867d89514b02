"""The ONNX graph under construction: nodes, constants, views and sizes.

A Value is held lazily: the tensor behind it may have fewer dimensions, or ones where the shape JAX sees has
more. ONNX broadcasts like NumPy, so most operators take such a tensor as it is, and Expand is rarely written.
"""

from __future__ import annotations

import hashlib
from collections import ChainMap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from tidemill.training.export.refusal import CannotExport
from tidemill.training.export.shapes import Dim, Shape, evaluate, is_static, ranked, size_of, stripped

LARGE_BYTES = 1024  # from this size on a constant is a weight: stored once, never copied in another layout
DTYPES = tuple(map(np.dtype, ("bool", "int8", "int32", "int64", "uint8", "uint32", "float32", "float64")))


@dataclass(frozen=True)
class Value:
    """A tensor: its name in the graph, the shape JAX sees, the shape it is held in, and its content where known."""

    name: str
    shape: Shape
    held: Shape
    dtype: np.dtype[Any]
    array: np.ndarray | None = None

    @property
    def known(self) -> np.ndarray:
        """The content, in the whole shape; only for values that have one and whose shape is static."""
        return np.broadcast_to(self.content, tuple(int(dim) for dim in self.shape))

    @property
    def content(self) -> np.ndarray:
        """The content as it is held."""
        if self.array is None:
            raise ValueError(f"{self.name} is not known before the graph runs.")
        return self.array

    def like(self, shape: Shape) -> Value:
        """The same tensor, seen in another shape that it broadcasts to."""
        return replace(self, shape=shape)


def constant(array: Any, shape: Shape | None = None) -> Value:
    """A value fixed at export; an array of one repeated element is held as that element."""
    held = np.asarray(array)
    shape = held.shape if shape is None else shape
    if held.size > 1 and held.tobytes() == held.ravel()[:1].tobytes() * held.size:
        held = held.ravel()[0].reshape(())
    held = np.asarray(held.reshape(tuple(map(int, stripped(held.shape)))), order="C")
    return Value("", shape, held.shape, held.dtype, held)


def vector(numbers: Sequence[Any]) -> Value:
    """A fixed list of int64: axes, sizes, starts."""
    array = np.array(numbers, np.int64).reshape(-1)
    return Value("", array.shape, array.shape, array.dtype, array)


class Graph:
    """Nodes in the order they were added. A body (of a Scan) is a child and sees what its parents hold.

    A body that runs often `hoists`: a node that reads nothing of the body is added to the parent.
    """

    def __init__(self, parent: Graph | None = None, *, hoists: bool = False) -> None:
        self.parent = parent
        self.hoists = hoists
        self.own: set[str] = set()
        self.root: Graph = parent.root if parent else self
        self.nodes: list[onnx.NodeProto] = []
        self.written: ChainMap[Any, tuple[str, ...]] = parent.written.new_child() if parent else ChainMap()
        self.turns: ChainMap[str, tuple[Value, list[int]]] = parent.turns.new_child() if parent else ChainMap()
        self.views: ChainMap[str, Value] = parent.views.new_child() if parent else ChainMap()
        self.initializers: dict[str, np.ndarray] = {}
        self.inputs: dict[str, Shape] = {}
        self.shapes: dict[str, Shape] = {}  # how every tensor is held, for the rewriting
        self.outputs: list[str] = []
        self.taken: set[str] = set()
        self.count = 0

    # -- names and nodes

    def fresh(self, stem: str) -> str:
        """A name nobody has."""
        root = self.root
        while True:
            root.count += 1
            name = f"{stem.lower()}_{root.count}"
            if name not in root.taken:
                return name

    def name(self, value: Value) -> str:
        """The name a node may use; a constant becomes an initializer when it is first used."""
        if value.array is None:
            return value.name
        array = value.array
        digest = hashlib.sha256(f"{array.dtype}{array.shape}".encode() + array.tobytes()).hexdigest()
        name = f"constant_{digest[:16]}"
        self.root.initializers.setdefault(name, array)
        self.root.shapes[name] = array.shape
        return name

    def node(self, op: str, inputs: Sequence[Value | None], outputs: int = 1, **attributes: Any) -> tuple[str, ...]:
        """Add a node, unless the same one stands already; the names of its outputs."""
        names = tuple("" if value is None else self.name(value) for value in inputs)
        key = (op, names, outputs, repr(sorted(attributes.items())))
        if key in self.written:
            return self.written[key]
        if self.hoists and self.parent and not self.own.intersection(names):
            return self.parent.node(op, inputs, outputs, **attributes)
        made = tuple(self.fresh(op) for _ in range(outputs))
        self.own.update(made)
        self.nodes.append(helper.make_node(op, list(names), list(made), **attributes))
        self.written[key] = made
        return made

    def emit(
        self,
        op: str,
        inputs: Sequence[Value | None],
        shape: Shape,
        dtype: Any,
        held: Shape | None = None,
        **attributes: Any,
    ) -> Value:
        """Add a node with one output and say what it is."""
        (name,) = self.node(op, inputs, **attributes)
        self.root.shapes[name] = shape if held is None else held
        return Value(name, shape, self.root.shapes[name], np.dtype(dtype))

    # -- layout

    def reshape(self, value: Value, held: Shape) -> Value:
        """The same elements held in another shape; a chain of such changes is one node."""
        if value.held == held:
            return value
        if value.array is not None:
            numbers = tuple(int(dim) for dim in held)
            return replace(value, held=held, array=value.array.reshape(numbers))
        origin = self.views.get(value.name, value)
        if origin.held == held:
            return replace(origin, shape=value.shape)
        made = self._view(origin, held)
        self.views[made.name] = origin
        return replace(made, shape=value.shape)

    def _view(self, origin: Value, held: Shape) -> Value:
        shorter, longer = sorted((origin.held, held), key=len)
        axes = _inserted(shorter, longer)
        if axes is not None:
            op = "Unsqueeze" if longer == held else "Squeeze"
            return self.emit(op, [origin, vector(axes)], held, origin.dtype)
        return self.emit("Reshape", [origin, self._target(origin.held, held)], held, origin.dtype)

    def _target(self, source: Shape, held: Shape) -> Value:
        """The shape input of a Reshape: 0 copies a dimension, one -1 is inferred, else sizes are computed."""
        wanted: list[Dim] = list(held)
        for at, dim in enumerate(held):
            if isinstance(dim, str) and at < len(source) and source[at] == dim:
                wanted[at] = 0
        open_at = [at for at, dim in enumerate(wanted) if isinstance(dim, str)]
        if len(open_at) == 1 and not any(dim == 0 for dim in held):
            wanted[open_at[0]] = -1
        if is_static(tuple(wanted)) and not any(dim == 0 for dim in held):
            return vector(wanted)
        return self.dims(held)

    def ranked(self, value: Value) -> Value:
        """The value held with all its dimensions, ones where it repeats."""
        return self.reshape(value, ranked(value.held, len(value.shape)))

    def full(self, value: Value, keep: Sequence[int] | None = None) -> Value:
        """The value held with all its elements; or only with those of some axes, ones elsewhere."""
        value = self.ranked(value)
        axes = range(len(value.shape)) if keep is None else [axis % len(value.shape) for axis in keep]
        held = tuple(dim if at in axes else value.held[at] for at, dim in enumerate(value.shape))
        if held == value.held:
            return value
        if value.array is not None and is_static(held) and (size_of(held) or 0) * value.dtype.itemsize <= 1 << 16:
            array = np.array(np.broadcast_to(value.array, tuple(int(dim) for dim in held)), order="C")
            return replace(value, held=held, array=array)
        return self.emit("Expand", [value, self.dims(held)], value.shape, value.dtype, held=held)

    def transpose(self, value: Value, order: Sequence[int]) -> Value:
        """The axes in another order; weights stay as they are stored and are turned by a node."""
        order = [int(axis) for axis in order]
        shape = tuple(value.shape[axis] for axis in order)
        if order == sorted(order):
            return value
        if not value.held:
            return value.like(shape)
        value = self.ranked(value)
        held = tuple(value.held[axis] for axis in order)
        if _moved(value.held, order) == sorted(_moved(value.held, order)):
            return replace(self.reshape(value, held), shape=shape)
        if value.array is not None and value.array.nbytes < LARGE_BYTES:
            return Value("", shape, held, value.dtype, np.asarray(value.array.transpose(order), order="C"))
        if value.name in self.turns:
            origin, before = self.turns[value.name]
            return self.transpose(origin, [before[axis] for axis in order]).like(shape)
        made = self.emit("Transpose", [value], shape, value.dtype, held=held, perm=order)
        self.turns[made.name] = (value, order)
        return made

    def cast(self, value: Value, dtype: Any) -> Value:
        """The value in another type."""
        dtype = np.dtype(dtype)
        if value.dtype == dtype:
            return value
        if value.array is not None:
            return replace(value, dtype=dtype, array=value.array.astype(dtype))
        to = helper.np_dtype_to_tensor_dtype(dtype)
        return self.emit("Cast", [value], value.shape, dtype, held=value.held, to=to)

    # -- sizes known only when the graph runs

    def size(self, dim: Dim) -> Value:
        """A dimension as an int64 tensor of one element, computed once from the shapes of the inputs."""
        if isinstance(dim, int):
            return vector([dim])
        value: Value = evaluate(dim, self.root._variable, self.root.size, self.root._arithmetic)
        return value

    def dims(self, shape: Shape) -> Value:
        """A shape as an int64 tensor."""
        if is_static(shape):
            return vector(shape)
        pieces: list[Value] = [self.size(dim) for dim in shape]
        if len(pieces) == 1:
            return pieces[0]
        return self.root.emit("Concat", pieces, (len(shape),), np.int64, axis=0)

    def _variable(self, name: str) -> Value:
        for source, shape in self.inputs.items():
            if name in shape:
                axis = shape.index(name)
                tensor = Value(source, shape, shape, np.dtype(np.float32))
                return self.emit("Shape", [tensor], (1,), np.int64, start=axis, end=axis + 1)
        raise CannotExport(
            f'No input has the dimension "{name}" on its own, so its size is not known when the graph runs.',
            remedy=f'Add an input with the plain dimension "{name}".',
            dimension=name,
        )

    def _arithmetic(self, operator: str, left: Value, right: Value) -> Value:
        if operator == "floordiv":  # ONNX divides towards zero, a dimension divides downwards
            rest = self._arithmetic("mod", left, right)
            return self.emit("Div", [self._arithmetic("sub", left, rest), right], (1,), np.int64)
        if left.array is not None and right.array is not None:
            folded = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "mod": np.mod}.get(operator)
            if folded is not None:
                return self.size(int(folded(left.array, right.array)[0]))
        return self.emit(operator.capitalize(), [left, right], (1,), np.int64)


def _inserted(shorter: Shape, longer: Shape) -> list[int] | None:
    """The axes of the ones that make the shorter shape the longer; None where it takes more than ones."""
    axes, rest = [], list(shorter)
    for at, dim in enumerate(longer):
        if rest and rest[0] == dim and not (dim == 1 and len(longer) - at > len(rest)):
            rest.pop(0)
        elif dim == 1:
            axes.append(at)
        else:
            return None
    return None if rest or len(axes) != len(longer) - len(shorter) else axes


def _moved(held: Shape, order: Sequence[int]) -> list[int]:
    """The order of the axes that hold more than one element."""
    return [axis for axis in order if held[axis] != 1]


def tensor(name: str, array: np.ndarray) -> onnx.TensorProto:
    """An array as ONNX stores it."""
    return numpy_helper.from_array(np.asarray(array, order="C"), name)
