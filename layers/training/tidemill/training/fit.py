"""From a dataset folder to a bundle folder: features, training, scores, export, proof, card, and the manifest last."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tidemill.core import decision
from tidemill.core import outputs as core_outputs
from tidemill.core.errors import NotFound
from tidemill.core.evaluation import evaluate
from tidemill.core.groups import group_report
from tidemill.core.metrics import baseline_of, row_losses
from tidemill.core.outputs import Outputs
from tidemill.core.prepare import load_groups, read_schema
from tidemill.core.progress import Progress, Report, silent
from tidemill.core.spec import Spec
from tidemill.core.version import VERSION
from tidemill.training import (
    attribution,
    bundle,
    config,
    dataset,
    devices,
    explain,
    honest,
    inputs,
    parity,
)
from tidemill.training.checkpoint import Interrupted, Keeper
from tidemill.training.config import Config
from tidemill.training.dataset import Dataset
from tidemill.training.dependence import dependence
from tidemill.training.evaluate import Model, importance
from tidemill.training.examples import examples_of
from tidemill.training.explain import Explaining
from tidemill.training.families import family
from tidemill.training.search import Pool, Search

__all__ = ["Interrupted", "fit_bundle"]

Array = NDArray[Any]
MIXER = 0x9E3779B97F4A7C15  # 2^64 over the golden ratio, odd: another order of the same hashes


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
    backbone_dir: Path | None = None,
    checkpoint_dir: Path | None = None,
    progress: Report = silent,
    on_checkpoint: Callable[[Path], None] | None = None,
    stop: Callable[[], bool] = lambda: False,
    run: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Train on a dataset folder and write the whole bundle; returns metrics.json.

    Raises Interrupted when stop() became true and the state was saved: the same call goes on from there; BadBackbone
    where `backbone_dir` does not hold what [train] backbone needs.
    `run` names what the bundle belongs to: model, run, dataset, fingerprint.
    """
    stages = Stages(progress)
    devices.use_cores()
    config.use_compilation_cache(None)
    stages.enter("features", "reading the dataset and fitting the features")
    backbone, read = _backbone(dataset_dir, spec, backbone_dir)
    data = dataset.load(dataset_dir, spec, read)
    decision.check(spec.decision, data.schema)
    pool, settings = _prepared(data, spec)
    stages.enter("training", f"{len(data.train.y_n):,} rows, {settings.features} features")
    digest = backbone.digest if backbone else ""
    keeper = _keeper(checkpoint_dir, settings, data, on_checkpoint, digest)
    found = Search(settings, pool, keeper, progress, stop, backbone).run()
    model, outputs = honest.complete(found, pool, data, spec)
    stages.enter("evaluating", f"scoring {len(data.test.y_n):,} test rows")
    train_scores = model.answers(data.train.x_n)
    report = _judge(model, outputs, settings, data, train_scores, found.record)
    table = settings.modality == "table"
    columns = importance(model, data.test.x_n, data.test.y_n, data.program, settings.seed) if table else []
    stages.enter("exporting", "writing model.onnx and explain.onnx")
    explaining = _explaining(model, data, train_scores, settings)
    bundle.save_graphs(out_dir, model, explaining.run, data.train.x_n)
    stages.enter("proving", "comparing the exported files with the trained model")
    real = inputs.joined([data.test.x_n, data.validation.x_n, data.train.x_n])
    proof = parity.prove(out_dir, model, explaining, data.program, real)
    stages.enter("writing", "writing the card and the manifest")
    bundle.save_facts(out_dir, data, report, proof, outputs=outputs.to_json(), search=found.record)
    bundle.save_rows(out_dir, data, train_scores)
    shown = examples_of(model, explaining.run, data)
    groups = _by_group(model, outputs, data, settings.seed)
    effects = dependence(model, data, columns, settings.seed) if table else []
    more = {"search": found.record, "groups": groups, "outputs": outputs.to_json(), "dependence": effects}
    bundle.save_card(out_dir, data, spec, report, columns, shown, _told(run, stages), **more)
    bundle.close(out_dir, data, spec, run or {}, **({"backbone": digest} if digest else {}))
    return report


def _explaining(model: Model, data: Dataset, train_scores: Array, settings: Config) -> Explaining:
    """How answers are explained: columns beside a background of rows, pixels and tokens from a place without any."""
    if settings.modality != "table":
        return attribution.explaining(model, settings.modality)
    return explain.explaining(model, explain.background(data.train.x_n, train_scores, settings.seed))


