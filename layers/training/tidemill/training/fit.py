"""From a dataset folder to a bundle folder: features, training, scores, export, proof, card, and the manifest last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jax
import numpy as np
from numpy.typing import NDArray

from tidemill.core.evaluation import evaluate
from tidemill.core.metrics import baseline_of, row_losses
from tidemill.core.progress import Progress, Report, silent
from tidemill.core.spec import Spec
from tidemill.core.version import VERSION
from tidemill.training import batches, bundle, config, dataset, explain, losses, parity
from tidemill.training.checkpoint import Interrupted, Keeper
from tidemill.training.config import Config
from tidemill.training.dataset import Dataset
from tidemill.training.evaluate import Model, importance
from tidemill.training.examples import examples_of
from tidemill.training.families import family
from tidemill.training.loop import Kind, State, train

__all__ = ["Interrupted", "fit_bundle"]

Array = NDArray[Any]


@dataclass
class Stages:
    """Passes reports on, and keeps the seconds each stage took."""

    report: Report
    seconds: dict[str, float] = field(default_factory=dict)
    name: str = ""
    since: float = 0.0

    def enter(self, name: str, message: str) -> None:
        """End the stage before, begin another."""
        self.close()
        self.name, self.since = name, time.monotonic()
        self.report(Progress(name, message=message))

    def close(self) -> dict[str, float]:
        """End the last stage; the seconds of all."""
        if self.name:
            self.seconds[self.name] = round(time.monotonic() - self.since, 3)
        return self.seconds


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
    family(spec.train.family)  # an unknown one is refused before any work
    config.use_compilation_cache(None)
    stages.enter("features", "reading the dataset and fitting the features")
    data = dataset.load(dataset_dir, spec)
    settings = config.resolve(spec, data.schema, rows=len(data.train.y_n), features=data.program.width)
    stages.enter("training", f"{len(data.train.y_n):,} rows, {settings.features} features, {settings.members} members")
    keeper = _keeper(checkpoint_dir, settings, data, on_checkpoint)
    model, state = _train(settings, data, keeper, progress, stop)
    stages.enter("evaluating", f"scoring {len(data.test.y_n):,} test rows")
    train_scores = model.answers(data.train.x_nf)
    report = _judge(model, settings, data, train_scores, state)
    columns = importance(model, data.test.x_nf, data.test.y_n, data.program, settings.seed)
    stages.enter("exporting", "writing model.onnx and explain.onnx")
    explainer = explain.explainer(model, explain.background(data.train.x_nf, train_scores, settings.seed))
    bundle.save_graphs(out_dir, model, explainer)
    stages.enter("proving", "comparing the exported files with the trained model")
    real = np.concatenate([data.test.x_nf, data.validation.x_nf, data.train.x_nf])
    proof = parity.prove(out_dir, model, explainer, data.program, real)
    stages.enter("writing", "writing the card and the manifest")
    bundle.save_facts(out_dir, data, report, proof)
    bundle.save_rows(out_dir, data, train_scores)
    shown = examples_of(model, explainer, data)
    bundle.save_card(out_dir, data, spec, report, columns, shown, _told(run, stages))
    bundle.close(out_dir, data, spec, run or {})
    return report


def _keeper(
    folder: Path | None, settings: Config, data: Dataset, on_checkpoint: Callable[[Path], None] | None
) -> Keeper | None:
    if folder is None:
        return None
    identity = settings.fingerprint(data.schema.get("dataset"), data.program.to_json(), VERSION)
    told = on_checkpoint or (lambda _: None)
    return Keeper(folder, identity, settings.checkpoint_every_s, settings.checkpoints_kept, told)


def _train(
    settings: Config, data: Dataset, keeper: Keeper | None, report: Report, stop: Callable[[], bool]
) -> tuple[Model, State]:
    net = family(settings.family).net(settings.features, settings.outputs)
    kind = Kind(net, settings.task, settings.log1p)
    scale = losses.scale_of(data.train.y_n, log1p=settings.log1p)
    rows, plan = batches.for_training(data.train.x_nf, data.train.y_n, settings)
    held = batches.for_looking(data.validation.x_nf, data.validation.y_n)
    state = train(kind, settings, scale, rows, plan, held, keeper=keeper, report=report, stop=stop)
    unit = float(data.train.y_n.std()) or 1.0
    return Model(kind, jax.device_put(state.best), scale, unit if settings.task == "regression" else 1.0), state


def _judge(model: Model, settings: Config, data: Dataset, train_scores: Array, state: State) -> dict[str, Any]:
    """metrics.json: the test split is scored once, here."""
    task, labels = settings.task, data.schema["labels"]
    seen = float(row_losses(task, data.train.y_n, train_scores).mean())
    return evaluate(
        task,
        labels,
        data.test.y_n,
        model.answers(data.test.x_nf),
        baseline=baseline_of(task, data.train.y_n, len(labels)),
        seed=settings.seed,
        train_value=seen**0.5 if task == "regression" else seen,
        history=state.history,
    )


def _told(run: Mapping[str, Any] | None, stages: Stages) -> dict[str, Any]:
    """What the card says of the run. The dates stand there and in no file that a model is made of."""
    seconds = dict(stages.close())
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {**dict(run or {}), "created": created, "stages": seconds, "seconds": round(sum(seconds.values()), 3)}
