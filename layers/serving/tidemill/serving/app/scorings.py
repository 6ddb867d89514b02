"""Files that were scored: how far they are, and links to what came back."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from tidemill.serving.app import scoring_shapes
from tidemill.serving.app.access import PREDICT
from tidemill.serving.app.parameters import ModelName, ScoringId, UploadId
from tidemill.serving.app.plain import public
from tidemill.serving.app.runs import of_upload
from tidemill.serving.app.world import Item, World

LINK_S = 15 * 60  # S3 checks at the start of the download


def routes(world: World) -> APIRouter:
    """The scoring routes over one world."""
    router = APIRouter(tags=["scorings"])

    @router.get("/models/{model}/scorings", response_model=scoring_shapes.Scorings, openapi_extra=PREDICT)
    def list_scorings(name: ModelName, upload: UploadId = None) -> JSONResponse:
        """List the files that were scored for a model, newest first; `upload` finds the scoring of one upload."""
        found = world.scorings.of(name)
        if not found:
            world.registry.model(name)  # raises UnknownModel
        if upload is not None:
            found = [item for item in found if of_upload({"upload": item["request"]}, upload)]
        return JSONResponse({"scorings": [public(item) for item in found]})

    @router.get("/models/{model}/scorings/{scoring}", response_model=scoring_shapes.Scoring, openapi_extra=PREDICT)
    def get_scoring(name: ModelName, scoring: ScoringId) -> JSONResponse:
        """Show a scoring: its state, how far it is, and links to its results or the reason why there are none."""
        item = public(world.scorings.get(name, scoring))
        files = [{**file, "url": _link(world, item, file["name"])} for file in item.get("files", [])]
        return JSONResponse({**item, "files": files})

    return router


def _link(world: World, item: Item, name: str) -> str:
    """A presigned link to one file, which needs no key."""
    where: dict[str, Any] = {"Bucket": world.artifacts.bucket, "Key": item["results"] + name}
    link: str = world.artifacts.client.generate_presigned_url("get_object", Params=where, ExpiresIn=LINK_S)
    return link
