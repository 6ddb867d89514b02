"""A population over several devices learns what it learns on one."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tidemill.training.devices import Placement, cores

TRAIN = """
import sys
import jax, numpy as np
from tidemill.training import devices
devices.use_cores()
from tests.training.populations import members, problem
population = members(problem("multiclass"), {"width": 4}, {"dropout": 0.2}, {"weight_decay": 0.1}, family=sys.argv[2])
population = population.changed(settings=[*population.settings, population.settings[0]], copies=int(sys.argv[3]))
state = population.train()
leaves = jax.tree.leaves(state.best)
assert all(type(leaf) is np.ndarray for leaf in leaves)
np.savez(sys.argv[1], *leaves, loss=state.best_loss, devices=len(jax.devices()))
"""


def trained(out: Path, cores: int, family: str, copies: int) -> dict[str, np.ndarray]:
    """Train in a process of its own, as JAX counts its devices once."""
    given = {**os.environ, "OMP_NUM_THREADS": str(cores)}
    subprocess.run([sys.executable, "-c", TRAIN, str(out), family, str(copies)], env=given, check=True, timeout=300)
    with np.load(out) as found:
        return dict(found)


@pytest.mark.parametrize(("family", "copies"), [("tabm", 1), pytest.param("mlp", 3, marks=pytest.mark.slow)])
def test_two_devices_learn_what_one_learns(family: str, copies: int, tmp_path: Path) -> None:
    alone, both = (trained(tmp_path / f"{count}.npz", count, family, copies) for count in (1, 2))
    assert [alone.pop("devices"), both.pop("devices")] == [1, 2]
    assert alone.keys() == both.keys()
    for name, values in alone.items():
        np.testing.assert_allclose(values, both[name], rtol=2e-3, atol=2e-4, err_msg=name)


def test_the_cores_are_those_told_else_those_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert cores() == 3
    for told in ("", "0", "many", "2,1"):
        monkeypatch.setenv("OMP_NUM_THREADS", told)
        assert cores() == (1 if told == "0" else len(os.sched_getaffinity(0)))


def test_one_device_holds_every_population() -> None:
    for groups, configurations in ((1, 1), (1, 7), (4, 1), (5, 3)):
        placement = Placement.of(groups, configurations)
        members = np.ones((groups, configurations, 2), np.float32)
        assert placement.members({"a": members})["a"].shape == members.shape


NODE = """
import os, sys
from tidemill.training import nodes
nodes.join()
import jax, numpy as np
from tests.training.populations import members, problem
told = members(problem("multiclass"), {"width": 4}, {"dropout": 0.2}, family=sys.argv[2])
population = told.changed(settings=told.settings[: int(sys.argv[3])], copies=1)
state = population.train()
assert all(type(leaf) is np.ndarray for leaf in jax.tree.leaves(state.best))
if nodes.leads():
    np.savez(sys.argv[1], *jax.tree.leaves(state.best), loss=state.best_loss, devices=len(jax.devices()))
"""


def trained_on_nodes(out: Path, count: int, devices: int, family: str, members: int) -> dict[str, np.ndarray]:
    """Train in as many processes, each with so many devices, that meet as the nodes of a job do."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    shared = {
        **os.environ,
        "JAX_NUM_CPU_DEVICES": str(devices),
        "TIDEMILL_SHARE_BATCHES": "1",
        "TIDEMILL_NODES_PORT": port,
    }
    batch = {"AWS_BATCH_JOB_NUM_NODES": str(count), "AWS_BATCH_JOB_MAIN_NODE_INDEX": "0"}
    command = [sys.executable, "-c", NODE, str(out), family, str(members)]
    running = [
        subprocess.Popen(command, env={**shared, **batch, "AWS_BATCH_JOB_NODE_INDEX": str(node)})
        for node in range(count)
    ]
    try:
        assert [process.wait(timeout=240) for process in running] == [0] * count
    finally:
        for process in running:
            process.kill()
    with np.load(out) as found:
        return dict(found)


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    ("nodes", "devices", "members"),
    [
        (2, 1, 1),
        pytest.param(2, 1, 2, marks=SLOW),
        pytest.param(1, 8, 1, marks=SLOW),
        pytest.param(2, 4, 2, marks=SLOW),
    ],
)
def test_nodes_and_devices_that_share_members_or_batches_learn_what_one_device_learns(
    nodes: int, devices: int, members: int, tmp_path: Path
) -> None:
    alone = trained_on_nodes(tmp_path / "alone.npz", 1, 1, "mlp", members)
    shared = trained_on_nodes(tmp_path / "shared.npz", nodes, devices, "mlp", members)
    assert (alone.pop("devices"), shared.pop("devices")) == (1, nodes * devices)
    for name, values in alone.items():
        np.testing.assert_allclose(values, shared[name], rtol=2e-3, atol=2e-4, err_msg=name)
