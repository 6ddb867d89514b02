"""Load on a door: so many requests at a time, or so many a second whatever becomes of them."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

Ask = Callable[[], Awaitable[tuple[int, str | None]]]  # status and Retry-After


@dataclass
class Load:
    """What came back."""

    statuses: Counter[int] = field(default_factory=Counter)
    hints: Counter[str | None] = field(default_factory=Counter)  # Retry-After of what was refused
    seconds: float = 0.0

    @property
    def goodput(self) -> float:
        """Good answers a second."""
        return self.statuses[200] / self.seconds

    @property
    def offered(self) -> float:
        """Requests a second."""
        return sum(self.statuses.values()) / self.seconds

    def note(self, status: int, hint: str | None) -> None:
        """Count one answer."""
        self.statuses[status] += 1
        if status in (429, 503):
            self.hints[hint] += 1


async def closed(ask: Ask, callers: int, seconds: float) -> Load:
    """Callers that each send the next request when the one before is answered: the most that a door can do."""
    load, began = Load(), time.monotonic()

    async def caller() -> None:
        while time.monotonic() - began < seconds:
            answer = await ask()
            if time.monotonic() - began <= seconds:
                load.note(*answer)

    await asyncio.gather(*(caller() for _ in range(callers)))
    load.seconds = seconds
    return load


async def flood(ask: Ask, rate: float, seconds: float) -> Load:
    """So many requests a second, which wait for nobody; counted is what is answered before the flood ends."""
    load, began = Load(), time.monotonic()
    tasks: set[asyncio.Task[None]] = set()

    async def one() -> None:
        answer = await ask()
        if time.monotonic() - began <= seconds:
            load.note(*answer)

    sent = 0
    while (passed := time.monotonic() - began) < seconds:
        for _ in range(int(passed * rate) - sent):
            task = asyncio.create_task(one())
            tasks.add(task)
            task.add_done_callback(tasks.discard)
            sent += 1
        await asyncio.sleep(0.005)
    load.seconds = time.monotonic() - began
    await asyncio.gather(*tasks)
    return load


async def recovered(ask: Ask, usual_s: float, most_s: float) -> float:
    """Seconds until three requests in a row are answered in no more than three times the usual time."""
    began, good = time.monotonic(), 0
    while good < 3 and time.monotonic() - began < most_s:
        sent = time.monotonic()
        status, _ = await ask()
        good = good + 1 if status == 200 and time.monotonic() - sent < 3 * usual_s else 0
    return time.monotonic() - began if good == 3 else float("inf")
