"""Checkpoints: a folder of arrays (safetensors) and counters (JSON), whole or not there, newest one wins.

A folder is written under another name, flushed to the disk and renamed; its manifest comes last. A run that goes on
from one gives, on the same kind of device, bit for bit what a run without interruption gives.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file

from tidemill.core import manifest
from tidemill.core.errors import BadBundle, TidemillError

if TYPE_CHECKING:
    from tidemill.training.loop import State

ARRAYS, COUNTERS = "state.safetensors", "state.json"
TREES = ("weights", "moments", "best")
COUNTED = ("epoch", "chunk", "loss_sum", "best_epoch", "best_loss", "history")
Tree = TypeVar("Tree")


class Interrupted(TidemillError):
    """Training was told to stop; what it had is saved, and the same call goes on from there."""

    code, status, title = "INTERRUPTED", 503, "Training was interrupted"

    def __init__(self, folder: Path | None, epoch: int) -> None:
        saved = f"saved as {folder.name}" if folder else "nothing was saved"
        super().__init__(f"Training stopped in epoch {epoch + 1}; {saved}.", remedy="Start the run again to go on.")
        self.folder = folder


@dataclass
class Keeper:
    """Saves a run's state now and then, and finds it again."""

    folder: Path
    identity: str  # what decides the weights: a checkpoint of another configuration or dataset is not gone on from
    every_s: float
    kept: int = 2
    on_save: Callable[[Path], None] = lambda _: None
    last: float = field(default_factory=time.monotonic)

    def save_if_due(self, state: State) -> None:
        """Save where the last save is long enough ago."""
        if time.monotonic() - self.last >= self.every_s:
            self.save(state)

    def save(self, state: State) -> Path:
        """Save, tell whoever listens, and remove what is older than the newest `kept`."""
        folder = save(self.folder, state, self.identity)
        self.last = time.monotonic()
        self.on_save(folder)
        for old in complete(self.folder)[self.kept :]:
            shutil.rmtree(old)
        return folder

    def resume(self, fresh: State) -> State:
        """The newest complete checkpoint of this very run, or the fresh state where there is none."""
        for folder in complete(self.folder):
            counters = json.loads((folder / COUNTERS).read_text())
            if counters["identity"] == self.identity:
                return load(folder, fresh)
        return fresh


def save(folder: Path, state: State, identity: str) -> Path:
    """Write one checkpoint below a folder, named by epoch and chunk so that names sort by age."""
    name = f"{state.epoch:06d}-{state.chunk:06d}"
    new, final = folder / f".{name}.{os.getpid()}", folder / name
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    save_file({key: leaf for tree in TREES for key, leaf in _named(getattr(state, tree), tree)}, new / ARRAYS)
    counters = {key: getattr(state, key) for key in COUNTED}
    versions = {package: version(package) for package in ("jax", "flax", "optax", "safetensors")}
    (new / COUNTERS).write_text(json.dumps({"identity": identity, "versions": versions, **counters}))
    manifest.write(new, "checkpoint", identity=identity, epoch=state.epoch, chunk=state.chunk)
    for path in (*new.iterdir(), new):
        _flush(path)
    shutil.rmtree(final, ignore_errors=True)
    new.rename(final)
    _flush(folder)
    return final


def load(folder: Path, like: State) -> State:
    """Read a checkpoint into the shape of a fresh state; raises BadBundle where they do not fit."""
    arrays, counters = load_file(folder / ARRAYS), json.loads((folder / COUNTERS).read_text())
    trees = {tree: _restored(getattr(like, tree), tree, arrays, folder) for tree in TREES}
    return type(like)(**trees, **{key: counters[key] for key in COUNTED})


def complete(folder: Path) -> list[Path]:
    """The checkpoints below a folder that match their manifest, newest first."""
    found = sorted((path for path in folder.glob("[0-9]*") if path.is_dir()), reverse=True)
    return [path for path in found if _matches(path)]


def _matches(folder: Path) -> bool:
    try:
        manifest.check(folder)
    except BadBundle:
        return False
    return True


def _named(tree: Any, prefix: str) -> list[tuple[str, Any]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return [(f"{prefix}/{_path(path)}", np.asarray(leaf)) for path, leaf in leaves]


def _restored(like: Tree, prefix: str, arrays: dict[str, Any], folder: Path) -> Tree:
    def leaf(path: Any, old: Any) -> Any:
        new = arrays.get(f"{prefix}/{_path(path)}")
        if new is None or new.shape != old.shape or new.dtype != old.dtype:
            raise BadBundle(f"{folder.name} holds no {prefix}/{_path(path)} of shape {old.shape}.", remedy="Delete it.")
        return jnp.asarray(new)

    restored: Tree = jax.tree_util.tree_map_with_path(leaf, like)
    return restored


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _flush(path: Path) -> None:
    """Wait until a file or a folder's entries are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
