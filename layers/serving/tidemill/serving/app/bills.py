"""The bill on a card: prices change and machines differ, so it is added when the card is shown, not kept in it."""

from __future__ import annotations

import html
from typing import Any

COST = "<!--cost-->"  # where a card has room for it


def cost_section(cost: dict[str, Any]) -> str:
    """What training cost and what predictions cost, as a section of the page; empty where nothing is known."""
    lines = [line for line in (_training(cost), _predictions(cost)) if line]
    if not lines:
        return ""
    items = "".join(f"<li>{html.escape(line)}</li>" for line in lines)
    return f"<section><h2>Cost</h2><ul>{items}</ul></section>"


def _training(cost: dict[str, Any]) -> str:
    found, expected = cost.get("training"), cost.get("estimate") or {}
    if not found:
        return ""
    said = f" Expected were {expected['usd']:.2f} {expected['currency']}." if "usd" in expected else ""
    return (
        f"Training took {found['seconds']:,.0f} s: {found['usd']:.2f} {found['currency']} at list prices of "
        f"{found['prices']} ({found['machine']}), the start of the machine included.{said}"
    )


def _predictions(cost: dict[str, Any]) -> str:
    found = cost.get("thousand_predictions")
    if not found:
        return ""
    return (
        f"A thousand warm requests of one row: {found['usd']:.4g} {found['currency']} "
        f"({found['billed_ms']} ms each; reading pictures and starts of the function not counted)."
    )
