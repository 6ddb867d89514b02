"""A few test rows with their answers and what led to them: the examples on a model's card."""

from __future__ import annotations

from typing import Any

from tidemill.training.dataset import Dataset
from tidemill.training.evaluate import Model
from tidemill.training.examples import rows
from tidemill.training.explain import Explainer

__all__ = ["examples_of"]


def examples_of(model: Model, explainer: Explainer, data: Dataset) -> dict[str, Any]:
    """The `examples` a card takes: a request, explanations, and for pictures and texts the worst mistakes."""
    modality = data.schema.get("modality", "table")
    if modality == "picture":
        from tidemill.training.examples import pictures  # Pillow is not needed for tables

        return pictures.examples_of(model, explainer, data)
    if modality == "text":
        from tidemill.training.examples import texts

        return texts.examples_of(model, explainer, data)
    return rows.examples_of(model, explainer, data)
