"""The whole loop, ended, doubled or held up at its AWS calls, in every order: nothing lost, nothing doubled, no lie.

`TIDEMILL_CRASHES=1` tries every call (about 12,000 runs); without it each combination of orders tries every 24th, a
different one each, and the four things that may happen at it.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

import pytest
from tests.fire.crashing import loop
from tests.fire.crashing.connected import Wires, connected
from tests.fire.crashing.enumeration import KINDS, Script, faults, outcome, reference
from tests.fire.crashing.mill import Orders

pytestmark = [pytest.mark.fire, pytest.mark.timeout(3600)]
SCRIPTS = {"two": loop.TWO, "pinned": loop.PINNED, "again": loop.AGAIN, "same": loop.SAME, "gone": loop.GONE}
COMBINATIONS = [
    (messages, jobs)
    for messages in ("once", "doubled", "reversed", "delayed")
    for jobs in ("in order", "reversed", "twice")
]
STRIDE = int(os.environ.get("TIDEMILL_CRASHES") or 24)


@pytest.fixture(scope="module")
def wires(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wires]:
    logging.disable(logging.CRITICAL)  # a crash writes a traceback, and there are hundreds
    with connected(tmp_path_factory.mktemp("mill")) as made:
        for script in SCRIPTS.values():
            reference(made, script, Orders())  # reads, trains and judges what is then copied
        yield made
    logging.disable(logging.NOTSET)


def script_of(place: int) -> tuple[str, Script]:
    """The scripts in turn; the first, with two uploads at once, in every other combination."""
    names = list(SCRIPTS)
    name = "two" if place % 2 == 0 else names[1 + (place // 2) % 4]
    return name, SCRIPTS[name]


@pytest.mark.parametrize("place", range(len(COMBINATIONS)), ids=[f"{m}, jobs {j}" for m, j in COMBINATIONS])
def test_whatever_happens_at_any_call_every_promise_holds(wires: Wires, fire: Any, place: int) -> None:
    messages, jobs = COMBINATIONS[place]
    name, script = script_of(place)
    of = reference(wires, script, Orders(messages, jobs))
    tried = list(faults(len(of.calls), KINDS, STRIDE, first=1 + (2 * place) % STRIDE))
    with fire("crash runs", f"{name}: {messages}, jobs {jobs}", count=len(tried) + 1):
        broken = {"nothing happened": outcome(wires, of, None)}
        for fault in tried:
            broken[f"{fault.kind} call {fault.at} ({of.calls[fault.at - 1]})"] = outcome(wires, of, fault)
        broken = {where: found for where, found in broken.items() if found}
        assert not broken, f"{len(broken)} of {len(tried) + 1} runs: {dict(list(broken.items())[:5])}"
