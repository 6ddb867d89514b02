"""From a dataset folder to a bundle folder: features, training, scores, export, proof, card, and the manifest last."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from tidemill.core import features, holdout, manifest, metrics, reference
from tidemill.core.errors import BadTable
from tidemill.core.evaluation import evaluate
from tidemill.core.prepare import load_split, read_schema
from tidemill.core.progress import Progress, Report, silent
from tidemill.core.spec import Spec
from tidemill.core.version import VERSION
from tidemill.training import batches, config, explain, losses, parity
from tidemill.training.checkpoint import Interrupted, Keeper
from tidemill.training.config import Config
from tidemill.training.evaluate import Model, importance
from tidemill.training.examples import examples_of
from tidemill.training.families import family
from tidemill.training.loop import Kind, State, train

__all__ = ["Interrupted", "fit_bundle"]

Array = NDArray[Any]
LIBRARIES = ("jax", "flax", "optax", "numpy", "onnx", "onnxruntime")


@dataclass
class Split:
    """The rows of one split."""

    columns: features.Columns
    x_nf: Array
    y_n: Array  # class numbers, or values
    target: Array  # as in the table
    hashes: Array


@dataclass
class Stages:
    """Passes reports on, and keeps the seconds each stage took."""

    report: Report
    seconds: dict[str, float] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    name: str = ""

    def enter(self, name: str, message: str) -> None:
        """A new stage begins."""
        now = time.monotonic()
        if self.name:
            self.seconds[self.name] = round(now - self.since, 3)
        self.name, self.since = name, now
        if name:
            self.report(Progress(name, message=message))


def fit_bundle(
    dataset_dir: Path,
    spec: Spec,
    out_dir: Path,
    *,
    checkpoint_dir: Path | None = None,
    progress: Report = silent,
    on_checkpoint: Callable[[Path], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    run: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train on a dataset folder and write the whole bundle; returns metrics.json.

    Raises Interrupted when stop() became true and the state was saved: the same call goes on from there.
    `run` names what the bundle belongs to: model, run, dataset, fingerprint.
    """
    stages = Stages(progress)
    known = family(spec.train.family)  # an unknown family is known before any work
    config.use_compilation_cache(None)
    stages.enter("features", "reading the dataset and fitting the features")
    schema = read_schema(dataset_dir)
    program, splits = _read(dataset_dir, schema, spec)
    shape = config.resolve(spec, schema, rows=len(splits["train"].y_n), features=program.width)
    kind = Kind(known.net(shape.features, shape.outputs), shape.task, shape.log1p)
    stages.enter("training", f"{len(splits['train'].y_n):,} rows, {shape.features} features, {shape.members} members")
    keeper = _keeper(checkpoint_dir, shape, schema, program, on_checkpoint)
    model, state = _train(kind, shape, splits, keeper, progress, stop)
    stages.enter("evaluating", f"scoring {len(splits['test'].y_n):,} test rows")
    report = _judge(model, shape, schema, splits, state)
    columns = importance(model, splits["test"].x_nf, splits["test"].y_n, program, shape.seed)
    stages.enter("exporting", "writing model.onnx and explain.onnx")
    out_dir.mkdir(parents=True, exist_ok=True)
    (out_dir / manifest.NAME).unlink(missing_ok=True)
    explainer = explain.explainer(model, _background(model, splits["train"], shape.seed))
    _export(out_dir, model, explainer)
    stages.enter("proving", "comparing the exported files with the trained model")
    proof = parity.prove(out_dir, model, explainer, program, splits["test"].x_nf)
    stages.enter("writing", "writing the card and the manifest")
    _write(out_dir, schema, program, report, proof)
    _write_rows(out_dir, schema, model, splits)
    stages.enter("", "")
    told = {
        **dict(run or {}),
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "code": VERSION,
        "versions": {library: version(library) for library in LIBRARIES},
        "device": _device(),
        "stages": stages.seconds,
        "seconds": round(sum(stages.seconds.values()), 3),
    }
    shown = examples_of(
        model, explainer, program, schema, splits["test"].columns, splits["test"].x_nf, splits["test"].target
    )
    _write_card(out_dir, dataset_dir, schema, spec, report, program, columns, shown, told)
    manifest.write(
        out_dir,
        "bundle",
        model=told.get("model", schema.get("model", "")),
        run=told.get("run", ""),
        dataset=told.get("dataset", schema.get("dataset", "")),
        fingerprint=told.get("fingerprint", ""),
        task=shape.task,
        family=shape.family,
        code=VERSION,
    )
    return report


# --- stages -------------------------------------------------------------------------------------------------------


