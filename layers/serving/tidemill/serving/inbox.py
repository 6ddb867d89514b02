"""Files that are too large for a request: laid in the data bucket under inbox/{model}/ and named by their key."""

from __future__ import annotations

from typing import Any, Protocol

from tidemill.core.errors import BadBody, Forbidden, NotFound, TooLarge
from tidemill.core.limits import limit
from tidemill.serving.signer import Denied

FOLDER = "inbox"  # not uploads/: nothing is started by what arrives here, and a day later it is gone
_KEY_LENGTH = 512


class Objects(Protocol):
    """Where files are read from."""

    def get_object(self, bucket: str, key: str, most: int | None = None) -> bytes: ...


class Inbox:
    """The inbox of one deployment."""

    def __init__(self, objects: Objects, bucket: str) -> None:
        self.objects, self.bucket = objects, bucket

    def read(self, model: str, keys: dict[int, Any]) -> dict[int, bytes]:
        """The files that rows name by key; raises Forbidden for keys of others, NotFound, or TooLarge."""
        found: dict[int, bytes] = {}
        room = limit("inbox")
        for row, key in keys.items():
            found[row] = self._file(check_key(model, key, row), row, min(room, limit("picture_bytes")))
            room -= len(found[row])
        return found

    def _file(self, key: str, row: int, most: int) -> bytes:
        try:
            return self.objects.get_object(self.bucket, key, most)
        except (NotFound, Denied) as error:  # without the right to list, S3 says of a missing file that it is denied
            raise NotFound(
                f"Row {row}: there is no file {key!r}.",
                code="NO_SUCH_FILE",
                remedy='Files are kept for a day. Send it again: POST /uploads with "purpose": "predict".',
                row=row,
            ) from error
        except TooLarge as error:
            raise TooLarge(
                f"Row {row}: {error.message}",
                remedy=f"A file may have {limit('picture_bytes')} bytes, all files of a request {limit('inbox')}.",
                row=row,
                limit_bytes=most,
            ) from error


def check_key(model: str, key: Any, row: int) -> str:
    """The key itself, if it may name a file in the model's inbox; raises BadBody or Forbidden."""
    if not isinstance(key, str) or len(key) > _KEY_LENGTH or not key.isprintable():
        raise BadBody(f"The key of row {row} is no key of a file.", code="BAD_KEY", remedy=_remedy(model), row=row)
    folders, names = key.split("/")[:2], key.split("/")[2:]
    if folders != [FOLDER, model] or not names or any(name in ("", ".", "..") for name in names):
        raise Forbidden(
            f"The key of row {row} lies outside the inbox of {model!r}.",
            code="FOREIGN_KEY",
            remedy=_remedy(model),
            row=row,
        )
    return key


def _remedy(model: str) -> str:
    return f'Send the file first: POST /uploads with "purpose": "predict" answers with its key, {FOLDER}/{model}/…'
