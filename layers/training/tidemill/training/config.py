"""Every knob of a training run, resolved from [train] and the size of the data; the one place to look for a number."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.core.spec import Spec

# Rows below which a batch size is used: many small steps on little data, few large ones on much.
BATCH_SIZES = ((1_500, 32), (6_000, 64), (30_000, 128), (200_000, 256), (1_000_000, 512))
LARGEST_BATCH = 1024


@dataclass(frozen=True)
class Config:
    """What the loop runs on. Rates are traced, so that changing one compiles nothing; sizes and counts are static."""

    task: str
    family: str
    features: int
    outputs: int  # classes, or 1
    log1p: bool  # the target is learned on a logarithmic scale
    batch_size: int
    epochs: int
    patience: int
    learning_rate: float
    weight_decay: float
    dropout: float
    members: int
    seed: int
    clip_norm: float = 1.0  # gradients longer than this are shortened, so that one odd batch cannot ruin a member
    chunk_values: int = 1 << 27  # rows * features * members between two looks at stop(): a few seconds on two cores
    checkpoint_every_s: float = 30.0  # what an interruption may cost; saving takes milliseconds
    checkpoints_kept: int = 2

    def fingerprint(self, *parts: Any) -> str:
        """16 hex digits of everything that decides the weights: this configuration and the parts given."""
        told = {**dataclasses.asdict(self), "parts": parts}
        for key in ("chunk_values", "checkpoint_every_s", "checkpoints_kept"):
            del told[key]
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def resolve(spec: Spec, schema: dict[str, Any], *, rows: int, features: int) -> Config:
    """The configuration for a dataset: what the user set, and defaults by size where the user left the choice."""
    train, task = spec.train, str(schema["task"])
    return Config(
        task=task,
        family=train.family,
        features=features,
        outputs=1 if task == "regression" else len(schema["labels"]),
        log1p=task == "regression" and bool(schema.get("target_log1p", False)),
        batch_size=train.batch_size or batch_size_for(rows),
        epochs=train.epochs,
        patience=train.patience,
        learning_rate=train.learning_rate,
        weight_decay=train.weight_decay,
        dropout=train.dropout,
        members=train.members,
        seed=train.seed,
    )


def batch_size_for(rows: int) -> int:
    """The batch size a number of training rows asks for."""
    return next((size for limit, size in BATCH_SIZES if rows < limit), LARGEST_BATCH)


def use_compilation_cache(folder: Path | None) -> None:
    """Keep compiled programs across processes: in JAX_COMPILATION_CACHE_DIR where set, else in the folder given."""
    import jax

    where = os.environ.get("JAX_COMPILATION_CACHE_DIR") or folder
    if where:
        config: Any = jax.config
        config.update("jax_compilation_cache_dir", str(where))
        config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        config.update("jax_persistent_cache_min_entry_size_bytes", -1)