def _read(folder: Path, schema: dict[str, Any], spec: Spec) -> tuple[features.Program, dict[str, Split]]:
    """The splits as features; the program is fitted on the training rows alone."""
    loaded = {name: load_split(folder, name) for name in ("train", "validation", "test")}
    for name, (_, target, _) in loaded.items():
        if not len(target):
            raise BadTable(
                f"The {name} split has no rows.", code="TOO_FEW_ROWS", remedy="Upload more rows, or change [split]."
            )
    program = features.fit(loaded["train"][0], schema, spec)
    place = {label: index for index, label in enumerate(schema["labels"])}

    def numbered(target: Array) -> Array:
        return np.array([place[label] for label in target], np.int64) if place else target.astype(np.float64)

    splits = {
        name: Split(columns, program.apply(columns), numbered(target), target, hashes)
        for name, (columns, target, hashes) in loaded.items()
    }
    return program, splits


def _keeper(
    folder: Path | None,
    shape: Config,
    schema: dict[str, Any],
    program: features.Program,
    on_checkpoint: Callable[[Path], None] | None,
) -> Keeper | None:
    if folder is None:
        return None
    identity = shape.fingerprint(schema.get("dataset"), program.to_json(), VERSION)
    told = on_checkpoint or (lambda _: None)
    return Keeper(folder, identity, shape.checkpoint_every_s, shape.checkpoints_kept, told)


def _train(
    kind: Kind,
    shape: Config,
    splits: Mapping[str, Split],
    keeper: Keeper | None,
    progress: Report,
    stop: Callable[[], bool],
) -> tuple[Model, State]:
    fitted, held = splits["train"], splits["validation"]
    scale = losses.scale_of(fitted.y_n, log1p=shape.log1p)
    rows, cut = batches.for_training(fitted.x_nf, fitted.y_n, shape)
    looked = batches.for_looking(held.x_nf, held.y_n)
    state = train(kind, shape, scale, rows, cut, looked, keeper=keeper, report=progress, stop=stop)
    unit = float(fitted.y_n.std()) or 1.0
    return Model(kind, jax.device_put(state.best), scale, unit if shape.task == "regression" else 1.0), state


def _judge(
    model: Model, shape: Config, schema: dict[str, Any], splits: Mapping[str, Split], state: State
) -> dict[str, Any]:
    """metrics.json: the test split is looked at once, here."""
    fitted, test = splits["train"], splits["test"]
    seen = float(model.losses(fitted.x_nf, fitted.y_n).mean())
    return evaluate(
        shape.task,
        schema["labels"],
        test.y_n,
        model.answers(test.x_nf),
        baseline=metrics.baseline_of(shape.task, fitted.y_n, len(schema["labels"])),
        seed=shape.seed,
        train_value=seen**0.5 if shape.task == "regression" else seen,
        history=state.history,
    )


def _background(model: Model, fitted: Split, seed: int) -> Array:
    return explain.background(fitted.x_nf, model.answers(fitted.x_nf), seed)


def _export(folder: Path, model: Model, explainer: explain.Explainer) -> None:
    from tidemill.training import export

    net, answered = model.kind.net, "value" if model.kind.task == "regression" else "probabilities"
    x, target = f"batch, {net.features}", f"batch, {net.outputs}"
    with jax.default_matmul_precision("default"):
        predictor = export.to_onnx(model.predict, {"x": x}, (answered,))
        explaining = export.to_onnx(
            lambda x_nf, target_nk: explain.spread(explainer(x_nf, target_nk)),
            {"x": x, "target": target},
            ("contributions", "prediction", "baseline"),
        )
    export.save(folder, {"model.onnx": predictor, "explain.onnx": explaining})


def _write(
    folder: Path, schema: dict[str, Any], program: features.Program, report: dict[str, Any], proof: dict[str, Any]
) -> None:
    answers = {name: schema[name] for name in ("task", "target", "labels")}
    contents = {"features": program.to_json(), "labels": answers, "metrics": report, "parity": proof}
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _write_rows(folder: Path, schema: dict[str, Any], model: Model, splits: Mapping[str, Split]) -> None:
    """What later comparisons need: the shape of the training rows, and the test rows themselves."""
    fitted, test = splits["train"], splits["test"]
    scores = model.answers(fitted.x_nf)
    seen = reference.fit(fitted.columns, (schema["target"], fitted.target), schema["labels"], scores)
    reference.save(folder / "reference.npz", seen)
    holdout.save(folder / "holdout.npz", test.columns, test.target, hashes=test.hashes)


def _write_card(
    folder: Path,
    dataset_dir: Path,
    schema: dict[str, Any],
    spec: Spec,
    report: dict[str, Any],
    program: features.Program,
    columns: list[dict[str, Any]],
    shown: dict[str, Any],
    told: dict[str, Any],
) -> None:
    from tidemill.training.card import write_card

    profile = json.loads((dataset_dir / "profile.json").read_text(encoding="utf-8"))
    write_card(
        folder,
        schema=schema,
        profile=profile,
        spec=spec,
        metrics=report,
        program=program,
        importance=columns,
        examples=shown,
        run=told,
    )


def _device() -> str:
    device = jax.devices()[0]
    return f"{len(jax.devices())} x {device.device_kind}" if device.platform != "cpu" else "CPU"
