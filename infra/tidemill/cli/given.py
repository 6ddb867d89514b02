"""What predict and explain were given: rows, files of pictures, or texts; as rows that a request can carry."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from tidemill.cli.client import Api
from tidemill.cli.failures import NoFile
from tidemill.cli.rows import Row, read_rows
from tidemill.core.errors import BadRequest

LARGE_BYTES = 3 << 20  # a picture of more goes to the bucket first: base64 makes it a third longer
PICTURE, KEY = "picture", "key"


def rows_of(
    api: Api, model: str, row: str | None, file: str | None, pictures: Sequence[Path], texts: Sequence[str]
) -> list[Row]:
    """The rows that were given; exactly one of the four ways."""
    ways = [row is not None, file is not None, bool(pictures), bool(texts)]
    if sum(ways) != 1:
        raise click.UsageError(
            "Give either --row '{...}', --file PATH ('-' reads standard input), files of pictures, or --text \"...\"."
        )
    if pictures:
        return [_picture(api, model, path) for path in pictures]
    if texts:
        column = _text_column(api, model)
        return [{column: text} for text in texts]
    return read_rows(row, file)


def _picture(api: Api, model: str, path: Path) -> Row:
    """A picture in base64; a large one is sent to the model's inbox and named by its key."""
    try:
        size = path.stat().st_size
        if size <= LARGE_BYTES:
            return {PICTURE: base64.b64encode(path.read_bytes()).decode()}
    except OSError as error:
        raise NoFile(f"{path} cannot be read ({error.strerror}).", remedy="Check the path.") from error
    body = {"model": model, "filename": path.name, "size_bytes": size, "purpose": "predict"}
    form = api.post("/uploads", body)
    api.send_file(form, path, lambda done, whole: None)
    return {KEY: form["key"]}


def _text_column(api: Api, model: str) -> str:
    """The column that the model reads texts from."""
    columns = (api.get(f"/models/{model}").get("input") or {}).get("columns", [])
    found: list[Any] = [column["name"] for column in columns if column["kind"] == "text"]
    if not found:
        raise BadRequest(
            f"The model {model!r} reads no texts.", code="WRONG_MODALITY", remedy="Give its rows with --row or --file."
        )
    return str(found[0])
