"""When a watched version is too bad to stay: never by chance, always by much."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tidemill.core import health

LIMITS = {"min_requests": 50, "max_error_rate": 0.02, "max_latency_ratio": 2.0}


def counts(requests: int = 100, errors: int = 0, new: list[float] | None = None, old: Any = None) -> dict[str, Any]:
    """Counts of a watch; times in seconds."""
    found: dict[str, Any] = {"requests": requests, "errors": errors}
    for which, times in (("new", new or []), ("old", old or [])):
        logs = [math.log(value) for value in times]
        found |= {f"{which}_n": len(logs), f"{which}_log": sum(logs), f"{which}_log2": sum(x * x for x in logs)}
    return found


def drawn(seed: int, centre: float, many: int = 60) -> list[float]:
    """Times around a centre; one in ten is ten times as long, as on a busy machine."""
    draw = random.Random(seed)
    return [centre * math.exp(draw.gauss(0, 0.3)) * (10 if draw.random() < 0.1 else 1) for _ in range(many)]


@pytest.mark.parametrize(("errors", "broken"), [(0, False), (1, False), (2, False), (4, True), (50, True)])
def test_a_few_errors_of_fifty_are_chance_and_more_are_not(errors: int, broken: bool) -> None:
    assert (health.judge(counts(50, errors), LIMITS) is not None) == broken


def test_nothing_is_decided_before_enough_requests() -> None:
    assert health.judge(counts(49, 49), LIMITS) is None
    assert "49 of 50" in str(health.judge(counts(50, 49), LIMITS))


def test_a_limit_of_one_is_never_broken() -> None:
    assert health.judge(counts(10_000, 10_000), {**LIMITS, "max_error_rate": 1.0}) is None


@given(trials=st.integers(1, 10_000), share=st.floats(0, 1))
def test_the_lower_bound_lies_between_nothing_and_the_share(trials: int, share: float) -> None:
    hits = round(trials * share)
    low = health.lowest_share(hits, trials)
    assert -1e-12 <= low <= hits / trials + 1e-12


def test_a_version_as_quick_as_the_one_before_stays_and_one_five_times_slower_goes() -> None:
    for seed in range(20):
        old = drawn(seed, 0.010)
        assert health.judge(counts(new=drawn(seed + 100, 0.010), old=old), LIMITS) is None
        assert "times as long" in str(health.judge(counts(new=drawn(seed + 200, 0.050), old=old), LIMITS))


def test_one_endless_request_says_nothing_about_a_version() -> None:
    quick = [0.01] * 50
    assert health.judge(counts(new=[*quick[:-1], 25.0], old=quick), LIMITS) is None


def test_times_are_not_compared_before_both_were_taken_often_enough() -> None:
    assert health.latency_ratio(counts(new=[9.0] * 100, old=[0.001] * 19)) == (1.0, 0.0)
    ratio, low = health.latency_ratio(counts(new=[9.0] * 100, old=[0.001] * 20))
    assert ratio == pytest.approx(9000) and low == pytest.approx(9000)
