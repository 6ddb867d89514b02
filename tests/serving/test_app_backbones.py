"""Backbones by the API: a form for each of their files, never twice, and a list."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from tests.doubles.plane import DATA, Plane

from tidemill.core.limits import limit

WEIGHTS = {"purpose": "backbone", "model": "lite0", "filename": "model.safetensors"}
KEY = "backbones/lite0/model.safetensors"


@pytest.fixture
def plane() -> Plane:
    return Plane()


def test_the_form_is_for_that_file_alone_and_starts_nothing(plane: Plane) -> None:
    answer = plane.client().post("/uploads", json={**WEIGHTS, "size_bytes": 14_000_000})
    assert answer.status_code == 201
    body = answer.json()
    policy: dict[str, Any] = json.loads(base64.b64decode(body["fields"]["policy"]))
    assert body["key"] == KEY
    assert {"key": KEY} in policy["conditions"]
    assert ["content-length-range", 1, limit("backbone")] in policy["conditions"]
    assert not plane.s3.objects


@pytest.mark.parametrize(
    ("changed", "status", "code"),
    [
        ({"filename": "lite0.pth"}, 400, "BAD_FILENAME"),
        ({"filename": "../model.safetensors"}, 400, "BAD_FILENAME"),
        ({"model": "Lite 0"}, 400, "BAD_BACKBONE_NAME"),
        ({"model": "../uploads"}, 400, "BAD_BACKBONE_NAME"),
        ({"size_bytes": limit("backbone") + 1}, 413, "TOO_LARGE"),
        ({"purpose": "else"}, 422, "INVALID_REQUEST"),
    ],
)
def test_what_is_no_backbone_is_refused_before_it_is_sent(
    plane: Plane, changed: dict[str, Any], status: int, code: str
) -> None:
    answer = plane.client().post("/uploads", json={**WEIGHTS, **changed})
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_name_means_the_same_weights_for_ever(plane: Plane) -> None:
    plane.s3.objects[DATA, KEY] = b"weights"
    answer = plane.client().post("/uploads", json=WEIGHTS)
    assert (answer.status_code, answer.json()["code"]) == (409, "BACKBONE_EXISTS")
    assert plane.client().post("/uploads", json={**WEIGHTS, "filename": "vocab.txt"}).status_code == 201
    assert plane.client().post("/uploads", json={**WEIGHTS, "model": "lite0b"}).status_code == 201


def test_the_list_has_what_is_there(plane: Plane) -> None:
    assert plane.client().get("/backbones").json() == {"backbones": []}
    plane.s3.objects[DATA, KEY] = b"weights"
    (found,) = plane.client().get("/backbones").json()["backbones"]
    assert (found["name"], found["size_bytes"]) == ("lite0", 7)
    assert found["files"] == [{"name": "model.safetensors", "size_bytes": 7}]


def test_a_specification_that_names_a_backbone_nobody_added_is_refused_with_the_upload(plane: Plane) -> None:
    body = {"model": "stamps", "filename": "stamps.zip", "spec": '[train]\nbackbone = "lite0"\n'}
    answer = plane.client().post("/uploads", json=body)
    assert (answer.status_code, answer.json()["code"]) == (404, "UNKNOWN_BACKBONE")
    assert not plane.s3.objects
    plane.s3.objects[DATA, KEY] = b"weights"
    assert plane.client().post("/uploads", json=body).status_code == 201
