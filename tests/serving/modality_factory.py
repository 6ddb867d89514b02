"""Small bundles of pictures and of texts made by hand: linear models in ONNX, without training anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper
from tests.core.pictures import encoded
from tests.serving.bundle_factory import _save, _stored, learned

from tidemill.core import features, holdout, manifest
from tidemill.core.features.pictures import PictureProgram
from tidemill.core.features.texts import TextProgram
from tidemill.core.spec import Spec

Array = np.ndarray[Any, Any]
SIDES = ("left", "right")  # where a picture is bright
MOODS = ("bad", "good")
GOOD = ["good", "fine", "lovely", "好", "great fun", "很好看", "a pleasure", "wonderful"]
BAD = ["bad", "awful", "boring", "差", "no fun", "不好看", "a waste", "terrible"]
REST = ["the film", "this book", "that hotel", "电影", "our room", "这本书", "my meal", "the play"]

node, info, from_array = helper.make_node, helper.make_tensor_value_info, onnx.numpy_helper.from_array


def picture(side: str, seed: int = 0, size: tuple[int, int] = (12, 12), kind: str = "PNG", **options: Any) -> bytes:
    """The bytes of a grey picture that is bright on one side."""
    random = np.random.default_rng(seed)
    pixels_hw = random.integers(0, 90, size)
    half = slice(0, size[1] // 2) if side == "left" else slice(size[1] // 2, size[1])
    pixels_hw[:, half] += 150
    return encoded(pixels_hw.astype(np.uint8), kind, **options)


def pictures(count: int, seed: int = 0) -> tuple[dict[str, Array], Array]:
    """A column of pictures, in turn bright on each side, and their labels."""
    column = np.empty(count, dtype=object)
    column[:] = [picture(SIDES[place % 2], seed + place) for place in range(count)]
    return {"picture": column}, np.array([SIDES[place % 2] for place in range(count)], dtype=object)


def text(mood: str, seed: int = 0) -> str:
    """A few words of one mood, English and Chinese."""
    random = np.random.default_rng(seed)
    words = [str(random.choice(GOOD if mood == "good" else BAD)) for _ in range(2)]
    return f"{random.choice(REST)} {words[0]}, {random.choice(REST)} {words[1]}"


def texts(count: int, seed: int = 0) -> tuple[dict[str, Array], Array]:
    """A column of texts, in turn of each mood, and their labels."""
    column = np.empty(count, dtype=object)
    column[:] = [text(MOODS[place % 2], seed + place) for place in range(count)]
    return {"review": column}, np.array([MOODS[place % 2] for place in range(count)], dtype=object)


def text_program(count: int = 200) -> TextProgram:
    """A program fitted on such texts."""
    described = [{"name": "review", "role": "feature"}, {"name": "mood", "role": "target"}]
    fitted: TextProgram = features.fit(texts(count, 5_000)[0], {"modality": "text", "columns": described}, Spec())
    return fitted


def make_pictures(
    folder: Path, size: tuple[int, int] = (12, 12), channels: int = 1, sharpness: float = 8.0, rows: int = 0
) -> Path:
    """A bundle that tells on which side a picture is bright; `rows` test rows make it fit for the gate."""
    w_hwc = np.ones((*size, channels), np.float32)
    w_hwc[:, size[1] // 2 :] = -1.0
    w_f = w_hwc.reshape(-1) * np.float32(sharpness / w_hwc.size)
    w_fk = np.stack([w_f, -w_f], 1)
    score = [
        node("Cast", ["x"], ["floats"], to=TensorProto.FLOAT),
        node("Div", ["floats", "top"], ["unit"]),
        node("Reshape", ["unit", "flat"], ["features"]),
        node("Gemm", ["features", "w", "b"], ["score"]),
        node("Softmax", ["score"], ["probabilities"]),
    ]
    pull = [
        node("MatMul", ["target", "w_t"], ["w_target"]),
        node("Mul", ["features", "w_target"], ["pull"]),
        node("Reshape", ["pull", "by_pixel"], ["pull_pc"]),
        node("ReduceSum", ["pull_pc", "last"], ["pull_p"], keepdims=0),
    ]
    constants = {
        **{"top": np.float32(255.0), "flat": np.array([-1, w_f.size]), "w_t": np.ascontiguousarray(w_fk.T)},
        "by_pixel": np.array([-1, size[0] * size[1], channels]),
    }
    given = [info("x", TensorProto.UINT8, ["batch", *size, channels])]
    _save_facts(folder, PictureProgram(size, channels, ("file", "side")), SIDES, "side")
    _save_graphs(folder, w_fk, constants, (given, score), ([], pull))
    return _finished(folder, pictures(rows, 9_000) if rows else None)


def make_texts(folder: Path, sharpness: float = 1.5, rows: int = 0, program: TextProgram | None = None) -> Path:
    """A bundle that tells the mood of a text from its n-grams."""
    program = program or text_program()
    columns, labels = texts(200, 5_000)
    x = program.apply(columns)
    seen_vk = np.ones((program.width, 2))
    for row, label in enumerate(labels):
        seen_vk[x.bag_nm[row][x.bag_nm[row] > 0], MOODS.index(label)] += 1
    w_v = np.log(seen_vk[:, 1] / seen_vk[:, 0]) * sharpness
    w_v[0] = 0.0
    score = [
        node("Gather", ["w", "bag_nm"], ["rows"]),
        node("Unsqueeze", ["weight_nm", "last"], ["weights"]),
        node("Mul", ["rows", "weights"], ["said"]),
        node("ReduceSum", ["said", "middle"], ["summed"], keepdims=0),
        node("Add", ["summed", "b"], ["score"]),
        node("Softmax", ["score"], ["probabilities"]),
    ]
    pull = [
        node("Unsqueeze", ["target", "middle"], ["target_1"]),
        node("Mul", ["said", "target_1"], ["said_target"]),
        node("ReduceSum", ["said_target", "last"], ["pull_m"], keepdims=0),
        node("Cast", ["seq_nt"], ["floats_t"], to=TensorProto.FLOAT),
        node("Mul", ["floats_t", "zero"], ["pull_t"]),
        node("Concat", ["pull_m", "pull_t"], ["pull_p"], axis=1),
    ]
    given = [
        info("bag_nm", TensorProto.INT32, ["batch", "grams"]),
        info("weight_nm", TensorProto.FLOAT, ["batch", "grams"]),
    ]
    tokens = [info("seq_nt", TensorProto.INT32, ["batch", "tokens"])]
    _save_facts(folder, program, MOODS, "mood")
    w_vk = np.stack([-w_v, w_v], 1).astype(np.float32)
    _save_graphs(folder, w_vk, {"middle": np.array([1])}, (given, score), (tokens, pull))
    return _finished(folder, texts(rows, 9_000) if rows else None)


def _save_facts(folder: Path, program: Any, labels: tuple[str, ...], target: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    features.save(folder, program)
    (folder / "labels.json").write_text(json.dumps({"task": "binary", "target": target, "labels": labels}))
    (folder / "outputs.json").write_text(json.dumps(learned("binary", labels).to_json()))


Part = tuple[list[onnx.ValueInfoProto], list[onnx.NodeProto]]  # inputs, and what is made of them


def _save_graphs(folder: Path, w_fk: Array, constants: dict[str, Any], score: Part, pull: Part) -> None:
    """`score` ends in probabilities, `pull` in pull_p: what each place of a row pulls the target up by."""
    b_k = np.zeros(w_fk.shape[1], np.float32)
    (folder / "weights.bin").write_bytes(w_fk.tobytes() + b_k.tobytes())
    more = {"last": np.array([-1]), "half": np.float32(0.5), "zero": np.float32(0.0), "tiny": np.float32(1e-12)}
    held = [from_array(np.asarray(value), name) for name, value in {**constants, **more}.items()]
    held += _stored(w_fk, b_k)
    floats = TensorProto.FLOAT
    answers = [info("probabilities", floats, ["batch", 2])]
    _save(folder / "model.onnx", helper.make_graph(score[1], "model", score[0], answers, held))
    given = [*score[0], *pull[0], info("target", floats, ["batch", 2])]
    told = [info("contributions", floats, ["batch", "places"])]
    told += [info(name, floats, ["batch"]) for name in ("prediction", "baseline")]
    nodes = [*score[1], *pull[1], *_shares()]
    _save(folder / "explain.onnx", helper.make_graph(nodes, "explain", given, told, held))


def _shares() -> list[onnx.NodeProto]:
    """From the pull of each place: prediction, baseline (one half) and contributions that sum to their difference."""
    return [
        node("Mul", ["probabilities", "target"], ["chosen"]),
        node("ReduceSum", ["chosen", "last"], ["prediction"], keepdims=0),
        node("Mul", ["prediction", "zero"], ["nothing"]),
        node("Add", ["nothing", "half"], ["baseline"]),
        node("Sub", ["prediction", "baseline"], ["gain"]),
        node("Unsqueeze", ["gain", "last"], ["gains"]),
        node("ReduceSum", ["pull_p", "last"], ["pulls"], keepdims=1),
        node("Add", ["pulls", "tiny"], ["pulled"]),
        node("Div", ["gains", "pulled"], ["rate"]),
        node("Mul", ["pull_p", "rate"], ["contributions"]),
    ]


def _finished(folder: Path, rows: tuple[dict[str, Array], Array] | None) -> Path:
    """The manifest, and before it what the gate asks for."""
    if rows is not None:
        holdout.save(folder / "holdout.npz", *rows)
        (folder / "parity.json").write_text(json.dumps({"max_abs_difference": 1e-7, "bound": 1e-4}))
    manifest.write(folder, "bundle", model="sides", run="r-1")
    return folder
