"""One limit's edge: what becomes of so much, at the limit and one past it, through the door that bounds it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tidemill.core.errors import TidemillError


@dataclass(frozen=True)
class Edge:
    """`attempt` is given an amount and an empty folder, and says what came of it: nothing, or a word or code."""

    attempt: Callable[[int, Path], str]
    past: str  # what is said one past the limit
    at: str = ""  # and at it
    step: int = 1  # -1 where less is worse
    small: int = 0  # the limit is set to this, where its own size would take seconds or a gigabyte
    others: Mapping[str, int] = field(default_factory=dict)  # limits that would be met before


def code_of(call: Callable[[], object]) -> str:
    """The code of the refusal; empty where there was none."""
    try:
        call()
    except TidemillError as error:
        assert error.message and error.remedy, error.code
        return error.code
    return ""
