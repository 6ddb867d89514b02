"""The commands that ask the model, as they stand on the card: a row or a text in the body, a picture from a file."""

from __future__ import annotations

from typing import Any

from tidemill.training.card import text
from tidemill.training.card.words import modality_of

Facts = dict[str, Any]
_BODY = "  --data-binary @- <<'JSON'\n{row}\nJSON"  # quoted: no value can leave its place in the shell
_FILE = "  --data-binary @photo.jpg"


def calls(card: Facts) -> dict[str, str]:
    """A command for each verb."""
    return {verb: _call(card, verb) for verb in ("predict", "explain")}


def _call(card: Facts, verb: str) -> str:
    is_picture = modality_of(card) == "picture"
    kind = "image/jpeg" if is_picture else "application/json"
    body = _FILE if is_picture else _BODY.format(row=text.json_line({"row": card["request"]}, indent=1))
    return (
        f'curl "$TIDEMILL_URL/models/{text.visible(card["model"], 63)}/{verb}" \\\n'
        f'  -H "x-api-key: $TIDEMILL_KEY" -H "content-type: {kind}" \\\n{body}'
    )
