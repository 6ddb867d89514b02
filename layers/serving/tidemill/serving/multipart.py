"""Forms as browsers and curl send them (multipart/form-data, RFC 7578), read in one pass over the bytes."""

from __future__ import annotations

import re
from typing import NamedTuple

from tidemill.core.errors import BadRequest, TooLarge
from tidemill.core.limits import limit

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s";,]{1,70}))', re.I)  # 70: RFC 2046
_NAME = re.compile(rb';\s*name=(?:"((?:[^"\\]|\\.)*)"|([^\s";,]+))', re.I)
_DISPOSITION = b"content-disposition:"
_HEAD_BYTES = 8_192  # the headers of a part


class Part(NamedTuple):
    """One field of a form."""

    name: str
    content: bytes


def parts(body: bytes, content_type: str) -> list[Part]:
    """The fields of a form in their order; raises BadRequest where it is cut off or broken, TooLarge for too many."""
    found = _BOUNDARY.search(content_type)
    if not found:
        raise _broken("its content type names no boundary")
    mark = b"\r\n--" + (found[1] or found[2]).encode(errors="replace")
    most = limit("request_parts")
    _, *pieces = (b"\r\n" + body).split(mark, most + 1)
    if len(pieces) > most and not pieces[most].startswith(b"--"):
        raise TooLarge(
            f"The form has more than {most} parts.",
            remedy="Send them in several requests.",
            limit_parts=most,
        )
    read: list[Part] = []
    for piece in pieces:
        if piece.startswith(b"--"):
            return read
        read.append(_part(piece))
    raise _broken("it ends before its last boundary")


def _part(piece: bytes) -> Part:
    head, gap, content = piece.partition(b"\r\n\r\n")
    if not gap or len(head) > _HEAD_BYTES:
        raise _broken("a part has no end of its headers")
    for line in head.split(b"\r\n"):
        if line.lower().startswith(_DISPOSITION) and (found := _NAME.search(line)):
            name = found[2] if found[1] is None else re.sub(rb"\\(.)", rb"\1", found[1])
            return Part(name.decode(errors="replace"), content)
    raise _broken("a part has no name")


def _broken(why: str) -> BadRequest:
    return BadRequest(
        f"The form cannot be read: {why}.",
        code="FORM_INVALID",
        remedy='Let the client make it: curl -F "picture=@photo.jpg" sets boundary and headers by itself.',
    )
