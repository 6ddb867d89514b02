"""The recipe in words: what every setting of tidemill.toml means, its value here, its default."""

from __future__ import annotations

from typing import Any

from tidemill.core.spec import Spec

MEANING = {
    "data.target": "column to predict (empty: found by name or position)",
    "data.task": "kind of prediction (auto: read from the target)",
    "data.id": "columns that name a row, kept out of the model",
    "data.drop": "columns left out on request",
    "data.groups": "columns whose groups the scores are shown for",
    "data.size": "side in pixels of pictures as the model sees them (0: decided from the data)",
    "data.text": "column of texts to learn from (empty: the only one there is, if it reads as texts)",
    "preprocess.missing": "missing cells: filled in and flagged, or the row set aside",
    "preprocess.skew": "long-tailed positive columns: logarithm, or as they are",
    "preprocess.duplicates": "equal rows: kept (always in one split), or only the first",
    "preprocess.leaks": "columns that tell the target: warned about, or dropped",
    "preprocess.shuffle": "row order: by hash of the row, or as uploaded",
    "preprocess.max_bad_fraction": "share of unreadable rows above which the file is refused",
    "privacy.pii": "columns with personal data: learned from (never kept of requests), left out, or the file refused",
    "split.validation": "share of rows that decides when training stops",
    "split.test": "share of rows kept untouched for the scores",
    "split.seed": "which division of the same rows it is",
    "train.family": "kind of model (auto: those that suit the data are tried, validation chooses)",
    "train.backbone": "frozen network whose features are learned from (empty: none)",
    "train.optimizer": "rule that turns slopes into steps",
    "train.schedule": "how the step size falls from beginning to end",
    "train.warmup": "share of the steps in which the step size rises from nothing",
    "train.loss": "what a wrong answer costs in training (auto: softmax for classes, mse for numbers)",
    "train.class_weights": "rows of rare classes weigh more in training, or all the same",
    "train.epochs": "most passes over the training rows",
    "train.patience": "passes without a better validation loss before training stops",
    "train.batch_size": "rows per step (0: chosen by the number of rows)",
    "train.learning_rate": "step size of the optimizer",
    "train.weight_decay": "pull of the weights towards zero (L2; with adamw apart from the slopes)",
    "train.l1": "pull of the weights towards zero that makes many exactly zero (L1)",
    "train.dropout": "share of units silenced in each training step",
    "train.width": "units of a hidden layer",
    "train.momentum": "share of the last step that the momentum optimizer goes on with",
    "train.members": "networks in one, averaged (tabm: they share most weights; else: other seeds)",
    "train.seed": "start of every random choice",
    "augment.affine": "how far training pictures are shifted, turned, zoomed and sheared (0: not at all)",
    "augment.flip": "chance of a training picture to be mirrored left to right",
    "augment.mixup": "how far training pictures are mixed with each other (0: not at all)",
    "search.configurations": "settings tried at first (0: by the number of rows; 1: the defaults alone)",
    "search.folds": "parts of the rows, each left out once (0: by the number of rows; 1: the validation split)",
    "search.blend": "several models averaged where validation prefers it",
    "decision.false_positive": "cost of acting where nothing was there",
    "decision.false_negative": "cost of not acting where something was",
    "decision.positive": "label that is acted on (empty: the rarer one)",
    "promote.auto": "the version may go into service by itself when the gate agrees",
    "job.nodes": "machines that train together",
    "budget.max_usd": "most that the training job may cost, in dollars",
    "canary.share": "share of requests a new version answers as challenger first (0: it becomes champion at once)",
    "canary.minutes": "minutes a new version is watched, as challenger and as champion (0: not at all)",
    "canary.max_error_rate": "share of requests failed by it and not by the version before that takes it back",
    "canary.max_latency_ratio": "times as long as the version before that takes it back",
    "canary.min_requests": "requests before either is decided",
    "monitor.enabled": "a record of every request is kept, so that drift is noticed",
    "monitor.sample": "share of the requests whose rows and scores are kept",
    "monitor.rows": "rows that are kept of a request",
    "monitor.private": "columns whose values are never kept of requests",
    "schedule.retrain": "when the model is trained again (empty: by no clock)",
    "schedule.monitor": "when requests are compared with the training data (empty: by no clock)",
    "schedule.on_drift": "drift starts a new training",
    "schedule.min_new_labels": "rows labelled by feedback that start a new training (0: they start none)",
    "schedule.paused": "nothing starts by itself",
}


def settings(spec: Spec) -> list[dict[str, Any]]:
    """Every setting in the order of the specification, those changed from the default marked."""
    chosen, default = spec.to_json(), Spec().to_json()
    return [
        {
            "key": f"{section}.{key}",
            "value": told(section, value),
            "default": told(section, default[section][key]),
            "changed": value != default[section][key],
            "meaning": MEANING.get(f"{section}.{key}", ""),
        }
        for section, values in chosen.items()
        for key, value in values.items()
    ]


def told(section: str, value: Any) -> Any:
    """A value as the card shows it: what is left out is searched in training, and not given anywhere else."""
    if value is not None:
        return value
    return "searched" if section in ("train", "augment") else "not given"
