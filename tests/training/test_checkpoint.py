"""A run interrupted and resumed ends with the very bits of one that was not; damaged checkpoints are passed by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest

from tidemill.core.errors import BadBundle
from tidemill.training import checkpoint, loop
from tidemill.training.checkpoint import Interrupted, Keeper


def keeper(folder: Path, every_s: float = 1e9, identity: str = "run", **more: Any) -> Keeper:
    return Keeper(folder, identity, every_s, **more)


CHUNK = 32 * 5 * 2 * 3  # three of an epoch's five steps: two chunks


class StopAfter:
    """stop() that says yes after being asked a number of times."""

    def __init__(self, asked: int) -> None:
        self.left = asked

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def equal(left: Any, right: Any) -> bool:
    return all(
        jax.tree.leaves(jax.tree.map(lambda a, b: np.asarray(a).tobytes() == np.asarray(b).tobytes(), left, right))
    )


@pytest.mark.parametrize("task", ["binary", "regression"])
@pytest.mark.parametrize("asked", [0, 1, 3, 4, 11])
def test_straight_equals_interrupted_and_resumed_leaf_by_leaf(
    make_problem: Any, tmp_path: Path, task: str, asked: int
) -> None:
    case = make_problem(task).changed(chunk_values=CHUNK, dropout=0.3)
    straight = case.train()
    with pytest.raises(Interrupted) as caught:
        case.train(keeper=keeper(tmp_path), stop=StopAfter(asked))
    assert caught.value.folder is not None
    resumed = case.train(keeper=keeper(tmp_path))
    for tree in checkpoint.TREES:
        assert equal(getattr(straight, tree), getattr(resumed, tree)), tree
    assert straight.history == resumed.history
    assert (straight.best_epoch, straight.best_loss) == (resumed.best_epoch, resumed.best_loss)


def test_interrupting_at_every_chance_still_ends_the_same(make_problem: Any, tmp_path: Path) -> None:
    case = make_problem("multiclass")
    straight = case.train()
    for _ in range(case.config.epochs - 1):
        with pytest.raises(Interrupted):
            case.train(keeper=keeper(tmp_path), stop=StopAfter(1))
    resumed = case.train(keeper=keeper(tmp_path), stop=StopAfter(1))
    assert equal(straight.best, resumed.best)


def test_the_newest_two_are_kept_and_each_is_announced(make_problem: Any, tmp_path: Path) -> None:
    told: list[str] = []
    make_problem("binary").train(keeper=keeper(tmp_path, every_s=0.0, on_save=lambda path: told.append(path.name)))
    assert told == [f"{epoch:06d}-000000" for epoch in range(1, 7)]
    assert sorted(path.name for path in tmp_path.iterdir()) == told[-2:]


def test_fast_epochs_are_not_all_saved(make_problem: Any, tmp_path: Path) -> None:
    make_problem("binary").train(keeper=keeper(tmp_path, every_s=60.0))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("damage", ["truncated", "unfinished", "without manifest"])
def test_a_damaged_checkpoint_is_passed_by_for_the_one_before(make_problem: Any, tmp_path: Path, damage: str) -> None:
    case = make_problem("binary")
    state = case.train(keeper=keeper(tmp_path, every_s=0.0))
    newest = max(tmp_path.iterdir())
    if damage == "truncated":
        arrays = newest / checkpoint.ARRAYS
        arrays.write_bytes(arrays.read_bytes()[:-1])
    elif damage == "unfinished":
        newest.rename(tmp_path / f".{newest.name}.1")
    else:
        (newest / "MANIFEST.json").unlink()
    found = keeper(tmp_path).resume(loop.start(case.kind, case.config))
    assert found.epoch == state.epoch - 1


def test_a_checkpoint_of_another_run_is_not_gone_on_from(make_problem: Any, tmp_path: Path) -> None:
    case = make_problem("binary")
    case.train(keeper=keeper(tmp_path, every_s=0.0, identity="another"))
    fresh = loop.start(case.kind, case.config)
    assert keeper(tmp_path, identity="run").resume(fresh) is fresh


def test_arrays_of_another_shape_are_refused_by_name(make_problem: Any, tmp_path: Path) -> None:
    small, wide = make_problem("binary"), make_problem("binary", features=6)
    folder = checkpoint.save(tmp_path, loop.start(small.kind, small.config), "run")
    with pytest.raises(BadBundle, match="hidden/0/kernel"):
        checkpoint.load(folder, loop.start(wide.kind, wide.config))


def test_a_checkpoint_names_what_made_it_and_holds_no_pickle(make_problem: Any, tmp_path: Path) -> None:
    case = make_problem("binary")
    folder = checkpoint.save(tmp_path, loop.start(case.kind, case.config), "run")
    counters = json.loads((folder / checkpoint.COUNTERS).read_text())
    assert counters["identity"] == "run"
    assert {"jax", "flax", "optax"} <= counters["versions"].keys()
    assert sorted(path.name for path in folder.iterdir()) == ["MANIFEST.json", "state.json", "state.safetensors"]


def test_the_identity_follows_what_decides_the_weights_and_nothing_else(make_problem: Any) -> None:
    config = make_problem("binary").config
    assert config.fingerprint("d-1") == make_problem("binary").changed(checkpoint_every_s=1.0).config.fingerprint("d-1")
    assert config.fingerprint("d-1") != config.fingerprint("d-2")
    assert config.fingerprint("d-1") != make_problem("binary").changed(dropout=0.2).config.fingerprint("d-1")
