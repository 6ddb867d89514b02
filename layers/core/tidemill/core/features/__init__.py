"""The feature program: what turns rows into a model's numbers, fitted once, replayed everywhere."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tidemill.core.errors import BadBundle
from tidemill.core.features import fitting
from tidemill.core.features.kinds import Category, Moment, Number
from tidemill.core.features.program import Columns, Program

if TYPE_CHECKING:  # reading specifications is not needed where programs are only replayed
    from tidemill.core.spec import Spec

__all__ = ["Category", "Columns", "Moment", "Number", "Program", "fit", "load", "save"]

NAME, ARRAYS = "features.json", "features.npz"


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


def save(folder: Path, program: Any) -> None:
    """Write features.json, and features.npz where a program has arrays that would be long as text."""
    (folder / NAME).write_text(json.dumps(program.to_json(), indent=1, allow_nan=False) + "\n", encoding="utf-8")
    if hasattr(program, "arrays"):
        import numpy as np

        np.savez(folder / ARRAYS, allow_pickle=False, **program.arrays())


def load(folder: Path) -> Any:
    """The program that `save` wrote: a Program, a PictureProgram or a TextProgram; raises BadBundle."""
    value = json.loads((folder / NAME).read_text(encoding="utf-8"))
    modality = value.get("modality", "table")
    if modality == "picture":
        from tidemill.core.features.pictures import PictureProgram

        return PictureProgram.from_json(value)
    if modality == "text":
        import numpy as np

        from tidemill.core.features.texts import TextProgram

        try:
            with np.load(folder / ARRAYS, allow_pickle=False) as stored:
                arrays = dict(stored)
        except (OSError, ValueError) as error:
            raise BadBundle(f"{ARRAYS} cannot be read: {error}.", remedy="Train again.") from error
        return TextProgram.from_json(value, arrays)
    return Program.from_json(value)
