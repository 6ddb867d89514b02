"""Rows as the model that is asked reads them, whatever the way they came, and no more than it can answer in time."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from tidemill.core.errors import BadBody, BadPicture, BadRequest, TooLarge
from tidemill.core.limits import limit
from tidemill.serving.bodies import PICTURE, TEXT
from tidemill.serving.inbox import Inbox
from tidemill.serving.payloads import WAY_ROUND, Payload
from tidemill.serving.predictor import Predictor

Row = dict[str, Any]

KEY = "key"  # what a row has instead of a picture or a text that lies in the inbox
TABLE = "table"
_MOST = {
    (PICTURE, "predict"): "request_pictures",
    (PICTURE, "explain"): "request_pictures_explained",
    (TEXT, "predict"): "request_texts",
    (TEXT, "explain"): "request_texts_explained",
}
_READS = {TABLE: "rows of a table", PICTURE: "pictures", TEXT: "texts"}


def rows_for(predictor: Predictor, payload: Payload, model: str, verb: str, inbox: Inbox) -> list[Row]:
    """The rows of a request for this model; raises BadBody where it reads something else, TooLarge for too many."""
    modality = predictor.modality
    if payload.sent not in ("", modality):
        raise _other(modality, payload.sent, predictor.program.columns)
    if modality == TABLE:
        return payload.rows
    _check_count(predictor, verb, len(payload.rows))
    column = predictor.program.columns[0]
    if payload.sent:
        rows = [{column: row[payload.sent]} for row in payload.rows]
    else:
        rows = _fetched(payload.rows, column, modality, model, inbox)
    return _within_pixels(predictor, rows) if modality == PICTURE else rows


def _fetched(rows: list[Row], column: str, modality: str, model: str, inbox: Inbox) -> list[Row]:
    """The rows, with what lies in the inbox in the place of its key."""
    files = inbox.read(model, {n: row[KEY] for n, row in enumerate(rows) if KEY in row and column not in row})
    if not files:
        return rows
    return [
        {**{name: cell for name, cell in row.items() if name != KEY}, column: _content(modality, files[n], n)}
        if n in files
        else row
        for n, row in enumerate(rows)
    ]


def _within_pixels(predictor: Predictor, rows: list[Row]) -> list[Row]:
    """The pictures as bytes; raises TooLarge where they have more pixels than are decoded in time."""
    from tidemill.core.readers.picture import glance  # needs the library for pictures

    pictures = predictor.program.read_rows(rows)[PICTURE]
    pixels = 0
    for data in pictures:
        with suppress(BadPicture):  # said better, with its row, when it is read
            height, width, _ = glance(data)
            pixels += height * width
    if pixels > limit("request_pixels"):
        raise TooLarge(
            f"The pictures have {pixels} pixels; {limit('request_pixels')} are decoded at once.",
            remedy="Send them in several requests, or scaled down: the longest side is brought to "
            f"{limit('picture_side')} pixels anyway.",
            limit_pixels=limit("request_pixels"),
        )
    return [{PICTURE: data} for data in pictures]


def most_rows(predictor: Predictor, verb: str) -> int:
    """The pictures or texts that are answered at once: fewer explanations where a model looks at many pixels."""
    most = limit(_MOST[predictor.modality, verb])
    if (predictor.modality, verb) != (PICTURE, "explain"):
        return most
    height, width = predictor.program.size
    return max(1, min(most, limit("request_pixels_explained") // int(height * width)))


def _check_count(predictor: Predictor, verb: str, count: int) -> None:
    most, modality = most_rows(predictor, verb), predictor.modality
    if count > most:
        raise TooLarge(
            f"The request has {count} {modality}s; {verb} takes {most} at once.",
            remedy=f"Send them in several requests. {WAY_ROUND}" if modality == PICTURE else "Send several requests.",
            limit_rows=most,
        )


def _content(modality: str, content: bytes, row: int) -> Any:
    """A file as a cell."""
    if modality == PICTURE:
        return content
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(
            f"Row {row}: the file is not UTF-8 at byte {error.start}.",
            code="TEXT_INVALID",
            remedy="Save it as UTF-8.",
            row=row,
        ) from error


def _other(modality: str, sent: str, columns: tuple[str, ...]) -> BadBody:
    return BadBody(
        f"A {sent} is sent to a model that reads {_READS[modality]}.",
        code="WRONG_MODALITY",
        remedy=f'Send {{"rows": [{{"{columns[0]}": ...}}]}} as application/json.',
    )
