"""The feature program: what turns columns into a model's numbers, fitted once, replayed everywhere."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tidemill.core.features import fitting
from tidemill.core.features.kinds import Category, Moment, Number
from tidemill.core.features.program import Columns, Program

if TYPE_CHECKING:  # reading specifications is not needed where programs are only replayed
    from tidemill.core.spec import Spec

__all__ = ["Category", "Columns", "Moment", "Number", "Program", "fit"]


def fit(columns: Columns, schema: dict[str, Any], spec: Spec) -> Any:
    """The program fitted on training columns: of the kind that the data set holds, a table where it does not say."""
    if schema.get("modality") == "text":
        from tidemill.core.features import text_fitting  # tables are served without it

        return text_fitting.fit(columns, schema, spec)
    return fitting.fit(columns, schema, spec)
