"""What became of a model's answers: labels that come back, and the reports of Monitor."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request
from fastapi.responses import HTMLResponse, JSONResponse

from tidemill.core import feedback, reports
from tidemill.core.errors import NoChampion, NotFound
from tidemill.serving.app import report_shapes
from tidemill.serving.app.access import PREDICT, caller
from tidemill.serving.app.artifacts import read_json, read_text
from tidemill.serving.app.models import CARD_POLICY
from tidemill.serving.app.parameters import ModelName
from tidemill.serving.app.plain import plain, public
from tidemill.serving.app.world import World

Time = Annotated[str, Path(pattern=r"^(latest|[0-9TZ-]{10,40})$", description="The time of a report, or `latest`.")]


def routes(world: World) -> APIRouter:
    """The routes of feedback and reports over one world."""
    router = APIRouter(tags=["monitoring"])

    @router.post("/models/{model}/feedback", response_model=report_shapes.FeedbackTaken, openapi_extra=PREDICT)
    def give_feedback(name: ModelName, body: report_shapes.FeedbackRequest, request: Request) -> JSONResponse:
        """Tell what was true of rows that were predicted. Sending the same labels again changes nothing."""
        labels = feedback.checked([item.model_dump() for item in body.labels], _answers(world, name))
        key = feedback.write(world.artifacts, name, labels, caller(request))
        return JSONResponse(
            {"model": name, "labels": len(labels), "feedback": key.rpartition("/")[2].partition(".")[0]}
        )

    @router.get("/models/{model}/reports", response_model=report_shapes.Reports, openapi_extra=PREDICT)
    def list_reports(name: ModelName) -> JSONResponse:
        """List the reports on recent requests, newest first, and what is waited for."""
        world.registry.model(name)
        state = reports.state(world.registry, name)  # type: ignore[arg-type]  # needs the table alone
        found = [public(item) for item in reports.listed(world.registry, name)]
        return JSONResponse({"reports": found, "waiting": plain(state.get("waiting"))})

    @router.get("/models/{model}/reports/{time}", response_model=report_shapes.Report, openapi_extra=PREDICT)
    def get_report(name: ModelName, time: Time) -> JSONResponse:
        """Show a report: every test, how good the answers are, what is worth knowing of the rows."""
        return JSONResponse(plain(read_json(world, _key(world, name, time, "json"))))

    @router.get(
        "/models/{model}/reports/{time}/page",
        response_class=HTMLResponse,
        openapi_extra=PREDICT,
        responses={200: {"content": {"text/html": {}}, "description": "The report."}},
    )
    def get_report_page(name: ModelName, time: Time) -> HTMLResponse:
        """Read a report with its pictures in a browser (user `key`, password: a key)."""
        text = read_text(world, _key(world, name, time, "html"))
        return HTMLResponse(text, headers={"content-security-policy": CARD_POLICY})

    return router


def _key(world: World, model: str, time: str, kind: str) -> str:
    world.registry.model(model)
    return reports.key_of(model, str(reports.one(world.registry, model, time)["time"]), kind)


def _answers(world: World, model: str) -> dict[str, Any]:
    """What the version in service answers: its labels.json."""
    world.registry.model(model)
    alias = world.registry.alias(model)
    if not alias:
        raise NoChampion(f"{model} has no version in service.", remedy="Labels belong to predictions; wait for one.")
    version = world.registry.version(model, int(alias["version"]))
    if not version.get("bundle"):
        raise NotFound(f"Version {version.get('version')} has no bundle.", remedy="Train the model again.")
    return read_json(world, version["bundle"].rstrip("/") + "/labels.json")
