"""Small bundles made by hand: linear models in ONNX whose answers NumPy can repeat, without training anything."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from tidemill.core import manifest
from tidemill.core.calibration import Calibration
from tidemill.core.features import Columns, Program, fit
from tidemill.core.outputs import Outputs, fit_outputs
from tidemill.core.spec import Decision, Spec

Array = np.ndarray[Any, Any]

LABELS = ("<=50K", ">50K")
LEVELS = ("Private", "State-gov", "Self-emp")


def columns(rows: int = 300, seed: int = 0) -> Columns:
    """People with an age, hours (some missing), a kind of work (some missing) and the day they were hired."""
    random = np.random.default_rng(seed)
    hours = random.normal(40, 12, rows).round()
    hours[random.random(rows) < 0.1] = np.nan
    work = np.array([*LEVELS, None], dtype=object)[random.integers(0, 4, rows)]
    hired = random.integers(1_000_000_000, 1_700_000_000, rows).astype(float)
    return {"age": random.integers(17, 90, rows).astype(float), "hours": hours, "work": work, "hired": hired}


def rows_of(table: Columns) -> list[dict[str, Any]]:
    """The table as the rows of a request."""
    cells = {
        name: [None if isinstance(v, float) and math.isnan(v) else v for v in c.tolist()] for name, c in table.items()
    }
    return [dict(zip(cells, row, strict=True)) for row in zip(*cells.values(), strict=True)]


def program(seed: int = 0) -> Program:
    """A feature program fitted on these people."""
    kinds = {"age": "number", "hours": "number", "work": "category", "hired": "datetime"}
    described: list[dict[str, Any]] = [{"name": n, "kind": kind, "role": "feature"} for n, kind in kinds.items()]
    described += [
        {"name": "income", "kind": "category", "role": "target"},
        {"name": "id", "kind": "number", "role": "dropped"},
    ]
    return fit(columns(seed=seed), {"columns": described}, Spec())


def weights(task: str, width: int, seed: int, labels: tuple[str, ...]) -> tuple[Array, Array]:
    """The weight matrix and bias of the linear model."""
    random = np.random.default_rng(seed + 100)
    outputs = 1 if task == "regression" else len(labels)
    return random.normal(0, 0.5, (width, outputs)).astype(np.float32), random.normal(0, 0.5, outputs).astype(np.float32)


def spread(x_nf: Array) -> Array:
    """The spread that the regression model estimates: half of the first feature's size, and one."""
    return np.abs(x_nf[:, 0]) / 2 + 1


def learned(
    task: str,
    labels: tuple[str, ...] = LABELS,
    *,
    rows: int = 400,
    spreads: bool = False,
    costs: Decision | None = None,
) -> Outputs:
    """Outputs fitted on rows whose errors are drawn; with `spreads`, of a model made with `spreads`."""
    random = np.random.default_rng(rows)
    if task == "regression":
        value_n, spread_n = random.normal(0, 3, rows), random.uniform(1, 2, rows)
        y_n, given = value_n + random.normal(0, 1, rows) * spread_n, spread_n if spreads else None
        return fit_outputs(task, (), y_n, value_n, given, Calibration(), costs or Decision())
    p_nk = random.dirichlet(np.ones(len(labels)), rows)
    y_n = (p_nk.cumsum(1) < random.random((rows, 1))).sum(1).clip(0, len(labels) - 1)
    return fit_outputs(task, labels, y_n, p_nk, None, Calibration(), costs or Decision())


def make(
    folder: Path,
    task: str = "binary",
    *,
    seed: int = 0,
    labels: tuple[str, ...] = LABELS,
    outputs: Outputs | None = None,
    spreads: bool = False,
    **fields: Any,
) -> Path:
    """Write a whole bundle and its manifest.

    `seed` makes another version, `outputs` writes outputs.json, `spreads` gives a regression model its second output.
    """
    folder.mkdir(parents=True, exist_ok=True)
    fitted = program(seed)
    labels = () if task == "regression" else labels
    w_fk, b_k = weights(task, fitted.width, seed, labels)
    (folder / "weights.bin").write_bytes(w_fk.tobytes() + b_k.tobytes())
    (folder / "features.json").write_text(json.dumps(fitted.to_json()))
    target = "price" if task == "regression" else "income"
    (folder / "labels.json").write_text(json.dumps({"task": task, "target": target, "labels": labels}))
    _save(folder / "model.onnx", _answer_graph(task, w_fk, b_k, spreads))
    if outputs is not None:
        (folder / "outputs.json").write_text(json.dumps(outputs.to_json()))
    _save(folder / "explain.onnx", _explain_graph(task, w_fk, b_k))
    manifest.write(folder, "bundle", **{"model": "income", "run": "r-1", **fields})
    return folder


