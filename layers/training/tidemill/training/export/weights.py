"""save: several models beside one file of weights, in which equal weights stand once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import onnx
from onnx.external_data_helper import set_external_data

INLINE_BYTES = 1024  # smaller constants stay in the model: shape inference reads them
ALIGNMENT_BYTES = 4096  # a page, so that the runtime can map a weight instead of reading it


def save(folder: Path, models: dict[str, onnx.ModelProto], weights: str = "weights.bin") -> None:
    """Write models under their file names, their weights in one file; the models given are not changed."""
    folder.mkdir(parents=True, exist_ok=True)
    placed: dict[str, tuple[int, int]] = {}
    with (folder / weights).open("wb") as file:
        for name, model in models.items():
            copy = onnx.ModelProto()
            copy.CopyFrom(model)
            for tensor in _tensors(copy.graph):
                if len(tensor.raw_data) >= INLINE_BYTES:
                    _move(tensor, file, placed, weights)
            (folder / name).write_bytes(copy.SerializeToString(deterministic=True))
    for name in models:
        onnx.checker.check_model(str(folder / name))


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _tensors(attribute.g)


def _move(tensor: onnx.TensorProto, file: BinaryIO, placed: dict[str, tuple[int, int]], weights: str) -> None:
    """Replace the content of a tensor by its place in the file, where it is written unless it stands there."""
    content = tensor.raw_data
    key = hashlib.sha256(content).hexdigest()
    if key not in placed:
        file.write(b"\0" * (-file.tell() % ALIGNMENT_BYTES))
        placed[key] = (file.tell(), len(content))
        file.write(content)
    offset, length = placed[key]
    set_external_data(tensor, weights, offset=offset, length=length)
    tensor.ClearField("raw_data")
