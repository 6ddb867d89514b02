"""Ten thousand requests that schemathesis makes from our own OpenAPI document: never a 5xx, always a document."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from tests.doubles.plane import Plane, with_income
from tests.fire.callers import cases
from tests.serving import bundle_factory
from tests.serving.fake_aws import KEY, running

pytestmark = [pytest.mark.fire, pytest.mark.timeout(1200), pytest.mark.filterwarnings("ignore")]
AREA = "schemathesis"
PLANE, DOOR = 270, 1_000  # cases of a route of the control plane, and of each of the two of Predict's door
HOT = ("/models/{model}/predict", "/models/{model}/explain")
LEAST = 10_000
COUNTED: dict[str, int] = {}


@pytest.fixture(scope="module")
def plane() -> Plane:
    logging.getLogger("api").setLevel(logging.CRITICAL)
    return with_income(Plane())


def named(document: dict[str, Any], model: str = "income") -> dict[str, Any]:
    """The document with names that exist among those that may be sent, so that not everything ends in a 404."""
    known = {"model": [model], "number": [1, 2, 3], "run": ["r-one", "r-bad"], "scoring": ["s-one"]}
    for methods in document["paths"].values():
        for about in methods.values():
            for parameter in about.get("parameters", []):
                if parameter["in"] == "path" and parameter["name"] in known:
                    shape = parameter["schema"]
                    parameter["schema"] = {"anyOf": [{"enum": known[parameter["name"]]}, shape]}
    return document


def test_the_control_plane_answers_whatever_is_sent(plane: Plane, fire: Any) -> None:
    ask = cases.InProcess(plane.app, plane.keys["operate"])
    statuses: dict[int, int] = {}

    def put(request: Any) -> None:
        status, headers, body = ask(request)
        statuses[status // 100] = statuses.get(status // 100, 0) + 1
        cases.check(status, headers, body, ask.key)

    for operation in cases.operations(named(plane.app.openapi())):
        with fire(AREA, operation.label, count=0) as case:
            case.count = cases.put_all(operation, PLANE, put)
            COUNTED[operation.label] = case.count
    ask.loop.close()
    assert statuses[2] > 300 and statuses[4] > 300, f"what was sent was all of one kind: {statuses}"


@pytest.mark.parametrize("path", HOT)
def test_predicts_door_answers_whatever_is_sent(path: str, tmp_path: Path, fire: Any) -> None:
    document = named(Plane().app.openapi())
    (operation,) = [found for found in cases.operations(document) if found.path == path]
    with running() as aws:
        aws.put_bundle(bundle_factory.make(tmp_path / "made"), "income", "r-1", 3)
        door = cases.door_over(aws, tmp_path / "cache")

        def put(request: Any) -> None:
            answer = door.handle(cases.event_of(request, KEY))
            cases.check(answer["statusCode"], answer["headers"], answer["body"].encode(), KEY)

        with fire(AREA, f"door {operation.label}", count=0) as case:
            case.count = COUNTED[f"door {path}"] = cases.put_all(operation, DOOR, put)
        door.pointers.client.close()


def test_it_were_ten_thousand(fire: Any) -> None:
    """A generator that gives up early would make the tests before pass without having asked anything."""
    assert sum(COUNTED.values()) >= LEAST, COUNTED
