"""How a new version does in service beside the one before it: what is counted, and when it is too bad to stay.

Counts stand in a partition of their own, `HEALTH#m | challenger#000007#all` and `...#2026-11-22T21:30`, so that the
hot path may write there and nowhere else. Times are summed as logarithms: geometric means do not follow one slow call.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

Counts = Mapping[str, Any]
ALL = "all"
FIELDS = ("requests", "errors", "new_n", "new_log", "new_log2", "old_n", "old_log", "old_log2")
Z = 1.645  # one-sided 95 % of the normal distribution: less is called chance
LEAST_TIMED = 20  # requests of either version before their times are compared
KEPT_S = 30 * 86_400  # how long counts are kept, where the table lets items expire


def partition(model: str) -> str:
    """The partition of a model's counts."""
    return f"HEALTH#{model}"


def key(alias: str, rev: int, window: str = ALL) -> str:
    """The sort key of one watch's counts: over all of it, or in one minute (ISO 8601 without seconds)."""
    return f"{alias}#{rev:06d}#{window}"


def judge(counts: Counts, limits: Mapping[str, Any]) -> str | None:
    """Why a version may not stay, in a sentence; None while nothing speaks against it beyond chance."""
    requests, errors = int(counts.get("requests", 0)), int(counts.get("errors", 0))
    if requests < limits["min_requests"]:
        return None
    if lowest_share(errors, requests) > limits["max_error_rate"]:
        return (
            f"It failed {errors} of {requests} requests ({errors / requests:.1%}); "
            f"the limit is {limits['max_error_rate']:.1%}."
        )
    ratio, lowest = latency_ratio(counts)
    if lowest > limits["max_latency_ratio"]:
        return (
            f"It takes {ratio:.1f} times as long as the version before; the limit is {limits['max_latency_ratio']:g}."
        )
    return None


def lowest_share(hits: int, trials: int) -> float:
    """The lower bound of a share, one-sided 95 % (Wilson, JASA 22 (1927) 209-212)."""
    share, z2 = hits / trials, Z * Z / trials
    centre = share + z2 / 2
    return (centre - Z * math.sqrt(max(0.0, share * (1 - share) / trials + z2 / trials / 4))) / (1 + z2)


def latency_ratio(counts: Counts) -> tuple[float, float]:
    """How many times as long the new version takes, and the lower bound of that; (1, 0) while too little is known."""
    (new_n, new, new_var), (old_n, old, old_var) = _times(counts, "new"), _times(counts, "old")
    if min(new_n, old_n) < LEAST_TIMED:
        return 1.0, 0.0
    error = math.sqrt(new_var / new_n + old_var / old_n)
    return math.exp(new - old), math.exp(new - old - Z * error)


def _times(counts: Counts, which: str) -> tuple[int, float, float]:
    """How many times were taken, the mean of their logarithms, and the variance."""
    n, total, squares = (float(counts.get(f"{which}_{name}", 0)) for name in ("n", "log", "log2"))
    mean = total / n if n else 0.0
    return int(n), mean, max(0.0, squares / n - mean * mean) if n else 0.0