def _backbone(dataset_dir: Path, spec: Spec, folder: Path | None) -> tuple[Any, Callable[[Any], Any]]:
    """What [train] backbone names, checked before anything else is done, and what it adds to the feature program."""
    modality = str(read_schema(dataset_dir).get("modality", "table"))
    if "backbone" not in config.families_of(spec, modality):
        return None, lambda program: program
    if folder is None:
        raise NotFound(
            f"The files of the backbone {spec.train.backbone!r} are not here.",
            code="UNKNOWN_BACKBONE",
            remedy="Say in which folder they are, or leave [train] backbone out.",
        )
    made: Any = family("backbone", modality)
    reading = getattr(made, "reading", lambda program, _: program)
    return made.load(folder), lambda program: reading(program, folder)


def _prepared(data: Dataset, spec: Spec) -> tuple[Pool, Config]:
    """Training and validation rows in one pool, and how they are divided."""
    x_n = inputs.joined([data.train.x_n, data.validation.x_n])
    y_n = np.concatenate([data.train.y_n, data.validation.y_n])
    settings = config.resolve(spec, data.schema, rows=len(y_n), features=data.program.shape)
    hashes_n = np.concatenate([data.train.hashes, data.validation.hashes])
    return Pool(x_n, y_n, folds_of(len(data.train.y_n), hashes_n, settings.folds)), settings


def folds_of(train: int, hashes_n: Array, folds: int) -> list[tuple[Array, Array]]:
    """Lists of (train, held) row numbers: the validation split, or parts by hash, so that equal rows stay together."""
    every = np.arange(len(hashes_n))
    if folds == 1:
        return [(every[:train], every[train:])]
    _, which_n = np.unique(hashes_n * np.uint64(MIXER), return_inverse=True)
    part_n = which_n % folds
    parts = [(every[part_n != part], every[part_n == part]) for part in range(folds)]
    return [(fitted, held) for fitted, held in parts if len(fitted) and len(held)]


def _keeper(
    folder: Path | None,
    settings: Config,
    data: Dataset,
    on_checkpoint: Callable[[Path], None] | None,
    backbone: str = "",
) -> Keeper | None:
    if folder is None:
        return None
    identity = settings.fingerprint(data.schema.get("dataset"), data.program.to_json(), VERSION, backbone)
    told = on_checkpoint or (lambda _: None)
    return Keeper(folder, identity, config.CHECKPOINT_EVERY_S, config.CHECKPOINTS_KEPT, told)


def _judge(
    model: Model, outputs: Outputs, settings: Config, data: Dataset, train_scores: Array, search: dict[str, Any]
) -> dict[str, Any]:
    """metrics.json: the test split is scored once, here."""
    task, labels = settings.task, data.schema["labels"]
    seen = float(row_losses(task, data.train.y_n, train_scores).mean())
    raw_nk = model.raw_answers(data.test.x_n)
    answer_nk = model.calibrated(raw_nk)
    report = evaluate(
        task,
        labels,
        data.test.y_n,
        answer_nk,
        baseline=baseline_of(task, data.train.y_n, len(labels)),
        seed=settings.seed,
        train_value=seen**0.5 if task == "regression" else seen,
        history=_history(search),
        train_rows=len(data.train.y_n),
    )
    spread_n = model.spread.of(answer_nk[:, 0]) if model.spread else None
    facts = core_outputs.report(outputs, task, labels, data.test.y_n, answer_nk, spread_n, raw_nk, settings.seed)
    return {**report, "outputs": facts}


def _by_group(model: Model, outputs: Outputs, data: Dataset, seed: int) -> list[dict[str, Any]]:
    """Test scores by the columns that [data] groups names, decided as the rule decides where there is one."""
    columns, rule = load_groups(data.folder, "test"), outputs.decision
    if not columns:
        return []
    answer_nk, threshold = model.answers(data.test.x_n), rule.threshold if rule else None
    task, labels, positive = data.schema["task"], data.schema["labels"], rule.positive if rule else ""
    return group_report(task, labels, data.test.y_n, answer_nk, columns, threshold, seed, positive=positive)


def _history(search: dict[str, Any]) -> list[dict[str, float]]:
    """The curve of the configuration that counts most."""
    best = max(search["trials"], key=lambda trial: trial["share"])
    return [entry for entry in best["curve"] if None not in entry.values()]


def _told(run: Mapping[str, Any] | None, stages: Stages) -> dict[str, Any]:
    """What the card says of the run. The dates stand there and in no file that a model is made of."""
    seconds = dict(stages.close())
    created = datetime.now(UTC).isoformat(timespec="seconds")
    return {**dict(run or {}), "created": created, "stages": seconds, "seconds": round(sum(seconds.values()), 3)}
