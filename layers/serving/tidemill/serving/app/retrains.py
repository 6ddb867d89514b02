"""Training again: asking for it, what came of it, and the switch of the clocks."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from tidemill.core import registry as core
from tidemill.core.attempts import attempts
from tidemill.core.clock import now
from tidemill.core.schedules import pause, schedule_of
from tidemill.serving.app import retrain_shapes as shapes
from tidemill.serving.app.access import OPERATE, caller
from tidemill.serving.app.parameters import ModelName
from tidemill.serving.app.plain import public
from tidemill.serving.app.uploads import new_upload
from tidemill.serving.app.world import World

SHOWN = 100


def routes(world: World) -> APIRouter:
    """The routes over one world."""
    router = APIRouter(tags=["training again"])
    registry = cast(core.Registry, world.registry)

    @router.post("/models/{model}/retrain", status_code=202, response_model=shapes.Asked, openapi_extra=OPERATE)
    def ask(name: ModelName, body: shapes.RetrainRequest, request: Request) -> JSONResponse:
        """Train a model again from the newest data and feedback; what comes of it is listed with the number given."""
        registry.model(name)  # raises UnknownModel
        number = new_upload()
        wish = {"wake": "retrain", "model": name, "why": "hand", "ask": number, "by": caller(request)}
        world.wake({**wish, **({"said": body.why} if body.why else {})})
        return JSONResponse({"model": name, "ask": number, "at": now()}, 202)

    @router.get("/models/{model}/retrains", response_model=shapes.Attempts, openapi_extra=OPERATE)
    def list_attempts(name: ModelName) -> JSONResponse:
        """List what came of every wish to train again, the newest first: an upload, or why there is none."""
        registry.model(name)
        return JSONResponse({"retrains": [public(item) for item in attempts(name, registry)[:SHOWN]]})

    @router.get("/models/{model}/schedule", response_model=shapes.Clocks, openapi_extra=OPERATE)
    def get_schedule(name: ModelName) -> JSONResponse:
        """Show when the model is watched and trained again, and whether that is paused."""
        registry.model(name)
        return JSONResponse(_clocks(name, registry))

    @router.post("/models/{model}/schedule", response_model=shapes.Clocks, openapi_extra=OPERATE)
    def set_schedule(name: ModelName, body: shapes.ScheduleRequest, request: Request) -> JSONResponse:
        """Pause everything that starts by itself for a model, or let it go on; it beats what tidemill.toml says."""
        registry.model(name)
        pause(name, registry, paused=body.paused, by=caller(request))
        set_clocks(world, name)
        return JSONResponse(_clocks(name, registry))

    return router


def set_clocks(world: World, name: str) -> None:
    """Have the schedules follow the version that serves now, or the switch."""
    world.wake({"wake": "clocks", "model": name})


def _clocks(name: str, registry: core.Registry) -> dict[str, Any]:
    """The champion's wishes under the switch; before the first version there are none."""
    schedule, alias = schedule_of(name, registry), registry.alias(name)
    switch = registry.table.get(f"MODEL#{name}", "SCHEDULE")
    said = {"paused": bool(switch and switch["paused"])} if schedule is None else asdict(schedule)
    return {"model": name, "version": alias["version"] if alias else None, **said, "switch": public(switch or {})}
