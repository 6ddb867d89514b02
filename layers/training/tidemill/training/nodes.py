"""One job on several machines: every node runs the same program, the first one speaks for all.

AWS Batch starts a multi-node parallel job with a container on each node and tells each its number. JAX then sees the
devices of all nodes as one list, over which `devices` lays populations and batches; XLA's collectives (NCCL between
GPUs, gloo between processors) do what has to be said. On one machine all of this is without effect.

Whatever depends on a clock or a signal is agreed on, because a node that took another way than the others would wait
for them forever: `any_of` before a chunk, `first` for what the first node alone may decide.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Mapping
from typing import Any, NoReturn

import jax
import numpy as np

PORT = 12345  # of the first node, where the others meet
MEET_S = 600  # a node may still pull its image
WAIT_S = 60
WAITING = (0, 75)  # exit codes of a node that has done its part, or stopped as agreed


def join(environment: Mapping[str, str] = os.environ) -> None:
    """Meet the other nodes of the job, if there are any. Before JAX computes anything."""
    count = int(environment.get("AWS_BATCH_JOB_NUM_NODES", "1"))
    if count < 2:
        return
    mine, main = (int(environment[f"AWS_BATCH_JOB_{name}_INDEX"]) for name in ("NODE", "MAIN_NODE"))
    first = environment.get("AWS_BATCH_JOB_MAIN_NODE_PRIVATE_IPV4_ADDRESS", "127.0.0.1")  # the main node is not told
    jax.config.update("jax_cpu_collectives_implementation", "gloo")  # type: ignore[no-untyped-call]
    jax.distributed.initialize(
        coordinator_address=f"{first}:{environment.get('TIDEMILL_NODES_PORT', PORT)}",
        coordinator_bind_address=f"0.0.0.0:{environment.get('TIDEMILL_NODES_PORT', PORT)}" if mine == main else None,
        num_processes=count,
        process_id=(mine - main) % count,
        initialization_timeout=MEET_S,
    )


def leads() -> bool:
    """Whether this node speaks for the job: to the registry, to the bucket, to people."""
    return bool(jax.process_index() == 0)


def leave(code: int) -> NoReturn:
    """End a node: the first at once, for its end is the job's; the others wait, to be ended with it.

    One that failed does not wait: its end is how the others learn of it.
    JAX's own way out waits until all nodes want to go, which one that was left behind in a computation never does.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    if not leads() and code in WAITING:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while True:
            time.sleep(WAIT_S)
    os._exit(code)


def any_of(flag: bool) -> bool:
    """Whether it is so on any node."""
    if jax.process_count() == 1:
        return flag
    from jax.experimental.multihost_utils import process_allgather

    return bool(np.any(process_allgather(np.array(flag))))


def first(value: int) -> int:
    """What the first node says."""
    if jax.process_count() == 1:
        return value
    from jax.experimental.multihost_utils import broadcast_one_to_all

    return int(broadcast_one_to_all(np.array(value, np.int32)))


def whole(tree: Any) -> Any:
    """Arrays as NumPy's, whole on every node, wherever their parts lie."""
    if jax.process_count() == 1:
        return jax.device_get(tree)
    from jax.experimental.multihost_utils import process_allgather

    def leaf(array: Any) -> Any:
        apart = isinstance(array, jax.Array) and not (array.is_fully_addressable or array.is_fully_replicated)
        return process_allgather(array, tiled=True) if apart else np.asarray(array)

    return jax.tree.map(leaf, tree)