def _answer_graph(task: str, w_fk: Array, b_k: Array, spreads: bool) -> onnx.GraphProto:
    f, k = w_fk.shape
    name = "value" if task == "regression" else "probabilities"
    names, second, constants = ([name, "spread"], *_spread_nodes(f)) if spreads else ([name], [], [])
    return helper.make_graph(
        [*_score_nodes(task, name), *second],
        "model",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", f])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, ["batch", k]) for output in names],
        [*_stored(w_fk, b_k), *constants],
    )


def _spread_nodes(f: int) -> tuple[list[onnx.NodeProto], list[onnx.TensorProto]]:
    """What `spread` computes: |x| times a matrix that takes half of the first feature, and one."""
    half = np.zeros((f, 1), np.float32)
    half[0] = 0.5
    nodes = [helper.make_node("Abs", ["x"], ["size"]), helper.make_node("Gemm", ["size", "half", "one"], ["spread"])]
    held = {"half": half, "one": np.ones(1, np.float32)}
    return nodes, [onnx.numpy_helper.from_array(value, name) for name, value in held.items()]


def _score_nodes(task: str, name: str) -> list[onnx.NodeProto]:
    last = helper.make_node("Identity" if task == "regression" else "Softmax", ["score"], [name])
    return [helper.make_node("Gemm", ["x", "w", "b"], ["score"]), last]


def _explain_graph(task: str, w_fk: Array, b_k: Array) -> onnx.GraphProto:
    """Shares the difference to the baseline (all features 0) out in proportion to w * x."""
    f, k = w_fk.shape
    start = b_k if task == "regression" else np.exp(b_k) / np.exp(b_k).sum()
    node = helper.make_node
    nodes = [
        *_score_nodes(task, "y"),
        node("Mul", ["y", "target"], ["y_target"]),
        node("ReduceSum", ["y_target", "last"], ["prediction"], keepdims=0),
        node("Mul", ["start", "target"], ["start_target"]),
        node("ReduceSum", ["start_target", "last"], ["baseline"], keepdims=0),
        node("MatMul", ["target", "w_t"], ["w_target"]),
        node("Mul", ["x", "w_target"], ["pull"]),
        node("ReduceSum", ["pull", "last"], ["pulls"], keepdims=1),
        node("Sub", ["prediction", "baseline"], ["gain"]),
        node("Unsqueeze", ["gain", "last"], ["gains"]),
        node("Div", ["gains", "pulls"], ["rate"]),
        node("Mul", ["pull", "rate"], ["contributions"]),
    ]
    constants = {"last": np.array([1]), "start": start.astype(np.float32), "w_t": np.ascontiguousarray(w_fk.T)}
    return helper.make_graph(
        nodes,
        "explain",
        [
            helper.make_tensor_value_info("x", TensorProto.FLOAT, ["batch", f]),
            helper.make_tensor_value_info("target", TensorProto.FLOAT, ["batch", k]),
        ],
        [
            helper.make_tensor_value_info("contributions", TensorProto.FLOAT, ["batch", f]),
            helper.make_tensor_value_info("prediction", TensorProto.FLOAT, ["batch"]),
            helper.make_tensor_value_info("baseline", TensorProto.FLOAT, ["batch"]),
        ],
        [*_stored(w_fk, b_k), *(onnx.numpy_helper.from_array(value, name) for name, value in constants.items())],
    )


def _stored(w_fk: Array, b_k: Array) -> list[onnx.TensorProto]:
    """Weights that stand in weights.bin, for both graphs."""
    tensors, offset = [], 0
    for name, value in (("w", w_fk), ("b", b_k)):
        tensor = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=value.shape)
        tensor.data_location = TensorProto.EXTERNAL
        for key, held in (("location", "weights.bin"), ("offset", offset), ("length", value.nbytes)):
            tensor.external_data.add(key=key, value=str(held))
        tensors.append(tensor)
        offset += value.nbytes
    return tensors


def _save(path: Path, graph: onnx.GraphProto) -> None:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    path.write_bytes(model.SerializeToString())
