"""Values as JSON can carry them: DynamoDB's Decimals and sets, and floats that are no numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

_INNER = frozenset(
    {"pk", "sk", "head", "hash", "holder", "attempt", "epoch", "lease_until", "swept"}
)  # the table's own business


def plain(value: Any) -> Any:
    """The value with int, float, str, bool, None, list and dict only; NaN and infinities become null."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((plain(item) for item in value), key=str)
    if isinstance(value, Decimal):
        return _number(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def public(item: Mapping[str, Any]) -> dict[str, Any]:
    """A registry item as the API shows it: without the table's keys and bookkeeping."""
    return {key: plain(value) for key, value in item.items() if key.lower() not in _INNER}


def _number(value: Decimal) -> int | float | None:
    if not value.is_finite():
        return None
    return int(value) if value == value.to_integral_value() else float(value)
