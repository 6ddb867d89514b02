"""Every bad request through the API: its status, its code, no 5xx; and what differs on purpose, with the reason."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
from tests.fire.badinputs.asking import Asker
from tests.fire.corpus import requests
from tests.serving.fake_aws import running

pytestmark = [pytest.mark.fire, pytest.mark.timeout(600)]
GIVEN = os.environ.get("TIDEMILL_BADINPUTS", "")

# Where Tidemill answers otherwise than the corpus, on purpose: the status and the code that it gives, and why.
DIFFERS: dict[str, tuple[int, str | None, str]] = {
    "api/007_string_number.json": (200, None, "read as CSV cells are in training, so both sides agree"),
    "api/033_formula_in_batch_answer.json": (
        415,
        "UNSUPPORTED_MEDIA_TYPE",
        "no route answers CSV; files: test_scoring.py",
    ),
    "api/034_idempotency_key_reuse.json": (422, "INVALID_REQUEST", "a field too many; there are no idempotency keys"),
    "api/037_crlf_header.json": (405, "METHOD_NOT_ALLOWED", "there is no such list; no query is echoed in a header"),
    "api/038_cursor_tampered.json": (405, "METHOD_NOT_ALLOWED", "there are no cursors: nothing to tamper with"),
}
# What the answer must say beyond its code.
SAYS = {
    "api/005_null_value.json": '"noticed": {"age": "missing"}',
    "api/006_unseen_category.json": '"rare or never seen"',
    "api/002_missing_feature.json": "hours",
    "api/009_nan_literal.json": "NaN",
    "api/031_mass_assignment.json": "Extra inputs are not permitted",
}


def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    made = tmp_path_factory.mktemp("requests")
    for case in requests.cases():
        path = made / case.name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(case.content)
    listed = [
        {"name": c.name, "modality": c.modality, "expected": c.expected, "reason": c.reason} for c in requests.cases()
    ]
    (made / "manifest.json").write_text(json.dumps(listed))
    return [made, *([Path(GIVEN)] if GIVEN else [])]


def test_every_request_ends_as_expected(tmp_path_factory: pytest.TempPathFactory, fire: Any) -> None:
    wrong = []
    for folder in folders(tmp_path_factory):
        with running() as aws:
            asker = Asker(aws, tmp_path_factory.mktemp("door"))
            for entry in json.loads((folder / "manifest.json").read_text()):
                if entry["modality"] != "api":
                    continue
                try:
                    with fire("bad inputs", entry["name"]):
                        check(entry, asker, json.loads((folder / entry["name"]).read_text()))
                except Exception as error:
                    wrong.append(f"{entry['name']}: {type(error).__name__} {str(error)[:600]}")
            asker.client.close()
    assert not wrong, "\n".join(wrong)


def check(entry: dict[str, Any], asker: Asker, request: dict[str, Any]) -> None:
    """Status and code, a remedy with every refusal, headers of our own making only."""
    name = entry["name"]
    status, body, headers = asker.ask(entry, request)
    assert status < 500, body
    assert "set-cookie" not in headers
    if name in DIFFERS:
        assert (status, body.get("code")) == DIFFERS[name][:2]
    else:
        assert str(status) in entry["reason"], body
        words = entry["reason"].split()
        assert len(words) != 2 or words[0] != str(status) or body["code"] == words[1], body
    if status >= 400:
        assert {"type", "title", "status", "detail", "code"} <= body.keys()
        assert "169.254" not in json.dumps(body)
    if name in SAYS:
        assert SAYS[name] in json.dumps(body)
    if name == "api/007_string_number.json":
        request["body"] = request["body"].replace('"30"', "30")
        assert asker.ask(entry, request)[1]["predictions"] == body["predictions"]
