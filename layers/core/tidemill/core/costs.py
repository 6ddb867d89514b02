"""What a run will cost, may cost and has cost, and what a thousand predictions cost.

Before a job is submitted its time is estimated: from the model's own earlier runs where there are any, else from what
runs of the same kind of data took on two cores without a GPU. Estimates are meant to refuse what is far too dear, not
to be exact; with a budget the job's time is limited too, so that a wrong estimate costs no more than was allowed.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from tidemill.core.errors import TidemillError
from tidemill.core.limits import limit
from tidemill.core.prices import HOUR_S, Prices

Item = Mapping[str, Any]

# Seconds of a job on two cores without a GPU, measured on the sets in tests/benchmarks; a part that does not grow,
# and a part a row (of pictures a pixel), for the configurations that are searched by default.
FIXED_S = 60.0
SECONDS_A_ROW = {"table": 0.02, "text": 0.05}
SECONDS_A_PIXEL = 2.5e-4
PIXELS = 96 * 96  # of a picture, where its size is not known
LONGEST_S = 4 * HOUR_S  # an attempt, in infra/batch.yaml
MOST_ATTEMPTS = 2  # of a job, in infra/batch.yaml
MOST_JOBS = 1 + limit("retries")  # of a run
LEAST_TIMEOUT_S = 60  # Batch takes no shorter limit
SPARE = 1.5  # an attempt may take so many times its estimate
PREDICT_MEMORY_MB = 1769  # of the Predict function, in template.yaml
OVERHEAD_MS = 3.0  # of a warm request beside the model: event, key, parsing (tests/benchmarks, bench_predict)


class OverBudget(TidemillError):
    """A run that would cost more than [budget] max_usd."""

    code, status, title = "OVER_BUDGET", 422, "The run would cost too much"


def estimate(run: Item, earlier: Sequence[Item], prices: Prices) -> dict[str, Any]:
    """How long a run's job will take and what that costs: seconds, usd (Spot), most_usd, and what it is based on."""
    known = [found for item in earlier if (found := _rate(item)) is not None and _recipe(item) == _recipe(run)]
    if known:
        seconds = max(FIXED_S, known[0] * _rows(run))
        basis = "the model's last run with this recipe, by its rows"
    else:
        seconds = FIXED_S + _work(run)
        basis = "runs of the same kind of data on two cores without a GPU"
    seconds, count = min(round(seconds, 1), LONGEST_S), nodes(run)
    usd, most = count * prices.job(seconds, spot=count == 1), count * prices.job(seconds, spot=False)
    return {
        **{"seconds": seconds, "usd": _cents(usd), "most_usd": _cents(most), "nodes": count},
        **{"currency": prices.currency, "prices": prices.date, "basis": basis},
    }


def within(budget_usd: float | None, estimated: Item, prices: Prices, reserved_usd: float = 0.0) -> Item | None:
    """How long an attempt may take and how often it is tried, so that the run stays in the budget; None: no budget.

    Counted is the dearest machine, On-Demand. `reserved_usd` is what jobs of the run before this one could have spent;
    with this one's it becomes the result's. Raises OverBudget when what is left is less than the estimate.
    """
    if budget_usd is None:
        return None
    seconds, start_s = float(estimated["seconds"]), prices.of("training.start_s")
    count = int(estimated.get("nodes", 1))
    most, left_usd = count * prices.job(seconds, spot=False), budget_usd - reserved_usd
    affordable_s = left_usd / count / prices.dearest_hour * HOUR_S
    if most > left_usd or affordable_s - start_s < LEAST_TIMEOUT_S:
        left = f", of which interrupted jobs may have spent {reserved_usd:.2f}" if reserved_usd else ""
        raise OverBudget(
            f"The run would cost up to {most:.2f} {prices.currency} ({seconds:,.0f} s on the dearest machine, "
            f"prices of {prices.date}); [budget] max_usd is {budget_usd:g}{left}.",
            remedy="Raise the budget, send fewer rows, or search less: [search] configurations = 1.",
            estimate_usd=_cents(most),
            max_usd=budget_usd,
        )
    tries = min(MOST_ATTEMPTS * MOST_JOBS, max(1, int(affordable_s / (SPARE * seconds + start_s))))
    timeout_s = max(LEAST_TIMEOUT_S, int(min(LONGEST_S, affordable_s / tries - start_s)))
    attempts = min(MOST_ATTEMPTS, tries)
    reserved = reserved_usd + attempts * count * prices.job(timeout_s, spot=False)
    return {"attempts": attempts, "timeout_s": timeout_s, "reserved_usd": reserved}


def spent(run: Item, prices: Prices) -> dict[str, Any] | None:
    """What a run's job has cost so far or in all; None before it ran.

    The machine is the one the job named; where it named none (the local stack) the dearest, as if it had been Spot.
    """
    times = run.get("times") or {}
    seconds = _between(times.get("running"), times.get("ended") or (run.get("progress") or {}).get("at"))
    if seconds is None or run.get("reused"):
        return None
    machine = run.get("machine") or {}
    count = nodes(run)
    spot = bool(machine.get("spot", count == 1))
    usd = count * prices.job(seconds, str(machine.get("type", "")), spot=spot)
    where = str(machine.get("type") or "") or f"the dearest machine{', Spot' if spot else ''}: the job named none"
    where = f"{count} x {where}" if count > 1 else where
    return {
        "seconds": seconds,
        "usd": _cents(usd),
        "currency": prices.currency,
        "machine": where,
        "prices": prices.date,
    }


def thousand(version: Item, prices: Prices, *, rows: int = 1) -> dict[str, Any] | None:
    """What a thousand warm requests of so many rows cost; None where the version does not say how long a row takes."""
    if version.get("predict_ms") is None:
        return None
    billed_ms = math.ceil(OVERHEAD_MS + float(version["predict_ms"]) * rows)
    usd = 1000 * (prices.function(billed_ms / 1000, PREDICT_MEMORY_MB) + prices.of("http_api.million_requests") / 1e6)
    return {"usd": float(f"{usd:.3g}"), "currency": prices.currency, "billed_ms": billed_ms, "prices": prices.date}


def nodes(run: Item) -> int:
    """How many machines a run's job takes at once."""
    return int(((run.get("spec") or {}).get("job") or {}).get("nodes") or 1)


def _work(run: Item) -> float:
    """Seconds that grow with the data."""
    modality, rows = str(run.get("modality") or "table"), _rows(run)
    if modality == "picture":
        side = int(((run.get("spec") or {}).get("data") or {}).get("size") or 0)
        return SECONDS_A_PIXEL * rows * (side * side or PIXELS)
    return SECONDS_A_ROW[modality] * rows


def _rate(run: Item) -> float | None:
    """Seconds a row of a run that trained to its end."""
    if run.get("state") != "READY" or run.get("reused"):
        return None
    times = run.get("times") or {}
    seconds, rows = _between(times.get("running"), times.get("ended")), _rows(run)
    return seconds / rows if seconds and rows else None


def _rows(run: Item) -> int:
    return int((run.get("rows") or {}).get("used") or 0)


def _recipe(run: Item) -> list[Any]:
    return [*((run.get("spec") or {}).get(name) for name in ("train", "augment", "search")), nodes(run)]


def _between(start: Any, end: Any) -> float | None:
    if not start or not end:
        return None
    return max(0.0, (datetime.fromisoformat(str(end)) - datetime.fromisoformat(str(start))).total_seconds())


def _cents(usd: float) -> float:
    return round(usd, 4)
