"""What comes out about files that were scored."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from tidemill.serving.app.shapes import Shown


class ResultFile(Shown):
    """A file of a scoring's results."""

    name: str = Field(description="predictions.csv (.jsonl, .parquet: as the file was), rejects.csv")
    size_bytes: int
    sha256: str
    url: str | None = Field(None, description="Where to fetch it from, for a quarter of an hour.")


class Scoring(Shown):
    """One journey of a file of rows: to its predictions, or to a reason why not."""

    scoring: str
    model: str
    state: str = Field(description="RECEIVED, RUNNING, DONE, REJECTED, FAILED")
    version: int | None = Field(None, description="The version that scores all of the file, pinned at its start.")
    request: dict[str, Any] | None = None
    progress: dict[str, Any] | None = None
    rows: dict[str, Any] | None = Field(None, description="in = out + rejected")
    files: list[ResultFile] = []
    reason: dict[str, Any] | None = None
    times: dict[str, Any] | None = None


class Scorings(Shown):
    """Scorings, newest first."""

    scorings: list[Scoring]
