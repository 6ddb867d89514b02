"""What goes in and what comes out about requests that were answered: labels, and reports of drift."""

from __future__ import annotations

from typing import Any

from pydantic import ConfigDict, Field

from tidemill.serving.app.shapes import Request, Shown


class TrueLabel(Request):
    """What was true of one row of one prediction."""

    request: str = Field(description="The header x-request-id of the prediction.", max_length=128)
    row: int = Field(0, ge=0, description="Which row of the request, from 0.")
    label: str | int | float | bool = Field(description="One of the model's labels, or the true value.")


class FeedbackRequest(Request):
    """Labels for rows that were predicted."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"labels": [{"request": "Zkc1jhYvIAMEVxQ=", "row": 0, "label": ">50K"}]}}
    )
    labels: list[TrueLabel]


class FeedbackTaken(Shown):
    """The labels were kept."""

    model: str
    labels: int = Field(description="How many rows have a label now; the same row named twice counts once.")
    feedback: str = Field(description="The id of what was kept, the same for the same labels.")


class ReportSummary(Shown):
    """A report on recent requests."""

    time: str
    version: int
    since: str
    until: str
    rows: int
    drifted: list[str] = Field(description="Columns, scores and `performance` that changed beyond chance.")
    words: str


class Reports(Shown):
    """Reports, newest first."""

    reports: list[ReportSummary]
    waiting: dict[str, Any] | None = Field(
        None, description="Rows that came since the last report, and how many it takes."
    )


class Report(Shown):
    """A whole report."""

    time: str
    version: int
    words: str
    drifted: list[str]
    bound: float = Field(description="The p-value below which a test counts.")
    columns: list[dict[str, Any]]
    scores: list[dict[str, Any]]
    performance: dict[str, Any]
    quality: list[str]
