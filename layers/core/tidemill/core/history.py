"""Which version served when, since when, moved by whom and why: the moves of the aliases, read as a story."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from tidemill.core.errors import BadBody
from tidemill.core.table import Item

CHAMPION, CHALLENGER = "champion", "challenger"
_CHAMPION = ("version", "previous", "pinned", "by", "why", "at", "rev")
_CHALLENGER = ("version", "share", "shadow", "live", "by", "why", "at")


def told(move: Item) -> Item:
    """One move as people are told of it: the alias that moved, where to, who moved it, why and when."""
    if move.get("moved") == CHALLENGER:
        found = move["challenger"]
        return {"alias": CHALLENGER, **{name: found.get(name) for name in _CHALLENGER}, "rev": move["rev"]}
    return {"alias": CHAMPION, **{name: move.get(name) for name in _CHAMPION}}


def serving_at(moves: Sequence[Item], at: str) -> Item:
    """Both aliases as they stood at a time (`moves` newest first): version, since when, by whom and why; or None."""
    known = [move for move in moves if told(move)["at"] <= at]
    if not known:
        return {CHAMPION: None, CHALLENGER: None}
    challenger = known[0].get("challenger")
    return {
        CHAMPION: _since(known),
        CHALLENGER: {name: challenger.get(name) for name in _CHALLENGER} if challenger and challenger["live"] else None,
    }


def _since(moves: Iterable[Item]) -> Item:
    """The champion after these moves (newest first), with the move that brought it."""
    brought: Item = {}
    for move in moves:
        if brought and move["version"] != brought["version"]:
            break
        brought = {**told({**move, "moved": CHAMPION}), "pinned": brought.get("pinned", move["pinned"])}
    return {"since": brought.pop("at"), **brought}


def moment(text: str) -> str:
    """A time as the registry writes it; raises BadBody for what is no ISO 8601 time. Without a zone it is UTC."""
    try:
        at = datetime.fromisoformat(text)
        at = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise BadBody(
            f"{text[:40]!r} is no time.", code="BAD_TIME", remedy="Write it as 2026-11-22T21:30:00Z."
        ) from error
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
