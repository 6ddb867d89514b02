"""Models, their versions and cards."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse, JSONResponse

from tidemill.core import costs, prices
from tidemill.core.aliases import live_challenger
from tidemill.core.errors import NoChampion, NotFound
from tidemill.serving.app import search_shapes, shapes
from tidemill.serving.app.access import PREDICT
from tidemill.serving.app.aliases import shown
from tidemill.serving.app.artifacts import input_schema, read_json, read_text, search_of
from tidemill.serving.app.bills import COST, cost_section
from tidemill.serving.app.parameters import ModelName, Number, Which
from tidemill.serving.app.plain import plain, public
from tidemill.serving.app.world import Item, World

LATEST_RUNS = 10
# A card is made from the user's data, so it may style itself and show inline pictures, and do nothing else.
CARD_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'none'"


def routes(world: World) -> APIRouter:
    """The reading routes over one world."""
    router = APIRouter(tags=["models"])
    registry = world.registry

    @router.get("/models", response_model=shapes.Models, openapi_extra=PREDICT)
    def list_models() -> JSONResponse:
        """List every model with its version in service and the state of its last run."""
        return JSONResponse({"models": [_summary(item) for item in registry.models()]})

    @router.get("/models/{model}", response_model=shapes.Model, openapi_extra=PREDICT)
    def get_model(name: ModelName) -> JSONResponse:
        """Show a model: the version in service, the latest runs, the columns it reads and a row to try."""
        return JSONResponse(_overview(world, name))

    @router.get("/models/{model}/versions", response_model=shapes.Versions, openapi_extra=PREDICT)
    def list_versions(name: ModelName) -> JSONResponse:
        """List the versions of a model, newest first."""
        found = registry.versions(name)
        if not found:
            registry.model(name)  # raises UnknownModel
        return JSONResponse({"versions": [public(item) for item in found]})

    @router.get("/models/{model}/versions/{number}", response_model=shapes.Version, openapi_extra=PREDICT)
    def get_version(name: ModelName, number: Number) -> JSONResponse:
        """Show a version with everything measured on its test rows."""
        registry.model(name)
        item = registry.version(name, number)
        metrics = public(read_json(world, _file(item, "metrics.json")))
        return JSONResponse({**public(item), "metrics": metrics, "cost": _cost(world, item)})

    @router.get(
        "/models/{model}/versions/{number}/search", response_model=search_shapes.Searched, openapi_extra=PREDICT
    )
    def get_search(name: ModelName, number: Number) -> JSONResponse:
        """Show what was tried before a version was chosen: every trial, its losses, its share in the model."""
        registry.model(name)
        item = registry.version(name, number)
        found = search_of(world, _file(item, "search.json"))
        return JSONResponse({"model": name, "version": number, "search": plain(found)})

    @router.get(
        "/models/{model}/card",
        response_class=HTMLResponse,
        openapi_extra=PREDICT,
        responses={200: {"content": {"text/html": {}}, "description": "The model card."}},
    )
    def get_card(name: ModelName, version: Which = None) -> HTMLResponse:
        """Read the model card in a browser (user `key`, password: a key)."""
        item = _chosen(world, name, version)
        text = read_text(world, _file(item, "card.html")).replace(COST, cost_section(_cost(world, item)), 1)
        return HTMLResponse(text, headers={"content-security-policy": CARD_POLICY})

    @router.get("/models/{model}/card.json", openapi_extra=PREDICT)
    def get_card_json(name: ModelName, version: Which = None) -> JSONResponse:
        """Read the model card as JSON."""
        item = _chosen(world, name, version)
        return JSONResponse({**public(read_json(world, _file(item, "card.json"))), "cost": _cost(world, item)})

    return router


def _cost(world: World, version: Item) -> dict[str, Any]:
    """What a version's training cost, was estimated to cost, and what a thousand predictions cost."""
    table = prices.load()
    try:
        run = world.registry.run(str(version["model"]), str(version["run"]))
    except NotFound:
        run = {}
    return {
        "training": costs.spent(run, table),
        "estimate": plain(run.get("estimate")),
        "thousand_predictions": costs.thousand(version, table),
    }


def _summary(item: Item) -> dict[str, Any]:
    champion, last = item.get("champion") or {}, item.get("last_run") or {}
    return {
        **{"task": None, **public(item)},
        "champion": champion.get("version"),
        "last_run": last.get("run"),
        "state": last.get("state"),
    }


def _overview(world: World, name: str) -> dict[str, Any]:
    item = world.registry.model(name)
    champion, last = item.get("champion"), item.get("last_run")
    challenger = live_challenger(champion)
    return {
        **public(item),
        "champion": shown(champion) if champion else None,
        "challenger": public(challenger) if challenger else None,
        "last_run": last["run"] if last else None,
        "runs": [public(run) for run in world.registry.runs(name)[:LATEST_RUNS]],
        "input": _input(world, name, champion),
    }


def _input(world: World, name: str, alias: Item | None) -> dict[str, Any] | None:
    """The input schema of the version in service; None before the first, or where its dataset is gone."""
    if not alias:
        return None
    dataset = world.registry.version(name, int(alias["version"])).get("dataset")
    try:
        return public(input_schema(world, name, str(dataset)))
    except NotFound:
        return None


def _chosen(world: World, name: str, version: int | None) -> Item:
    """The version item asked for, or the one in service."""
    world.registry.model(name)
    if version is not None:
        return world.registry.version(name, version)
    alias = world.registry.alias(name)
    if not alias:
        raise NoChampion(
            f"{name} has no version in service.",
            remedy=f"See GET /models/{name}/runs, or name a version: ?version=1.",
        )
    return world.registry.version(name, int(alias["version"]))


def _file(version: Item, name: str) -> str:
    """The key of a file of a version's bundle."""
    bundle = str(version.get("bundle") or "")
    if not bundle:
        raise NotFound(f"Version {version.get('version')} has no bundle.", remedy="Train the model again.")
    return bundle.rstrip("/") + "/" + name
