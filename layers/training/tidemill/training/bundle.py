"""The files of a bundle, except the proof and the scores: graphs, rows to compare with, card, and the manifest last."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
from numpy.typing import NDArray

from tidemill.core import features, holdout, manifest, measures, reference
from tidemill.core.features.text_bags import MOST_TOKENS
from tidemill.core.features.text_pieces import MOST_PIECES
from tidemill.core.spec import Spec
from tidemill.core.version import VERSION
from tidemill.training import explain, inputs
from tidemill.training.dataset import Dataset
from tidemill.training.evaluate import Model
from tidemill.training.inputs import Inputs

Array = NDArray[Any]
# how long the programs of texts make their inputs: what networks have positions for
LONGEST = {"seq_nt": f"tokens <= {MOST_TOKENS}", "piece_nt": f"pieces <= {MOST_PIECES}"}
LIBRARIES = ("jax", "flax", "optax", "numpy", "onnx", "onnxruntime")


def save_graphs(folder: Path, model: Model, explainer: explain.Explainer, x_n: Inputs) -> None:
    """Write model.onnx, explain.onnx and their weights, for inputs like `x`; the folder is no bundle until closed."""
    from tidemill.training import export

    folder.mkdir(parents=True, exist_ok=True)
    (folder / manifest.NAME).unlink(missing_ok=True)
    given, longest = specs_of(x_n), tuple(LONGEST[name] for name in inputs.named(x_n) if name in LONGEST)
    target = f"batch, {model.outputs}"
    named = ("value", "spread") if model.spread else ("value",) if model.task == "regression" else ("probabilities",)
    answering = _answering(model)
    predicting = export.to_onnx(lambda *arrays: answering(inputs.like(x_n, arrays)), given, named, constraints=longest)
    explaining = export.to_onnx(
        lambda *arrays: explain.spread(explainer(inputs.like(x_n, arrays[:-1]), arrays[-1])),
        {**given, "target": target},
        ("contributions", "prediction", "baseline"),
        constraints=longest,
    )
    export.save(folder, {"model.onnx": predicting, "explain.onnx": explaining})


def specs_of(x_n: Inputs) -> dict[str, Any]:
    """The inputs of a graph: any number of rows; texts of any length; else the shapes that were trained on."""
    from tidemill.training import export

    names = {"bag_nm": "grams", "weight_nm": "grams", "seq_nt": "tokens", "piece_nt": "pieces"}
    return {
        name: export.spec(", ".join(["batch", *(names.get(name, str(size)) for size in array.shape[1:])]), array.dtype)
        for name, array in inputs.named(x_n).items()
    }


def _answering(model: Model) -> Callable[[Any], Any]:
    """What model.onnx computes: the answer, and for numbers the likely size of its error."""
    sizes = model.spread
    if sizes is None:
        return model.predict

    def both(x_bf: Any) -> Any:
        value_bk = model.predict(x_bf)
        return value_bk, sizes.apply(value_bk)

    return both


def save_facts(folder: Path, data: Dataset, metrics: dict[str, Any], parity: dict[str, Any], **more: Any) -> None:
    """Write what is known of the model as JSON: its features, labels, scores and proof, and more by name."""
    answers = {name: data.schema[name] for name in ("task", "target", "labels")}
    features.save(folder, data.program)
    contents = {"labels": answers, "metrics": metrics, "parity": parity, **more}
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def save_rows(folder: Path, data: Dataset, train_scores: Array) -> None:
    """Write what later comparisons need: the shape of the training rows, and the test rows themselves."""
    fitted, test, schema = data.train, data.test, data.schema
    shown = measures.measured(fitted.columns, fitted.x_n, schema.get("modality", "table"))
    seen = reference.fit(shown, (schema["target"], fitted.target), schema["labels"], train_scores)
    reference.save(folder / "reference.npz", seen)
    holdout.save(folder / "holdout.npz", test.columns, test.target, hashes=test.hashes)


def save_card(
    folder: Path,
    data: Dataset,
    spec: Spec,
    metrics: dict[str, Any],
    importance: list[dict[str, Any]],
    examples: dict[str, Any],
    run: dict[str, Any],
    **more: Any,
) -> None:
    """Write card.json and card.html; `more` goes to the card as it is."""
    from tidemill.training.card import write_card

    profile = json.loads((data.folder / "profile.json").read_text(encoding="utf-8"))
    columns = [{"log1p": False, **column} for column in data.schema["columns"]]  # only numbers say so themselves
    write_card(
        folder,
        schema={**data.schema, "columns": columns},
        profile=profile,
        spec=spec,
        metrics=metrics,
        program=data.program,
        importance=importance,
        examples=examples,
        run={**run, "code": VERSION, "versions": {name: version(name) for name in LIBRARIES}, "device": _device()},
        **more,
    )


def close(folder: Path, data: Dataset, spec: Spec, run: Mapping[str, Any], **more: str) -> None:
    """Write the manifest, which makes the folder a bundle; `more` goes into it as it is."""
    named = {"model": data.schema.get("model", ""), "run": "", "dataset": data.schema.get("dataset", ""), **run}
    manifest.write(
        folder,
        "bundle",
        **{name: named.get(name, "") for name in ("model", "run", "dataset", "fingerprint")},
        task=data.schema["task"],
        **{name: spec.to_json()[name] for name in ("train", "augment", "search", "decision") if name in spec.to_json()},
        code=VERSION,
        **more,
    )


def _device() -> str:
    device = jax.devices()[0]
    return "CPU" if device.platform == "cpu" else f"{len(jax.devices())} x {device.device_kind}"
