"""What a long piece of work says about itself while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One report: the stage in words, the step reached of how many (0 steps: unknown), and a line for a person."""

    stage: str
    step: int = 0
    steps: int = 0
    message: str = ""


Report = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """Say nothing: the default where nobody listens."""
