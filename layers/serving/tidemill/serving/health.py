"""The health of a watched version, as this process sees it: counted in memory, added to the table every few seconds.

Requests of models that nobody watches touch nothing but memory. A broken limit is told to Promote, which looks for
itself and may move the alias; this process may not.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tidemill.core import health
from tidemill.core.errors import TidemillError
from tidemill.serving.routing import Route, Watch

FLUSH_S = 2.0  # between two writes of a process about one model
TIMES = 500  # of a version that are kept until they are written; before a watch they tell what was usual
MOST = 1_000  # versions remembered; past it all are forgotten


class Board(Protocol):
    """Where counts are added up and events told: serving.signer.Client."""

    def add(self, table: str, pk: str, sk: str, numbers: Mapping[str, float], expires: int) -> dict[str, Any]: ...
    def tell(self, bus: str, name: str, detail: Mapping[str, Any]) -> None: ...


@dataclass
class Seen:
    """What one version did in this process since it was last written down."""

    requests: int = 0
    errors: int = 0
    logs: deque[float] = field(default_factory=lambda: deque(maxlen=TIMES))  # of seconds

    def sums(self, which: str) -> dict[str, float]:
        """Its times as the table adds them up."""
        logs = list(self.logs)
        return {
            f"{which}_n": len(logs),
            f"{which}_log": round(math.fsum(logs), 6),
            f"{which}_log2": round(math.fsum(value * value for value in logs), 6),
        }


class Health:
    """Counts of every version this process answered with, and when each model's were last written."""

    def __init__(self, board: Board, table: str, bus: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        self.board, self.table, self.bus, self.clock = board, table, bus, clock
        self.seen: dict[tuple[str, int], Seen] = {}
        self.watched: dict[str, tuple[Watch, float]] = {}

    def begin(self, model: str, watch: Watch | None) -> None:
        """Before a request of a model: with a new watch, what its version did until now does not count."""
        known = self.watched.get(model)
        if watch is None or (known is not None and known[0] == watch):
            if watch is None and known is not None:
                del self.watched[model]
            return
        self.watched[model] = (watch, -math.inf)
        self.seen.pop((model, watch.version), None)

    def time(self, model: str, version: int, seconds: float) -> None:
        """A version predicted in this time."""
        self._of(model, version).logs.append(math.log(max(seconds, 1e-6)))

    def count(self, model: str, version: int, *, failed: bool) -> None:
        """A version was asked, and failed or did not."""
        seen = self._of(model, version)
        seen.requests += 1
        seen.errors += failed

    def flush(self, model: str, watch: Watch, route: Route) -> dict[str, Any]:
        """Write the counts of a watched version when it is time, and tell what follows; what to log of it.

        Never fails the request: counts that could not be written wait for the next time.
        """
        seen, now = self._of(model, watch.version), self.clock()
        _, written = self.watched.get(model, (watch, -math.inf))
        if not seen.requests or now - written < FLUSH_S:
            return {}
        self.watched[model] = (watch, now)
        try:
            return self._judged(model, watch, *self._write(model, watch, seen, _before(watch, route)))
        except TidemillError as error:
            return {"health": error.code}

    def _write(self, model: str, watch: Watch, seen: Seen, before: int) -> tuple[dict[str, Any], dict[str, Any]]:
        """Add the counts to those of the whole watch and of this minute; both as they are then."""
        old = self._of(model, before)
        counts = {"requests": seen.requests, "errors": seen.errors, **seen.sums("new"), **old.sums("old")}
        minute, expires = time.strftime("%Y-%m-%dT%H:%M", time.gmtime()), int(time.time()) + health.KEPT_S
        place = (self.table, health.partition(model))
        whole = self.board.add(*place, health.key(watch.alias, watch.rev), counts, expires)
        seen.requests = seen.errors = 0
        seen.logs.clear()
        old.logs.clear()
        return whole, self.board.add(*place, health.key(watch.alias, watch.rev, minute), counts, expires)

    def _judged(self, model: str, watch: Watch, whole: dict[str, Any], minute: dict[str, Any]) -> dict[str, Any]:
        about = {"model": model, "alias": watch.alias, "version": watch.version, "rev": watch.rev}
        for counts in (whole, minute):
            why = health.judge(counts, watch.limits)
            if why is not None:
                self.board.tell(self.bus, "HealthBroken", {**about, "why": why, "window": counts["sk"].split("#")[-1]})
                return {"health": "broken"}
        over = watch.promotes and watch.until is not None and time.time() >= watch.until
        if over and whole["requests"] >= watch.limits["min_requests"]:
            self.board.tell(self.bus, "CanaryEnded", about)
            return {"health": "passed"}
        return {}

    def _of(self, model: str, version: int) -> Seen:
        found = self.seen.get((model, version))
        if found is None:
            if len(self.seen) >= MOST:
                self.seen.clear()
            found = self.seen[model, version] = Seen()
        return found


def _before(watch: Watch, route: Route) -> int:
    """The version that the watched one is compared with: the one that is neither challenger nor shadow."""
    others = [served.version for served in (route.first, route.instead) if served and served.version != watch.version]
    return others[0] if others else 0
