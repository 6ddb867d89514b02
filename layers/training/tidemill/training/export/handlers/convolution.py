"""conv_general_dilated as Conv: channels first, kernels as (out, in, space)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from tidemill.training.export.call import Call, Handler
from tidemill.training.export.graph import Value, constant
from tidemill.training.export.handlers.layout import pad_ends, spread
from tidemill.training.export.shapes import Dim, Shape, shape_of


def convolve(call: Call, image: Value, kernel: Value) -> Value:
    """A convolution, dilated or not, and the gradient of one by its input (an image with zeros in between)."""
    params, graph = call.params, call.graph
    call.only(batch_group_count=1)
    if call.dtype != np.float32 or image.dtype != np.float32 or kernel.dtype != np.float32:
        raise call.refuse(f"it has no kernel for {image.dtype}")
    numbers = params["dimension_numbers"]
    if len(numbers.lhs_spec) < 3:
        raise call.refuse("an image needs at least one axis of space")
    image = graph.full(graph.transpose(graph.full(image), numbers.lhs_spec))
    kernel = graph.full(graph.transpose(graph.full(kernel), numbers.rhs_spec))
    image, pads = _prepared(call, image, [shape_of(pair) for pair in params["padding"]])
    order = list(np.argsort(numbers.out_spec))
    made = tuple(call.shape[axis] for axis in numbers.out_spec)
    result = graph.emit(
        "Conv", [image, kernel], made, call.dtype,
        strides=_whole(params["window_strides"]), dilations=_whole(params["rhs_dilation"]),
        pads=pads, group=int(params["feature_group_count"]),
    )  # fmt: skip
    return graph.transpose(result, order)


def _whole(sizes: Sequence[int]) -> list[int]:
    return [int(size) for size in sizes]


def _prepared(call: Call, image: Value, padding: list[Shape]) -> tuple[Value, list[int]]:
    """The image with zeros put in between, and the padding as Conv takes it; what it does not take is applied here."""
    zero = constant(np.float32(0))
    for axis, step in enumerate(call.params["lhs_dilation"]):
        if step != 1:
            image = spread(call, image, zero, axis + 2, int(step) - 1)
    ends = [(low, high) for low, high in padding]
    if all(isinstance(end, int) and end >= 0 for pair in ends for end in pair):
        return image, [int(low) for low, _ in ends] + [int(high) for _, high in ends]
    lows: list[Dim] = [0, 0, *(low for low, _ in ends)]
    highs: list[Dim] = [0, 0, *(high for _, high in ends)]
    return _padded(call, image, zero, lows, highs), [0] * (2 * len(ends))


def _padded(call: Call, image: Value, zero: Value, lows: Sequence[Dim], highs: Sequence[Dim]) -> Value:
    shape = tuple(
        dim if (low, high) == (0, 0) else _plus(dim, low, high)
        for dim, low, high in zip(image.shape, lows, highs, strict=True)
    )
    wide = pad_ends(call, image, zero, lows, highs)
    return Value(wide.name, shape, shape, wide.dtype)


def _plus(dim: Dim, low: Dim, high: Dim) -> Dim:
    if isinstance(dim, int) and isinstance(low, int) and isinstance(high, int):
        return dim + low + high
    return f"({dim}) + ({low}) + ({high})"


HANDLERS: dict[str, Handler] = {"conv_general_dilated": convolve}
