"""A population over the devices at hand: every GPU of every node, or every core of a machine without one.

Members never touch each other, so that each device trains its share of them alone: two cores take
little more than half the time of one, where the threads of a single device gain nothing on nets this small. Devices
that are left over share the batches of their members, where a batch is worth sharing: between GPUs or nodes.

Axes: g groups, c configurations.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

ONE_THREAD = "--xla_cpu_multi_thread_eigen=false"


def cores() -> int:
    """The cores to use: OMP_NUM_THREADS where set, else what this process may run on."""
    told = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(told)) if told.isdigit() else len(os.sched_getaffinity(0))


def use_cores() -> None:
    """Make a device of every core. Without effect once JAX has computed anything, and where there is a GPU."""
    flags = os.environ.get("XLA_FLAGS", "")
    if ONE_THREAD.partition("=")[0] not in flags:
        os.environ["XLA_FLAGS"] = f"{flags} {ONE_THREAD}".strip()
    try:
        jax.config.update("jax_num_cpu_devices", cores())  # type: ignore[no-untyped-call]
    except RuntimeError:  # the devices are made already
        return


def shares_batches() -> bool:
    """Whether devices without members of their own take part of a batch; cores of one processor gain nothing by it."""
    told = os.environ.get("TIDEMILL_SHARE_BATCHES", "")
    return told == "1" if told else jax.default_backend() != "cpu" or jax.process_count() > 1


@dataclass(frozen=True)
class Placement:
    """Where the members of a population stand: by configuration or by group, on as many devices as divide them.

    The mesh has the axes "members" and "rows": the devices of a row of it share the batches of the same members.
    """

    mesh: Mesh
    axis: int  # of a member's arrays [g, c, ...]

    @classmethod
    def of(cls, groups: int, configurations: int) -> Placement:
        """The most devices that share so many groups, or configurations, evenly; of several nodes all take part."""
        found = jax.devices()
        counts = [n for n in range(1, len(found) + 1) if jax.process_count() == 1 or len(found) % n == 0]
        count, axis = max(
            (n, axis) for n in counts for axis, size in enumerate((groups, configurations)) if size % n == 0
        )
        shared = len(found) // count if shares_batches() else 1
        return cls(Mesh(np.array(found[: count * shared]).reshape(count, shared), ("members", "rows")), axis)

    def members(self, tree: Any) -> Any:
        """Arrays [g, c, ...], each device with its own members."""
        return self._put(tree, *[None] * self.axis, "members")

    def everywhere(self, tree: Any) -> Any:
        """Arrays that every device has whole."""
        return self._put(tree)

    def order(self, order_gn: Any, batch: int) -> Any:
        """Row numbers [g, n] by steps [g, s, b]: each device its share of every batch."""
        order_gsb = order_gn.reshape(len(order_gn), -1, batch)
        shared = self.mesh.shape["rows"]
        if shared == 1:
            return order_gsb if jax.process_count() == 1 else self._put(order_gsb)
        return self._put(order_gsb, None, None, "rows" if batch % shared == 0 else None)

    def _put(self, tree: Any, *axes: str | None) -> Any:
        if jax.process_count() > 1:
            tree = jax.tree.map(np.asarray, tree)  # what lies on one node's device cannot be laid over all of them
        return jax.device_put(tree, NamedSharding(self.mesh, PartitionSpec(*axes)))  # type: ignore[no-untyped-call]
