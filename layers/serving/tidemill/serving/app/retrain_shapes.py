"""What goes in and what comes out of the routes about training again."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from tidemill.serving.app.shapes import Request, Shown, Why


class RetrainRequest(Request):
    """Train a model again."""

    model_config = ConfigDict(json_schema_extra={"example": {"why": "prices changed on Monday"}})
    why: Why = ""


class ScheduleRequest(Request):
    """Pause what starts by itself, or let it go on."""

    model_config = ConfigDict(json_schema_extra={"example": {"paused": True}})
    paused: bool


class Asked(Shown):
    """A wish that was taken: what comes of it is in GET /models/{model}/retrains under this `ask`, within seconds."""

    model: str
    ask: str
    at: str


class Attempt(Shown):
    """What came of a wish to train again: an `upload`, whose run is a run like any other, or the `reason` for none."""

    model: str
    at: str
    state: str = Field(description="STARTED or REFUSED")
    why: str = Field(description="schedule, drift, labels or hand")
    upload: str | None = Field(None, description="GET /models/{model}/runs?upload=ID finds its run.")
    reason: dict[str, Any] | None = None
    rows: dict[str, Any] | None = Field(
        None, description="Rows of the upload it is based on, labelled rows put below, labels whose row is not known."
    )
    again: int | None = Field(None, description="How often a clock was refused for this reason since.")


class Attempts(Shown):
    """Attempts, newest first."""

    retrains: list[Attempt]


class Clocks(Shown):
    """What starts by itself for a model."""

    model: str
    version: int | None = Field(None, description="The version in service, whose specification counts.")
    paused: bool
    retrain: str | None = None
    monitor: str | None = None
    on_drift: bool | None = None
    min_new_labels: int | None = None
    switch: dict[str, Any] = Field({}, description="Who last paused it or let it go on, and when.")
