"""Checkpoints: a folder of arrays (safetensors) and facts (JSON), whole or not there, newest one wins.

A folder is written under another name, flushed to the disk and renamed; its manifest comes last. A run that goes on
from one gives, on the same kind of device, bit for bit what a run without interruption gives.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
import jax.numpy as jnp
import numpy as np
from safetensors.numpy import load_file, save_file

from tidemill.core import manifest
from tidemill.core.errors import BadBundle, TidemillError

ARRAYS, FACTS = "state.safetensors", "state.json"
Tree = TypeVar("Tree")


class Interrupted(TidemillError):
    """Training was told to stop; what it had is saved, and the same call goes on from there."""

    code, status, title = "INTERRUPTED", 503, "Training was interrupted"

    def __init__(self, folder: Path | None, doing: str, saved: str = "nothing was saved") -> None:
        saved = f"saved as {folder.name}" if folder else saved
        super().__init__(f"Training stopped in {doing}; {saved}.", remedy="Start the run again to go on.")
        self.folder = folder


class Saved(NamedTuple):
    """What a checkpoint holds."""

    arrays: Mapping[str, Any]  # by name, as `named` made them
    facts: Mapping[str, Any]


@dataclass
class Keeper:
    """Saves a run's state now and then, and finds it again."""

    folder: Path
    identity: str  # what decides the weights: a checkpoint of another configuration or dataset is not gone on from
    every_s: float
    kept: int = 2
    on_save: Callable[[Path], None] = lambda _: None
    last: float = field(default_factory=time.monotonic)

    def due(self) -> bool:
        """Whether the last save is long enough ago."""
        return time.monotonic() - self.last >= self.every_s

    def save(self, number: int, saved: Saved) -> Path:
        """Save, tell whoever listens, and remove this run's but for the newest `kept`; numbers must rise."""
        folder = save(self.folder, number, saved, self.identity)
        self.last = time.monotonic()
        self.on_save(folder)
        for old in self._own()[self.kept :]:
            shutil.rmtree(old)
        return folder

    def newest(self) -> Saved | None:
        """The newest complete checkpoint of this very run, if there is one."""
        for folder in self._own():
            return Saved(load_file(folder / ARRAYS), json.loads((folder / FACTS).read_text())["facts"])
        return None

    def _own(self) -> list[Path]:
        """The complete checkpoints of this very run, newest first."""
        return [path for path in complete(self.folder) if manifest.read(path).get("identity") == self.identity]


def save(folder: Path, number: int, saved: Saved, identity: str) -> Path:
    """Write one checkpoint below a folder, named by a number so that names sort by age."""
    name = f"{number:09d}"
    new, final = folder / f".{name}.{os.getpid()}", folder / name
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    save_file({key: np.array(array, order="C") for key, array in saved.arrays.items()}, new / ARRAYS)
    versions = {package: version(package) for package in ("jax", "flax", "optax", "safetensors")}
    (new / FACTS).write_text(json.dumps({"identity": identity, "versions": versions, "facts": saved.facts}))
    manifest.write(new, "checkpoint", identity=identity, number=number)
    for path in (*new.iterdir(), new):
        _flush(path)
    shutil.rmtree(final, ignore_errors=True)
    new.rename(final)
    _flush(folder)
    return final


def complete(folder: Path) -> list[Path]:
    """The checkpoints below a folder that match their manifest, newest first."""
    found = sorted((path for path in folder.glob("[0-9]*") if path.is_dir()), reverse=True)
    return [path for path in found if _matches(path)]


def named(tree: Any, prefix: str) -> dict[str, Any]:
    """The leaves of a tree by their path."""
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {f"{prefix}/{_path(path)}": np.asarray(leaf) for path, leaf in leaves}


def restored(like: Tree, prefix: str, arrays: Mapping[str, Any]) -> Tree:
    """A tree from its named leaves, in the shape of another; raises BadBundle where they do not fit."""

    def leaf(path: Any, old: Any) -> Any:
        new = arrays.get(f"{prefix}/{_path(path)}")
        if new is None or new.shape != old.shape or new.dtype != old.dtype:
            raise BadBundle(
                f"The checkpoint holds no {prefix}/{_path(path)} of shape {old.shape}.", remedy="Delete it."
            )
        return jnp.asarray(new)

    made: Tree = jax.tree_util.tree_map_with_path(leaf, like)
    return made


def _matches(folder: Path) -> bool:
    try:
        manifest.check(folder)
    except BadBundle:
        return False
    return True


def _path(path: Any) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _flush(path: Path) -> None:
    """Wait until a file or a folder's entries are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
