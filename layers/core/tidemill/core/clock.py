"""The time as the registry writes it."""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> str:
    """The current time, ISO 8601, UTC, milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def seconds() -> int:
    """The current time in whole seconds since 1970, for leases."""
    return int(time.time())
