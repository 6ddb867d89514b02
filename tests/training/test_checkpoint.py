"""Checkpoints come back bit for bit; damaged and foreign ones are passed by."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tests.training.populations import members, problem, same

from tidemill.core.errors import BadBundle
from tidemill.training import checkpoint
from tidemill.training.checkpoint import Keeper, Saved, named, restored

TREE = {"hidden": {0: {"kernel": np.arange(6.0, dtype=np.float32).reshape(2, 3)}}, "count": np.int32(7)}


def keeper(folder: Path, identity: str = "run", every_s: float = 1e9, **more: Any) -> Keeper:
    return Keeper(folder, identity, every_s, **more)


def saved(number: int) -> Saved:
    return Saved({"a": np.full(5, number, np.float32)}, {"number": number})


def number_of(found: Saved | None) -> int:
    assert found is not None
    assert set(found.arrays["a"].tolist()) == {found.facts["number"]}
    return int(found.facts["number"])


def test_arrays_and_facts_come_back_to_the_last_bit(tmp_path: Path) -> None:
    odd = np.array([np.nan, np.inf, -np.inf, -0.0, 1e-45, np.pi], np.float32)
    arrays = {"odd": odd, "none": np.zeros((0, 3), np.float32), "count": np.array(3, np.int32)}
    facts = {"loss": 0.1 + 0.2, "lost": float("inf"), "curve": [[[0.5]], [[float("inf")]]], "name": "Zürich"}
    keeper(tmp_path).save(12, Saved(arrays, facts))
    found = keeper(tmp_path).newest()
    assert found is not None
    assert found.facts == facts
    assert set(found.arrays) == set(arrays)
    assert all(found.arrays[name].tobytes() == array.tobytes() for name, array in arrays.items())
    assert all(found.arrays[name].shape == array.shape for name, array in arrays.items())


def test_a_state_comes_back_to_the_last_bit(tmp_path: Path) -> None:
    case = members(problem("regression"))
    state = case.train(until=2)
    whole = {"weights": state.weights, "moments": state.moments, "best": state.best}
    keeper(tmp_path).save(1, Saved(named(whole, "mlp"), {}))
    found, fresh = keeper(tmp_path).newest(), case.start()
    assert found is not None
    like = {"weights": fresh.weights, "moments": fresh.moments, "best": fresh.best}
    assert not same(like, whole)
    assert same(restored(like, "mlp", found.arrays), whole)


def test_leaves_that_are_no_rows_in_memory_are_saved_as_they_look(tmp_path: Path) -> None:
    turned = np.arange(6.0, dtype=np.float32).reshape(2, 3).T
    keeper(tmp_path).save(1, Saved({"turned": turned, "some": np.arange(10)[::3]}, {}))
    found = keeper(tmp_path).newest()
    assert found is not None
    assert np.array_equal(found.arrays["turned"], turned)
    assert found.arrays["some"].tolist() == [0, 3, 6, 9]


def test_leaves_are_named_by_their_path() -> None:
    assert set(named(TREE, "mlp/best")) == {"mlp/best/count", "mlp/best/hidden/0/kernel"}


def test_a_tree_comes_back_from_its_names_and_its_arrays_are_its_own() -> None:
    arrays = named(TREE, "x")
    made = restored(jax.tree.map(jnp.zeros_like, TREE), "x", arrays)
    assert same(made, TREE)
    arrays["x/hidden/0/kernel"][:] = 9
    assert same(made["count"], TREE["count"])


@pytest.mark.parametrize(
    ("name", "array"),
    [
        ("x/hidden/0/kernel", np.zeros((2, 4), np.float32)),
        ("x/hidden/0/kernel", np.zeros((2, 3), np.float64)),
        ("x/count", None),
    ],
)
def test_arrays_that_do_not_fit_are_refused_by_name(name: str, array: Any) -> None:
    arrays = {key: value for key, value in {**named(TREE, "x"), name: array}.items() if value is not None}
    with pytest.raises(BadBundle, match=name):
        restored(TREE, "x", arrays)


def test_the_newest_two_are_kept_and_each_is_announced(tmp_path: Path) -> None:
    told: list[str] = []
    some = keeper(tmp_path, on_save=lambda path: told.append(path.name))
    for number in (3, 5, 11, 200):
        some.save(number, saved(number))
    assert told == ["000000003", "000000005", "000000011", "000000200"]
    assert sorted(path.name for path in tmp_path.iterdir()) == told[-2:]
    assert number_of(keeper(tmp_path).newest()) == 200


def test_a_save_of_the_same_number_replaces_the_one_before(tmp_path: Path) -> None:
    some = keeper(tmp_path)
    some.save(4, saved(3))
    some.save(4, saved(4))
    assert number_of(some.newest()) == 4
    assert len(list(tmp_path.iterdir())) == 1


def test_a_keeper_is_due_after_its_time_and_not_at_once(tmp_path: Path) -> None:
    assert keeper(tmp_path, every_s=0.0).due()
    waiting = keeper(tmp_path, every_s=60.0)
    assert not waiting.due()
    waiting.last -= 61
    assert waiting.due()
    waiting.save(1, saved(1))
    assert not waiting.due()


def damage(folder: Path, kind: str) -> None:
    arrays = folder / checkpoint.ARRAYS
    if kind == "truncated":
        arrays.write_bytes(arrays.read_bytes()[:-1])
    elif kind == "one bit":
        content = bytearray(arrays.read_bytes())
        content[-1] ^= 1
        arrays.write_bytes(content)
    elif kind == "unfinished":
        folder.rename(folder.parent / f".{folder.name}.1")
    elif kind == "half a manifest":
        (folder / "MANIFEST.json").write_text((folder / "MANIFEST.json").read_text()[:40])
    elif kind == "without facts":
        (folder / checkpoint.FACTS).unlink()
    else:
        (folder / "MANIFEST.json").unlink()


@pytest.mark.parametrize(
    "kind", ["truncated", "one bit", "unfinished", "without manifest", "half a manifest", "without facts"]
)
def test_a_damaged_checkpoint_is_passed_by_for_the_one_before(tmp_path: Path, kind: str) -> None:
    some = keeper(tmp_path)
    some.save(1, saved(1))
    damage(some.save(2, saved(2)), kind)
    assert number_of(keeper(tmp_path).newest()) == 1


def test_where_all_are_damaged_there_is_none(tmp_path: Path) -> None:
    damage(keeper(tmp_path).save(1, saved(1)), "truncated")
    assert keeper(tmp_path).newest() is None
    assert keeper(tmp_path / "nothing here").newest() is None


def test_a_checkpoint_of_another_run_is_not_gone_on_from(tmp_path: Path) -> None:
    keeper(tmp_path, "another").save(9, saved(9))
    assert keeper(tmp_path).newest() is None
    keeper(tmp_path).save(2, saved(2))
    assert number_of(keeper(tmp_path).newest()) == 2


def test_checkpoints_of_another_run_do_not_push_out_ones_own(tmp_path: Path) -> None:
    for number in (100, 200):
        keeper(tmp_path, "another").save(number, saved(number))
    some = keeper(tmp_path)
    for number in (1, 2, 3):
        some.save(number, saved(number))
        assert number_of(some.newest()) == number


def test_a_checkpoint_names_what_made_it_and_holds_no_pickle(tmp_path: Path) -> None:
    folder = keeper(tmp_path).save(1, saved(1))
    told = json.loads((folder / checkpoint.FACTS).read_text())
    assert told["identity"] == "run"
    assert {"jax", "flax", "optax"} <= told["versions"].keys()
    assert sorted(path.name for path in folder.iterdir()) == ["MANIFEST.json", "state.json", "state.safetensors"]


def test_the_identity_follows_what_decides_the_weights_and_nothing_else() -> None:
    case = problem("binary")
    told = case.config.fingerprint("d-1")
    assert told == problem("binary").config.fingerprint("d-1")
    assert told != case.config.fingerprint("d-2")
    for changed in ({"seed": 1}, {"momentum": 0.5}, {"fixed": ()}, {"folds": 3}, {"families": ("mlp",)}):
        assert told != case.changed(**changed).config.fingerprint("d-1")
