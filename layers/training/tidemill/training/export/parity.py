"""difference: how far an exported model is from the function it was made of, on real inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import jax
import numpy as np
import onnx
import onnxruntime

Model: TypeAlias = bytes | str | Path | onnx.ModelProto


def session(model: Model, threads: int = 1) -> onnxruntime.InferenceSession:
    """An ONNX Runtime session, with one thread where not told otherwise."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 3
    if isinstance(model, onnx.ModelProto):
        model = model.SerializeToString()
    given = str(model) if isinstance(model, Path) else model
    return onnxruntime.InferenceSession(given, options, providers=["CPUExecutionProvider"])


def difference(
    model: Model | onnxruntime.InferenceSession, function: Callable[..., Any], inputs: Sequence[np.ndarray]
) -> dict[str, float]:
    """The largest absolute difference of every output; inf where shapes, types, infinities or NaN disagree.

    The function runs jitted and in full precision, so that a GPU does not round its products to TF32.
    """
    runner = model if isinstance(model, onnxruntime.InferenceSession) else session(model)
    names = [item.name for item in runner.get_inputs()]
    made = runner.run(None, dict(zip(names, map(np.asarray, inputs), strict=True)))
    with jax.default_matmul_precision("highest"):
        expected = jax.tree.leaves(jax.jit(function)(*inputs))
    outputs = [item.name for item in runner.get_outputs()]
    return {name: furthest(got, np.asarray(wanted)) for name, got, wanted in zip(outputs, made, expected, strict=True)}


def furthest(got: np.ndarray, wanted: np.ndarray) -> float:
    """The largest absolute difference of two arrays; inf where they cannot be compared."""
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return float("inf")
    left, right = got.astype(np.float64), wanted.astype(np.float64)
    same = (left == right) | (np.isnan(left) & np.isnan(right))
    with np.errstate(invalid="ignore"):
        apart = np.where(same, 0.0, np.abs(left - right))
    return float(np.max(np.where(np.isnan(apart), np.inf, apart), initial=0.0))
