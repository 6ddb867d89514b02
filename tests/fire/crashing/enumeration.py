"""Each call of a loop, and what may happen at it: the run up to there is copied, not made again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.doubles.memory_aws import MemoryAws, Place
from tests.fire.checker import check
from tests.fire.crashing.connected import Wires
from tests.fire.crashing.mill import ARTIFACTS, TABLE, Fault, Message, Mill, Orders, handle

from tidemill.core.rebuild import rebuild
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage

KINDS = ("before", "after", "repeat", "pause")
Script = list[Callable[[Mill], None]]
Handle = Callable[[Mill, Message], bool]


@dataclass
class Reference:
    """The run in which nothing happens: how many calls it has, and where it stood before each message."""

    mill: Mill
    calls: list[str] = field(default_factory=list)
    copies: list[dict[str, Any]] = field(default_factory=list)


def reference(wires: Wires, script: Script, orders: Orders, handler: Handle = handle) -> Reference:
    """Run once with nothing happening."""
    mill = Mill(list(script), handler, orders)
    wires.mill = mill
    made = Reference(mill)
    mill.run(before=lambda: made.copies.append(mill.copied()))
    made.copies.append(mill.copied())
    made.calls = list(mill.seen)
    return made


def outcome(wires: Wires, of: Reference, fault: Fault | None, journal: bool = True) -> list[str]:
    """What is broken after a run with this fault; none where every promise held."""
    mill = of.mill
    earlier = [copy for copy in of.copies if fault is None or copy["calls"] < fault.at]
    mill.restore(earlier[-1])
    mill.fault = fault
    wires.mill = mill
    try:
        mill.run()
    except Exception as error:  # the product's own errors end in its handlers: this one had no handler left
        return [f"I1: the loop ended with {type(error).__name__}: {error}"]
    return check(mill.aws, mill.log, mill.batch, rebuilt(wires, mill) if journal else None)


def rebuilt(wires: Wires, mill: Mill) -> dict[Place, Any]:
    """The table as it comes back from the journal."""
    lost = Mill([], mill.handle, aws=MemoryAws(objects=dict(mill.aws.objects)), clock_ms=mill.clock_ms)
    wires.mill = lost
    rebuild(Registry(TABLE), Storage(ARTIFACTS))
    wires.mill = mill
    return lost.aws.items


def faults(calls: int, kinds: Iterable[str], stride: int = 1, first: int = 1) -> Iterator[Fault]:
    """Each kind at each call, or at every `stride`th from the first."""
    for at in range(first, calls + 1, stride):
        for kind in kinds:
            yield Fault(at, kind)
