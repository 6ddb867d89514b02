"""POST /uploads: a presigned form for one file, to be learned from, predicted or scored, and what goes with it."""

from __future__ import annotations

import re
import secrets
import time
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from tidemill.core import decision
from tidemill.core.backbones import check as check_backbone
from tidemill.core.errors import BadRequest, BadSpec, TooLarge
from tidemill.core.keys import Role
from tidemill.core.limits import limit
from tidemill.core.names import check_model
from tidemill.core.scorings import FOLDER as REQUESTS
from tidemill.core.spec import Spec
from tidemill.serving.app import backbones, shapes
from tidemill.serving.app.access import PREDICT, require
from tidemill.serving.app.world import World
from tidemill.serving.inbox import FOLDER as INBOX

MAX_BYTES = limit("upload")  # what Preprocess reads
EXPIRES_S = 15 * 60  # long enough for a slow line to begin; S3 checks at the start of the upload
SPEC_NAME = "tidemill.toml"
_NAME_LENGTH = 128
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's base 32: sorts as numbers do, no letters that look alike


@dataclass(frozen=True)
class Purpose:
    """What a file is sent for: the folder it goes to, how large it may be, and the role of a key that may ask."""

    folder: str
    most_bytes: int
    role: Role
    too_large: str  # what to do about it


PURPOSES = {
    "train": Purpose("uploads", MAX_BYTES, "operate", "Send fewer rows or columns, or a Parquet file."),
    "predict": Purpose(INBOX, limit("picture_bytes"), "predict", "Save the picture smaller, or cut the text."),
    "score": Purpose(REQUESTS, MAX_BYTES, "predict", "Send it in several files, or as Parquet."),
}


def routes(world: World) -> APIRouter:
    """The upload route over one world."""
    router = APIRouter(tags=["data"])

    @router.post("/uploads", status_code=201, response_model=shapes.Upload, openapi_extra=PREDICT)
    def create_upload(body: shapes.UploadRequest, request: Request) -> JSONResponse:
        """Get a presigned form to send one file with: a data set, rows to be scored, a picture to be predicted.

        The arrival of a data set starts a run; that and a backbone's file take an operate key. One sent with `purpose`
        score starts a scoring. One sent with `purpose` predict waits a day for a request that names its key.
        """
        if body.purpose == "backbone":
            require(request, "operate")
            folder = backbones.folder_of(world, body)
            return JSONResponse(presign(world, folder, body.filename, limit("backbone")), 201)
        purpose = PURPOSES[body.purpose]
        require(request, purpose.role)
        _check(world, body, purpose)
        folder = f"{purpose.folder}/{body.model}/{new_upload()}"
        if body.spec is not None:
            _write_spec(world, folder, body.spec)
        return JSONResponse(presign(world, folder, body.filename, purpose.most_bytes), 201)

    return router


def _check(world: World, body: shapes.UploadRequest, purpose: Purpose) -> None:
    """Raise what is wrong with a request before anything is written for it."""
    check_model(body.model)
    check_filename(body.filename)
    if body.size_bytes is not None and body.size_bytes > purpose.most_bytes:
        raise TooLarge(
            f"The file has {body.size_bytes} bytes; {purpose.most_bytes} are read.",
            remedy=purpose.too_large,
            limit_bytes=purpose.most_bytes,
        )
    if body.purpose != "train":
        world.registry.model(body.model)  # raises UnknownModel
        if body.spec is not None:
            raise BadRequest(
                f"A specification is sent with a file whose purpose is {body.purpose!r}.",
                code="SPEC_NOT_READ",
                remedy='Leave spec out, or send the file with "purpose": "train".',
            )


def presign(world: World, folder: str, filename: str, most_bytes: int = MAX_BYTES) -> dict[str, Any]:
    """A form that S3 accepts for exactly one key, within the size bounds, for a quarter of an hour."""
    key = f"{folder}/{filename}"
    form = world.data.client.generate_presigned_post(
        world.data.bucket, key, Conditions=[["content-length-range", 1, most_bytes]], ExpiresIn=EXPIRES_S
    )
    expires = datetime.now(UTC) + timedelta(seconds=EXPIRES_S)
    return {
        "upload": folder.rpartition("/")[2],
        "key": key,
        "url": form["url"],
        "fields": form["fields"],
        "expires": expires.isoformat(timespec="seconds"),
        "max_bytes": most_bytes,
    }


def check_filename(name: str) -> str:
    """The name itself, if it may be the last part of a key; raises BadRequest (BAD_FILENAME) otherwise."""
    odd = any(unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp") for char in name)
    bad = odd or not name.strip() or name != name.strip() or len(name) > _NAME_LENGTH
    # "${filename}" would turn the exact key of the form into a prefix
    if bad or name in (".", "..") or re.search(r"[/\\]|\$\{", name):
        raise BadRequest(
            f"{name[:80]!r} cannot name a file.",
            code="BAD_FILENAME",
            remedy=f"Send the bare name: 1 to {_NAME_LENGTH} characters, no folder, no control characters.",
        )
    if name.lower() == SPEC_NAME:
        raise BadRequest(
            f"{name!r} is a specification, not data.", code="BAD_FILENAME", remedy="Send its text in the field 'spec'."
        )
    return name


def new_upload(now_ms: int | None = None) -> str:
    """An id that sorts by time: 10 signs of milliseconds and 16 of randomness."""
    value = (now_ms if now_ms is not None else time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_ALPHABET[value >> shift & 31] for shift in range(125, -1, -5))


def _write_spec(world: World, folder: str, text: str) -> None:
    """Check a specification and lay it beside the place of the file, before the file can come."""
    try:
        spec = Spec.from_toml(text)
        decision.check(spec.decision)
    except RecursionError:
        raise BadSpec("tidemill.toml is nested too deeply.", remedy="It needs one level of tables only.") from None
    if spec.train.backbone:
        check_backbone(world.data, spec.train.backbone)
    world.data.write_bytes(f"{folder}/{SPEC_NAME}", text.encode(), "application/toml")
