"""The recipe in words: what every setting of tidemill.toml means, its value here, its default."""

from __future__ import annotations

from typing import Any

from tidemill.core.spec import Spec

MEANING = {
    "data.target": "column to predict (empty: found by name or position)",
    "data.task": "kind of prediction (auto: read from the target)",
    "data.id": "columns that name a row, kept out of the model",
    "data.drop": "columns left out on request",
    "preprocess.missing": "missing cells: filled in and flagged, or the row set aside",
    "preprocess.skew": "long-tailed positive columns: logarithm, or as they are",
    "preprocess.duplicates": "equal rows: kept (always in one split), or only the first",
    "preprocess.leaks": "columns that tell the target: warned about, or dropped",
    "preprocess.shuffle": "row order: by hash of the row, or as uploaded",
    "preprocess.max_bad_fraction": "share of unreadable rows above which the file is refused",
    "split.validation": "share of rows that decides when training stops",
    "split.test": "share of rows kept untouched for the scores",
    "train.family": "kind of model",
    "train.epochs": "most passes over the training rows",
    "train.patience": "passes without a better validation loss before training stops",
    "train.batch_size": "rows per step (0: chosen by the number of rows)",
    "train.learning_rate": "step size of the optimizer",
    "train.weight_decay": "pull of the weights towards zero",
    "train.dropout": "share of units silenced in each training step",
    "train.members": "networks trained from different seeds and averaged",
    "train.seed": "start of every random choice",
    "promote.auto": "the version may go into service by itself when the gate agrees",
}


def settings(spec: Spec) -> list[dict[str, Any]]:
    """Every setting in the order of the specification, those changed from the default marked."""
    chosen, default = spec.to_json(), Spec().to_json()
    return [
        {
            "key": f"{section}.{key}",
            "value": value,
            "default": default[section][key],
            "changed": value != default[section][key],
            "meaning": MEANING.get(f"{section}.{key}", ""),
        }
        for section, values in chosen.items()
        for key, value in values.items()
    ]
