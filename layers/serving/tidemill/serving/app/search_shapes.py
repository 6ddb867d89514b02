"""What comes out about what was tried before a version was chosen."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tidemill.serving.app.shapes import Shown


class Trial(Shown):
    """One configuration that was tried; losses are those of validation rows."""

    id: str
    family: str
    settings: dict[str, Any] = {}
    rungs: list[dict[str, Any]] = Field([], description="Epochs and loss at every halt where trials were compared.")
    loss: float | None = Field(None, description="The loss it was judged by; null where it was stopped before.")
    state: str = Field(description="blended (in the model), kept (trained to the end), stopped, diverged")
    share: float | None = Field(None, description="Its share in the model's answers.")
    curve: list[dict[str, Any]] = Field([], description="Losses by epoch.")


class Search(Shown):
    """How a version was chosen."""

    winner: str | None = Field(None, description="Why these parts were chosen, in a sentence.")
    score: str | None = Field(None, description="What the losses are, in words.")
    folds: int | None = Field(None, description="Parts the rows were cut into; 1: the validation split alone.")
    trials: list[Trial] = []
    blend: list[dict[str, Any]] = Field([], description="The parts of the model and their shares, which sum to 1.")


class Searched(Shown):
    """What was tried for a version."""

    model: str
    version: int
    search: Search | None = Field(None, description="Null for versions made before this was written down.")
