"""Examples of pictures and texts as the card tells and draws them: typical answers, and the worst mistakes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from markupsafe import Markup

from tidemill.training.card import marks
from tidemill.training.card.words import modality_of

Facts = dict[str, Any]
_PNG = re.compile(r"data:image/png;base64,[A-Za-z0-9+/]+={0,2}")


def told(items: Sequence[Facts], modality: str) -> list[Facts]:
    """The facts of examples; of pictures only what is a picture and nothing else."""
    if modality != "picture":
        return [dict(item) for item in items]
    return [{**item, **{name: _picture(item.get(name)) for name in ("picture", "heat")}} for item in items]


def _picture(value: Any) -> str | None:
    return value if isinstance(value, str) and _PNG.fullmatch(value) else None


def drawn(card: Facts) -> dict[str, list[tuple[Facts, Markup | None, Facts]]]:
    """Explanations and mistakes, those of texts with the marked text and its strongest words."""
    modality = modality_of(card)
    return {kind: [_drawn(item, modality) for item in card[kind]] for kind in ("explanations", "mistakes")}


def _drawn(item: Facts, modality: str) -> tuple[Facts, Markup | None, Facts]:
    return (item, marks.marked(item), marks.strongest(item)) if modality == "text" else (item, None, {})
