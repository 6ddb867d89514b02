"""Ten times more than can be done: what is too much is refused, with a word when to come back, and the rest is done.

On AWS it is API Gateway that refuses (the stage's throttling), which the local stack does not act out. Here it is the
local stack's guard, before a function that takes a known time, so that the ratio is a matter of queues and not of a
busy machine; and before the deployed API.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest
from tests.fire.callers.load import Load, closed, flood, recovered

from tidemill.local.guard import Guard

pytestmark = [pytest.mark.fire, pytest.mark.timeout(600)]
AREA = "overload"
WORK_S = 0.02
CALLERS = 80  # of the deployed API, which heed Retry-After; it answers 4 at a time and lets 64 wait
STUBBORN = 200  # callers who send the next request at once
SCOPE = {
    "type": "http",
    "method": "GET",
    "path": "/models",
    "raw_path": b"/models",
    "query_string": b"",
    "server": ("127.0.0.1", 1),
    "headers": [(b"host", b"0123abcd.execute-api.localhost:4566")],
}


def guarded(**options: Any) -> Any:
    """Ask a guard before a function that takes WORK_S."""

    async def inner(scope: Any, receive: Any, send: Any) -> None:
        await asyncio.sleep(WORK_S)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    guard = Guard(inner, admin="a", root_key="r", known=lambda _: True, **options)

    async def ask() -> tuple[int, str | None]:
        started: dict[str, Any] = {}

        async def send(message: Any) -> None:
            started.update(message if message["type"] == "http.response.start" else {})

        await guard(dict(SCOPE), None, send)  # type: ignore[arg-type]
        return started["status"], dict(started["headers"]).get(b"retry-after", b"").decode() or None

    return ask


def hold(best: Load, under: Load, recovery_s: float, goodput: float) -> None:
    """The three promises."""
    assert set(under.statuses) <= {200, 429, 503}, under.statuses
    assert under.statuses[429] + under.statuses[503] > 0, "it was no overload"
    assert all(hint and hint.isdecimal() for hint in under.hints), under.hints
    assert under.goodput >= goodput * best.goodput, (best.goodput, under.goodput)
    assert recovery_s <= 10


def test_the_guard_keeps_its_goodput_at_ten_times_the_load(fire: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL", "tidemill.guard")

    async def story() -> tuple[Load, Load, float]:
        ask = guarded(api_calls=4, api_queue=16)
        best = await closed(ask, 8, 2)
        under = await flood(ask, 10 * best.goodput, 4)
        return best, under, await recovered(ask, WORK_S * 2, 10)

    with fire(AREA, "guard, 10 x", count=0) as case:
        best, under, recovery_s = asyncio.run(story())
        case.count = sum(under.statuses.values())
        case.notes = {"best": best.goodput, "kept": under.goodput / best.goodput, "recovery_s": recovery_s}
        assert under.offered > 5 * best.goodput, "this machine cannot even send so much"
        hold(best, under, recovery_s, 0.8)


def test_who_has_waited_long_is_told_to_come_back(fire: Any) -> None:
    async def story() -> list[tuple[int, str | None]]:
        ask = guarded(api_calls=1, api_queue=64, api_wait_s=WORK_S * 3)
        return await asyncio.gather(*(ask() for _ in range(20)))

    with fire(AREA, "waited long", count=20):
        answers = asyncio.run(story())
        statuses = [status for status, _ in answers]
        assert 1 <= statuses.count(200) <= 8 and statuses.count(503) == 20 - statuses.count(200)
        assert {hint for status, hint in answers if status == 503} == {"1"}


@pytest.mark.stack
@pytest.mark.parametrize("heeding", [True, False], ids=["who wait as told", "who do not"])
def test_the_deployed_api_keeps_its_goodput_at_ten_times_the_load(stack: Any, fire: Any, heeding: bool) -> None:
    split = httpx.URL(stack.api_url)
    request = f"GET {split.path.rstrip('/')}/health HTTP/1.1\r\nhost: {split.netloc.decode()}\r\n\r\n".encode()

    async def story() -> tuple[Load, Load, float]:
        pool = Pool("127.0.0.1", stack.port, request)
        await closed(pool.ask, 4, 2)
        best = max([await closed(pool.ask, count, 3) for count in (2, 4, 8)], key=lambda load: load.goodput)
        began = time.monotonic()
        await pool.ask()
        usual_s = max(0.05, time.monotonic() - began)
        under = await closed(pool.heeding if heeding else pool.ask, CALLERS if heeding else STUBBORN, 8)
        found = best, under, await recovered(pool.ask, usual_s * 4, 10)
        pool.close()
        return found

    with fire(AREA, f"deployed, 10 x, callers {'wait' if heeding else 'do not wait'}", count=0) as case:
        best, under, recovery_s = asyncio.run(story())
        case.count = sum(under.statuses.values())
        case.notes = {"best": best.goodput, "kept": under.goodput / best.goodput, "recovery_s": recovery_s}
        print(case.notes, under.statuses, under.offered)
        hold(best, under, recovery_s, 0.8)


class Pool:
    """Connections that stay open, each with one request at a time."""

    def __init__(self, host: str, port: int, request: bytes) -> None:
        self.host, self.port, self.request = host, port, request
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def ask(self) -> tuple[int, str | None]:
        """Send the request; its status and Retry-After."""
        reader, writer = self.idle.pop() if self.idle else await asyncio.open_connection(self.host, self.port)
        writer.write(self.request)
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        headers = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if ": " in line)
        await reader.readexactly(int(headers.get("content-length", 0)))
        self.idle.append((reader, writer))
        return int(head.split()[1]), headers.get("retry-after")

    async def heeding(self) -> tuple[int, str | None]:
        """The same, and come back when it is said to."""
        status, hint = await self.ask()
        await asyncio.sleep(float(hint or 0))
        return status, hint

    def close(self) -> None:
        """Close what is open."""
        for _, writer in self.idle:
            writer.close()
