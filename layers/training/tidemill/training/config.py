"""What a run trains on and for how long, resolved from tidemill.toml and the size of the data.

The place for numbers.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tidemill.core.errors import BadSpec
from tidemill.core.spec import Spec
from tidemill.training.families import family
from tidemill.training.losses import resolve_loss
from tidemill.training.optimizers import FULL_BATCH

# Rows below which a batch size is used: many small steps on little data, few large ones on much.
BATCH_SIZES = ((1_500, 32), (6_000, 64), (30_000, 128), (200_000, 256), (1_000_000, 512))
LARGEST_BATCH = 1024
FOLDS = 4
FOLDED_ROWS = 20_000  # below, rows are too few to give some of them to validation alone
AUTO = {"table": ("linear", "mlp", "tabm"), "picture": ("cnn2",), "text": ("linear", "fasttext")}
FOLDED = frozenset({"table", "text"})  # what is cut into folds: a net for pictures costs too much to be trained often
SOLVED = frozenset({"backbone"})  # families that cost so little that folds are cut for them alone, whatever the data
# Configurations at first (what a family's epoch costs decides), of them those that are trained to the end, and those
# where each is trained once for every fold.
TRIED = {
    **{"linear": 8, "mlp": 16, "tabm": 6, "backbone": 7},
    **{"cnn": 4, "cnn2": 4, "cnn_lstm": 2, "resnet": 2, "fasttext": 4, "lstm": 2, "transformer": 2},
}
KEPT = {
    **{"linear": 2, "mlp": 4, "tabm": 2, "backbone": 1},
    **{"cnn": 1, "cnn2": 1, "cnn_lstm": 1, "resnet": 1, "fasttext": 2, "lstm": 1, "transformer": 1},
}
KEPT_FOLDED = {**KEPT, "mlp": 2, "fasttext": 1}
RUNG_EPOCHS = 8  # after which the rest is given up
SEARCHED_ROWS = 200_000  # rows * epochs of the first rung: large data tells configurations apart in fewer epochs
CLIP_NORM = 1.0  # gradients longer than this are shortened, so that one odd batch cannot ruin a member
SEARCHED = ("learning_rate", "weight_decay", "l1", "dropout", "width")  # settings that the user may fix
BENT = ("affine", "flip", "mixup")  # those of pictures
CHECKPOINT_EVERY_S = 30.0  # what an interruption may cost; saving takes milliseconds
CHECKPOINTS_KEPT = 2


@dataclass(frozen=True)
class Config:
    """What every family of a run shares."""

    modality: str  # table, picture or text
    task: str
    families: tuple[str, ...]
    features: Any  # a table's width; a picture's height, width and channels; a text's n-grams and tokens known
    outputs: int  # classes, or 1
    log1p: bool  # the target is learned on a logarithmic scale
    loss: str
    optimizer: str
    schedule: str
    warmup: float
    class_weights: str
    momentum: float
    batch_size: int  # 0: all rows at once
    epochs: int
    patience: int
    folds: int  # 1: the validation split
    configurations: int  # 0: as many as a family is worth
    rung_epochs: int
    blend: bool
    members: int | None
    fixed: tuple[tuple[str, float], ...]  # settings that are not searched
    seed: int

    def fingerprint(self, *parts: Any) -> str:
        """16 hex digits of everything that decides the weights: this configuration and the parts given."""
        told = {**dataclasses.asdict(self), "parts": parts}
        return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:16]


def resolve(spec: Spec, schema: dict[str, Any], *, rows: int, features: Any) -> Config:
    """The configuration for a dataset: what the user set, and defaults by size where the user left the choice.

    `rows` counts training and validation rows. Raises BadSpec for a family that does not fit the kind of data, a
    backbone that nothing would read, and a loss that does not fit the task.
    """
    train, search, task = spec.train, spec.search, str(schema["task"])
    modality = str(schema.get("modality", "table"))
    families = families_of(spec, modality)
    few = rows < FOLDED_ROWS and (modality in FOLDED or SOLVED.issuperset(families))
    given = [(name, getattr(train, name)) for name in SEARCHED] + [(name, getattr(spec.augment, name)) for name in BENT]
    return Config(
        modality=modality,
        task=task,
        families=families,
        features=features,
        outputs=1 if task == "regression" else len(schema["labels"]),
        log1p=task == "regression" and bool(schema.get("target_log1p", False)),
        loss=resolve_loss(train.loss, task),
        optimizer=train.optimizer,
        schedule=train.schedule,
        warmup=train.warmup,
        class_weights=train.class_weights,
        momentum=train.momentum,
        batch_size=0 if train.optimizer in FULL_BATCH else train.batch_size or batch_size_for(rows),
        epochs=train.epochs,
        patience=train.patience,
        folds=search.folds or (FOLDS if few else 1),
        configurations=search.configurations,
        rung_epochs=max(2, min(RUNG_EPOCHS, SEARCHED_ROWS // max(1, rows))),
        blend=search.blend,
        members=train.members,
        fixed=tuple((name, value) for name, value in given if value is not None),
        seed=train.seed,
    )


def families_of(spec: Spec, modality: str) -> tuple[str, ...]:
    """The families to try; raises BadSpec where what is asked for does not fit."""
    name, backbone = spec.train.family, spec.train.backbone
    if backbone and modality == "table":
        raise BadSpec(f"[train] backbone is {backbone!r}, and the data are a table.", remedy="Leave it out.")
    if name == "auto":
        return (*AUTO[modality], "backbone") if backbone else AUTO[modality]
    family(name, modality)  # raises BadSpec naming those that fit
    if (name == "backbone") != bool(backbone):
        raise BadSpec(
            f"[train] family is {name!r}, and backbone is {backbone!r}.",
            remedy="Family 'backbone' needs the name of one (`tidemill backbone list`); besides, only 'auto' reads it.",
        )
    return (name,)


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
