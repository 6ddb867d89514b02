"""Secrets and personal data planted at every door are found afterwards nowhere but where they belong.

The whole loop runs on the deployed stack (upload, set-aside rows, refusal, training, predict, explain, wrong keys,
feedback, a file scored, Monitor's report); then every log, table item, artefact and the answers given are searched for
what was planted.
"""

from __future__ import annotations

import fnmatch
import gzip
import io
import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from tests.pipeline.conftest import Service, service, until  # noqa: F401

pytestmark = [pytest.mark.fire, pytest.mark.stack, pytest.mark.timeout(1200)]
MODEL, N = "canaries", 400
SPEC = (
    '[data]\ntarget = "label"\n[preprocess]\nmax_bad_fraction = 0.2\n[privacy]\npii = "drop"\n'
    '[monitor]\nprivate = ["note"]\nrows = 1000\n'
    '[train]\nfamily = "linear"\nepochs = 2\nmembers = 1\n[search]\nconfigurations = 1\nfolds = 1\n'
)
PLANTED = {
    "cell: e-mail": "canary-cell@example.test",
    "cell: payment card": "4242424242424242",
    "cell: identity number": "11010519491231002X",
    "cell: set aside": "canary-junk-cell",
    "refused file": "canary-refused-content",
    "request: private level": "canary-private-level",
    "scored: e-mail": "canary-scored@example.test",
    "scored: private level": "canary-scored-level",
    "scored: set aside": "canary-scored-junk",
    "feedback: wrong label": "canary-wrong-label",
    "feedback: unknown field": "canary-unknown-field",
    "request: e-mail": "canary-request@example.test",
    "request: wrong value": "canary-wrong-value",
    "header: token": "canary-bearer-token",
    "header: AWS key": "AKIAIOSFODNN7CANARY0",
    "query: signature": "canary-query-signature",
    "wrong key": "tm_canary_wrong_key_0000000000000000",
}
BELONGS = {  # where a canary may be found, and why
    (
        "cell: *",
        "datasets/*/quarantine.parquet",
    ): "the owner's own bad rows as uploaded, kept so that they can be repaired",
    ("request: wrong value", "answer *"): "a caller is told which value was wrong",
    ("request: private level", "answer *"): "an explanation tells a caller the values of the row that it explains",
    ("feedback: wrong label", "answer *"): "a caller is told which label the model does not know",
    ("scored: set aside", "results/*/rejects.csv"): "the owner's own bad rows, so that they can be repaired",
}


@dataclass
class Story:
    """What was planted while the loop ran, and the answers it gave."""

    planted: dict[str, str] = field(default_factory=lambda: dict(PLANTED))
    answers: list[str] = field(default_factory=list)
    run: dict[str, Any] = field(default_factory=dict)

    def ask(self, http: httpx.Client, path: str, key: str, body: Any) -> httpx.Response:
        """A request with tokens in its headers and its query."""
        headers = {"x-api-key": key, "authorization": "Bearer canary-bearer-token", "x-amz-key": "AKIAIOSFODNN7CANARY0"}
        answer = http.post(path, params={"X-Amz-Signature": "canary-query-signature"}, headers=headers, json=body)
        self.answers.append(answer.text)
        return answer


def table() -> str:
    """Rows with personal data that repeats, and some that cannot be read."""
    lines = ["mail,card,identity,note,x,label"]
    for n in range(N):
        x = "canary-junk-cell" if n == 7 else str(n % 17)
        lines.append(
            f"{n % 20}.canary-cell@example.test,4242424242424242,11010519491231002X,{'abc'[n % 3]},{x},"
            f"{'yes' if n % 17 > 8 else 'no'}"
        )
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def story(stack: Any, service: Service, tmp_path_factory: pytest.TempPathFactory) -> Story:  # noqa: F811
    """The loop, once."""
    told, folder = Story(), tmp_path_factory.mktemp("canaries")
    (folder / "table.csv").write_text(table())
    (folder / "refused.csv").write_text("<html>canary-refused-content</html>")
    upload = service.upload(MODEL, folder / "table.csv", SPEC)
    refused = service.ended("canaries-refused", service.upload("canaries-refused", folder / "refused.csv"))
    told.run = service.ended(MODEL, upload, patience_s=400)
    told.answers += [json.dumps(refused), json.dumps(told.run)]
    assert (told.run["state"], refused["state"]) == ("READY", "REJECTED")
    service.http.post(f"/models/{MODEL}/promote", headers=service.operate, json={"version": told.run["version"]})
    key = service.predict["x-api-key"]
    row = {
        "x": 3,
        "note": "canary-private-level",
        "mail": "canary-request@example.test",
        "card": "4242424242424242",
        "identity": "11010519491231002X",
    }
    for verb in ("predict", "explain"):
        assert told.ask(service.http, f"/models/{MODEL}/{verb}", key, {"rows": [row]}).status_code == 200
    told.ask(service.http, f"/models/{MODEL}/predict", key, {"rows": [{"x": "canary-wrong-value"}]})
    assert told.ask(service.http, f"/models/{MODEL}/predict", PLANTED["wrong key"], {"rows": []}).status_code in (
        401,
        403,
    )
    assert told.ask(service.http, f"/models/{MODEL}/promote", key, {"version": 1}).status_code in (401, 403)
    beyond(stack, service, told, key, row)
    told.planted |= {"operate key": service.operate["x-api-key"], "predict key": key}
    return told


