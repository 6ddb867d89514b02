"""Backbones: a presigned form for a file of one, and which there are."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tidemill.core.backbones import FILES, PREFIX, key_of, listed
from tidemill.core.errors import BadRequest, Conflict, TooLarge
from tidemill.core.limits import limit
from tidemill.core.names import check_backbone
from tidemill.serving.app import shapes
from tidemill.serving.app.access import OPERATE
from tidemill.serving.app.world import World


def routes(world: World) -> APIRouter:
    """The backbone route over one world."""
    router = APIRouter(tags=["data"])

    @router.get("/backbones", response_model=shapes.Backbones, openapi_extra=OPERATE)
    def list_backbones() -> JSONResponse:
        """List the frozen networks that a specification may name; POST /uploads adds one."""
        return JSONResponse({"backbones": listed(world.data)})

    return router


def folder_of(world: World, body: shapes.UploadRequest) -> str:
    """Where a file of a backbone is to go; raises what is wrong with the request, Conflict where it is there already.

    The files of a name never change: a specification that names it means the same at every time.
    """
    name, most = check_backbone(body.model), limit("backbone")
    if body.filename not in FILES:
        raise BadRequest(
            f"{body.filename[:80]!r} is no file of a backbone.",
            code="BAD_FILENAME",
            remedy=f"It is one of {', '.join(map(repr, FILES))}.",
        )
    if body.size_bytes is not None and body.size_bytes > most:
        raise TooLarge(
            f"The file has {body.size_bytes} bytes; {most} are taken.",
            remedy="Save the weights as float16, or take a smaller network.",
            limit_bytes=most,
        )
    if world.data.exists(key_of(name, body.filename)):
        raise Conflict(
            f"The backbone {name!r} has its {body.filename} already.",
            code="BACKBONE_EXISTS",
            remedy="Give other weights another name; models that were trained with these stay what they are.",
        )
    return f"{PREFIX}{name}"
