"""What the nodes of one job say to each other, where there are several; on one node nothing is said, nor JAX loaded."""

from __future__ import annotations

from collections.abc import Mapping
from types import ModuleType

COUNT = "AWS_BATCH_JOB_NUM_NODES"


def meet(environment: Mapping[str, str]) -> ModuleType | None:
    """Meet the other nodes of the job: `nodes`, which speaks with them; None where this is the only one."""
    if not _several(environment):
        return None
    from tidemill.training import devices, nodes

    nodes.join(environment)
    devices.use_cores()  # before JAX counts its devices, which the first word between nodes makes it do
    return nodes


def agreed(environment: Mapping[str, str], value: int) -> int:
    """What the first node says; a lone one says it to itself."""
    if not _several(environment):
        return value
    from tidemill.training import nodes

    return nodes.first(value)


def lost_one(error: Exception, environment: Mapping[str, str]) -> bool:
    """Whether an error is that another node was not heard of: then the job is tried again, from its checkpoint."""
    if not _several(environment):
        return False
    from jax.errors import JaxRuntimeError

    told = str(error)  # XLA's collectives raise ValueError too
    return isinstance(error, JaxRuntimeError) or any(name in told for name in ("Gloo", "NCCL"))


def _several(environment: Mapping[str, str]) -> bool:
    return int(environment.get(COUNT, "1")) > 1
