"""The checker has teeth: it refuses a naive design in every run, and finds each guard that was taken out."""

from __future__ import annotations

from typing import Any

import pytest
from tests.fire import naive
from tests.fire.crashing import loop
from tests.fire.crashing.connected import Wires
from tests.fire.crashing.enumeration import faults, outcome, reference
from tests.fire.crashing.mill import Orders
from tests.fire.crashing.mutants import MUTANTS, Mutant, planted
from tests.fire.test_crash_runs import wires

__all__ = ["wires"]
pytestmark = [pytest.mark.fire, pytest.mark.timeout(1800)]
MOST_RUNS = 60  # for one mutant, before it counts as a survivor


def test_the_naive_design_is_refused_in_every_run(wires: Wires, fire: Any) -> None:
    script = [loop.both(loop.upload("good1", loop.table(1)), loop.upload("good2", loop.table(2)), loop.POISON)]
    for jobs in ("in order", "reversed"):
        of = reference(wires, script, Orders("once", jobs), naive.handle)
        tried = list(faults(len(of.calls), ("before", "after")))
        with fire("naive design", f"jobs {jobs}", count=len(tried)):
            passed = [fault for fault in tried if not outcome(wires, of, fault, journal=False)]
            assert not passed, f"The checker found nothing in {len(passed)} of {len(tried)} runs: {passed[:5]}"


@pytest.mark.parametrize("mutant", MUTANTS, ids=[mutant.name for mutant in MUTANTS])
def test_a_guard_that_was_taken_out_is_missed(wires: Wires, fire: Any, mutant: Mutant) -> None:
    with fire("mutants", mutant.name) as case, planted(mutant):
        runs, found = hunted(wires, mutant)
        case.notes.update(runs=runs, found=found[:2])
        assert found, f"{mutant.where} without its guard broke nothing in {runs} runs"


def hunted(wires: Wires, mutant: Mutant) -> tuple[int, list[str]]:
    """How many runs it took to find the mutant, and what was found; every seventh call first, then those between."""
    of = reference(wires, mutant.script, mutant.orders)
    found, runs = outcome(wires, of, None), 1
    for first in (1, 4, 2, 6, 3, 5, 7):
        for fault in faults(len(of.calls), mutant.kinds, 7, first):
            if found or runs >= MOST_RUNS:
                return runs, found
            if mutant.at not in ("", of.calls[fault.at - 1]):
                continue
            found, runs = outcome(wires, of, fault), runs + 1
    return runs, found