def beyond(stack: Any, service: Service, told: Story, key: str, row: dict[str, Any]) -> None:  # noqa: F811
    """What comes after predictions: feedback, a file of rows, and Monitor, who sees the requests drift."""
    http, headers, path = service.http, {"x-api-key": key}, f"/models/{MODEL}"
    drifted = told.ask(http, f"{path}/predict", key, {"rows": [{**row, "x": 90 + n % 9} for n in range(400)]})
    assert drifted.status_code == 200, drifted.text
    label = {"request": drifted.headers["x-request-id"], "row": 0, "label": "yes"}
    assert told.ask(http, f"{path}/feedback", key, {"labels": [label]}).status_code == 200
    wrong = {"labels": [{**label, "label": "canary-wrong-label"}]}
    assert told.ask(http, f"{path}/feedback", key, wrong).status_code == 422
    unknown = {"labels": [{**label, "secret": "canary-unknown-field"}]}
    assert told.ask(http, f"{path}/feedback", key, unknown).status_code == 422
    lines = [f"{n}.canary-scored@example.test,canary-scored-level,{n % 17}" for n in range(50)]
    lines.append("1.canary-scored@example.test,a,canary-scored-junk")
    form = http.post("/uploads", headers=headers, json={"model": MODEL, "filename": "p.csv", "purpose": "score"}).json()
    body = "\n".join(["mail,note,x", *lines]).encode()
    assert httpx.post(form["url"], data=form["fields"], files={"file": body}, trust_env=False).status_code < 300

    def scorings() -> Any:
        found = http.get(f"{path}/scorings", headers=headers, params={"upload": form["upload"]}).json()["scorings"]
        return found if found and found[0]["state"] in ("DONE", "REJECTED", "FAILED") else None

    done = until(scorings)[0]
    told.answers.append(json.dumps(done))
    assert (done["state"], done["rows"]) == ("DONE", {"in": 51, "out": 50, "rejected": 1}), done

    def reports() -> Any:
        """Predict lays requests by and writes them with a later one; Monitor looks again each time it is woken."""
        told.ask(http, f"{path}/predict", key, {"rows": [{**row, "x": 91}]})
        wake = json.dumps({"wake": "monitor", "model": MODEL})
        stack.client("sqs").send_message(QueueUrl=stack.outputs["MonitorQueueUrl"], MessageBody=wake)
        time.sleep(3)
        return http.get(f"{path}/reports", headers=headers).json().get("reports")

    until(reports)
    report = http.get(f"{path}/reports/latest", headers=headers)
    told.answers += [report.text, http.get(f"{path}/reports/{report.json()['time']}/page", headers=headers).text]
    assert "x" in report.json()["drifted"], report.text


def as_text(name: str, body: bytes) -> str:
    """What an artefact says, unpacked."""
    if name.endswith(".parquet"):
        return str(pq.read_table(io.BytesIO(body)).to_pylist())
    if body[:2] == b"\x1f\x8b":
        body = gzip.decompress(body)
    return body.decode("utf-8", "replace")


def places(stack: Any, story: Story) -> Iterator[tuple[str, str]]:
    """Every place where something may have been written, by name, with its text."""
    for number, answer in enumerate(story.answers):
        yield f"answer {number}", answer
    logs = stack.client("logs")
    for group in logs.describe_log_groups()["logGroups"]:
        name = group["logGroupName"]
        for page in logs.get_paginator("filter_log_events").paginate(logGroupName=name):
            yield f"log {name}", "\n".join(event["message"] for event in page["events"])
    for path in Path(stack.state).glob("logs/**/*.log"):
        yield f"file {path.name}", path.read_text(errors="replace")
    for page in stack.client("dynamodb").get_paginator("scan").paginate(TableName=stack.outputs["TableName"]):
        yield "table", json.dumps(page["Items"], default=str, ensure_ascii=False)
    s3, bucket = stack.client("s3"), stack.outputs["ArtifactsBucketName"]
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket):
        for item in page.get("Contents", []):
            name = item["Key"]
            yield name, name + "\n" + as_text(name, s3.get_object(Bucket=bucket, Key=name)["Body"].read())


@pytest.fixture(scope="module")
def written(stack: Any, story: Story) -> list[tuple[str, str]]:
    """All places, read once."""
    return list(places(stack, story))


def found(written: list[tuple[str, str]], name: str, value: str) -> list[str]:
    """Places that hold a planted value though it does not belong there."""
    belongs = [where for canary, where in BELONGS if fnmatch.fnmatch(name, canary)]
    hits = {place for place, text in written if value in text}
    return sorted(place for place in hits if not any(fnmatch.fnmatch(place, where) for where in belongs))


def test_the_places_searched_are_those_where_something_is_written(written: list[tuple[str, str]]) -> None:
    names = {place for place, _ in written}
    for kind in (
        "log *",
        "file *",
        "table",
        "datasets/*/quarantine.parquet",
        "bundles/*/card.*",
        "rejections/*",
        "traffic/*",
        "labels/*",
        "results/*/rejects.csv",
        "reports/*.html",
    ):
        assert fnmatch.filter(names, kind), f"nothing was read of {kind}: {sorted(names)[:60]}"
    assert any("canary-junk-cell" in text for place, text in written if place.endswith("quarantine.parquet"))


@pytest.mark.parametrize("name", [*PLANTED, "operate key", "predict key"])
def test_what_was_planted_is_found_nowhere_else(name: str, story: Story, written: Any, fire: Any) -> None:
    with fire("canaries", name, count=len(written)):
        assert found(written, name, story.planted[name]) == []
