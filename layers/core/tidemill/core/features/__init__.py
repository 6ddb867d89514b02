"""The feature program: what turns rows into a model's numbers, fitted once, replayed everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidemill.core.features import fitting
from tidemill.core.features.kinds import Category, Moment, Number
from tidemill.core.features.program import Columns, Program

if TYPE_CHECKING:  # reading specifications is not needed where programs are only replayed
    from tidemill.core.spec import Spec

__all__ = ["Category", "Columns", "Moment", "Number", "Program", "fit"]


def fit(columns: Columns, schema: dict[str, Any], spec: Spec) -> Any:
    """Fit the program of the schema's modality: a Program, a PictureProgram or a TextProgram.

    Callers that work with one modality only name the type they expect.
    """
    modality = schema.get("modality", "table")
    if modality == "picture":
        from tidemill.core.features import pictures  # Pillow is not needed for tables, nor present everywhere

        return pictures.fit(columns, schema, spec)
    if modality == "text":
        from tidemill.core.features import text_fitting  # tables are served without it

        return text_fitting.fit(columns, schema, spec)
    return fitting.fit(columns, schema, spec)
