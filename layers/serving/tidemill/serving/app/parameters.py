"""The parameters that several routes share, each checked in one place."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Path, Query

from tidemill.core.names import addressed

_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$"


def _model_name(model: Annotated[str, Path(description="The name of the model.")]) -> str:
    return addressed(model)


ModelName = Annotated[str, Depends(_model_name)]
Number = Annotated[int, Path(ge=1, le=10**9, description="The number of the version.")]
RunId = Annotated[str, Path(pattern=_ID, description="The id of the run.")]
ScoringId = Annotated[str, Path(pattern=_ID, description="The id of the scoring.")]
Since = Annotated[int, Query(ge=0, le=10**15, description="Milliseconds since 1970: only lines from then on.")]
UploadId = Annotated[str | None, Query(pattern=_ID, description="Only the runs of this upload.")]
At = Annotated[str | None, Query(max_length=40, description="A time (ISO 8601; UTC where it names no zone).")]
Which = Annotated[int | None, Query(ge=1, le=10**9, description="A version; the one in service when left out.")]
