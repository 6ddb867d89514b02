"""Which version serves: put one in service, go back, let one challenge it, and what served when."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse

from tidemill.core.clock import now
from tidemill.core.history import moment, serving_at, told
from tidemill.serving.app import shapes
from tidemill.serving.app.access import OPERATE, PREDICT, caller
from tidemill.serving.app.parameters import At, ModelName
from tidemill.serving.app.plain import plain, public
from tidemill.serving.app.retrains import set_clocks
from tidemill.serving.app.world import Item, World

_INNER = ("challenger", "left", "moved")  # shown elsewhere, or nobody's business


def routes(world: World) -> APIRouter:
    """The routes that move aliases over one world, and the one that tells of their moves."""
    router = APIRouter(tags=["models"])
    registry = world.registry

    @router.post("/models/{model}/promote", response_model=shapes.Alias, openapi_extra=OPERATE)
    def promote(name: ModelName, body: shapes.PromoteRequest, request: Request) -> JSONResponse:
        """Put a version in service by hand. Pinned (the default), no upload moves it; `pin: false` lifts the pin."""
        registry.model(name)
        moved = registry.promote(name, body.version, by=caller(request), why=body.why, pin=body.pin)
        set_clocks(world, name)
        return JSONResponse(shown(moved))

    @router.post("/models/{model}/rollback", response_model=shapes.Alias, openapi_extra=OPERATE)
    def rollback(name: ModelName, body: shapes.RollbackRequest, request: Request) -> JSONResponse:
        """Put the version that served before back in service. With `from`, repeating the call changes nothing."""
        moved = registry.rollback(name, by=caller(request), why=body.why, leaving=body.leaving)
        set_clocks(world, name)
        return JSONResponse(shown(moved))

    _add_canary(router, world)
    _add_history(router, world)
    return router


def _add_canary(router: APIRouter, world: World) -> None:
    @router.post("/models/{model}/canary", response_model=shapes.Challenger, openapi_extra=OPERATE)
    def canary(name: ModelName, body: shapes.CanaryRequest, request: Request) -> JSONResponse:
        """Let a version answer a share of the requests, or score it unseen (`shadow`), until it is stopped.

        Broken limits of `[canary]` stop it by themselves.
        """
        by, share = caller(request), float(body.share)
        moved = world.registry.challenge(name, body.version, share=share, shadow=body.shadow, by=by, why=body.why)
        return JSONResponse(_challenger(moved))

    @router.post("/models/{model}/canary/stop", response_model=shapes.Challenger, openapi_extra=OPERATE)
    def stop_canary(name: ModelName, body: shapes.StopRequest, request: Request) -> JSONResponse:
        """Let the version in service answer every request again."""
        return JSONResponse(_challenger(world.registry.stop_challenger(name, by=caller(request), why=body.why)))


def _add_history(router: APIRouter, world: World) -> None:
    @router.get("/models/{model}/history", response_model=shapes.History, openapi_extra=PREDICT)
    def history(name: ModelName, at: At = None) -> JSONResponse:
        """Tell which version served at a time (now when left out), since when, moved by whom and why."""
        when = now() if at is None else moment(at)
        moves = world.registry.moves(name)
        if not moves:
            world.registry.model(name)  # raises UnknownModel
        found = {"model": name, "at": when, **serving_at(moves, when), "moves": [told(move) for move in moves]}
        return JSONResponse(plain(found))


def shown(alias: Item) -> dict[str, Any]:
    """The champion as the API shows it."""
    return public({name: value for name, value in alias.items() if name not in _INNER})


def _challenger(alias: Item) -> dict[str, Any]:
    return {"model": alias["model"], **public(alias["challenger"]), "champion": alias["version"]}
