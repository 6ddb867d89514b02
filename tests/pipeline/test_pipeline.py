"""The whole loop through its public doors, on the real local stack: upload, dataset, job, gate, answers."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.pipeline.conftest import Service

from tidemill.core import traffic
from tidemill.core.storage import Storage

pytestmark = [pytest.mark.stack, pytest.mark.timeout(400)]
MODEL = "adult-story"
MLP = 'family = "mlp"\nepochs = 8\nmembers = 2\n'
SPEC = f'[data]\ntarget = "income"\n[train]\n{MLP}[search]\nconfigurations = 1\nfolds = 1\n'


@pytest.fixture(scope="module")
def table(root: Path) -> Path:
    return root / "tests/data/adult-3000.csv"


@pytest.fixture(scope="module")
def rows(table: Path) -> list[dict[str, Any]]:
    """Rows as a caller would send them: numbers as numbers, holes as null, without the answer."""

    def value(text: str) -> Any:
        return None if text == "" else int(text) if re.fullmatch(r"-?\d+", text) else text

    with table.open() as file:
        found = [{name: value(text) for name, text in row.items()} for row in csv.DictReader(file)]
    return [{name: item for name, item in row.items() if name != "income"} for row in found[:200]]


@pytest.fixture(scope="module")
def run(service: Service, table: Path) -> dict[str, Any]:
    """Upload, preprocess, train, promote: one line a step is what a user writes, too."""
    return service.ended(MODEL, service.upload(MODEL, table, SPEC))


def ask(service: Service, verb: str, body: Any, model: str = MODEL, **headers: str) -> Any:
    return service.http.post(f"/models/{model}/{verb}", headers={**service.predict, **headers}, json=body)


def test_an_upload_becomes_a_version_in_service(service: Service, run: dict[str, Any]) -> None:
    assert run["state"] == "READY", run
    assert run["decision"]["promoted"], run["decision"]
    assert run["rows"]["read"] == 3000 == run["rows"]["used"] + run["rows"]["quarantined"]
    model = service.http.get(f"/models/{MODEL}", headers=service.predict).json()
    assert model["champion"]["version"] == run["version"] == 1
    assert [run["times"][name] for name in ("received", "prepared", "submitted", "running", "ended")]


def test_predictions_name_their_version_and_sum_to_one(service: Service, run: dict[str, Any], rows: Any) -> None:
    answer = ask(service, "predict", {"rows": rows})
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["model"], body["version"], len(body["predictions"])) == (MODEL, 1, len(rows))
    for prediction in body["predictions"]:
        assert set(prediction["probabilities"]) == {"<=50K", ">50K"}
        assert abs(sum(prediction["probabilities"].values()) - 1) < 1e-5
        assert prediction["label"] == max(prediction["probabilities"], key=prediction["probabilities"].get)


def test_what_was_asked_is_kept_for_monitor(
    service: Service, run: dict[str, Any], rows: Any, artifacts: Storage
) -> None:
    """The first request of an environment is written at once, so one record is there by now."""
    assert ask(service, "predict", {"rows": rows}).status_code == 200
    keys = [entry["Key"] for entry in artifacts.keys(f"traffic/{MODEL}/")]
    record = next(record for record in traffic.records(artifacts, keys) if record["route"] == "predict")
    assert (record["version"], record["status"], record["alias"]) == (run["version"], 200, "champion")
    asked = [rows[at] for at in record["index"]]
    assert record["columns"]["age"] == [row["age"] for row in asked] and len(record["scores"]) == len(asked)
    assert record["columns"].keys() <= rows[0].keys()


def test_contributions_sum_to_prediction_minus_baseline(service: Service, run: dict[str, Any], rows: Any) -> None:
    answer = ask(service, "explain", {"rows": rows[:50]})
    assert answer.status_code == 200, answer.text
    errors = []
    for explained in answer.json()["explanations"]:
        total = sum(item["contribution"] for item in explained["contributions"])
        moved = explained["prediction"] - explained["baseline"]
        errors.append(abs(total - moved) / max(abs(moved), 0.05))
    assert np.quantile(errors, 0.99) <= 0.01


def test_rows_alone_and_together_get_the_same_answers(service: Service, run: dict[str, Any], rows: Any) -> None:
    together = ask(service, "predict", {"rows": rows[:5]}).json()["predictions"]
    for row, expected in zip(rows[:5], together, strict=True):
        (alone,) = ask(service, "predict", {"row": row}).json()["predictions"]
        assert alone["label"] == expected["label"]
        for label, probability in alone["probabilities"].items():
            assert probability == pytest.approx(expected["probabilities"][label], abs=2e-6)


def test_the_card_is_one_page_without_foreign_addresses(service: Service, run: dict[str, Any]) -> None:
    page = service.http.get(f"/models/{MODEL}/card", headers=service.predict)
    assert page.status_code == 200 and page.headers["content-type"].startswith("text/html")
    assert "income" in page.text and "<svg" in page.text
    assert not re.search(r"""(?:src|href)\s*=\s*["']?https?:|url\(\s*["']?https?:|@import""", page.text)


@pytest.mark.parametrize(
    ("change", "status", "code", "names"),
    [
        ({"headers": {"x-api-key": ""}}, 401, "UNAUTHORIZED", ""),
        ({"headers": {"x-api-key": "tm_" + "x" * 40}}, 401, "UNAUTHORIZED", ""),
        ({"model": "nobody-made-this"}, 404, "UNKNOWN_MODEL", "nobody-made-this"),
        ({"drop": "age"}, 422, "FEATURE_MISSING", "age"),
        ({"add": {"agee": 1}}, 422, "FEATURE_UNKNOWN", "agee"),
        ({"add": {"age": "old"}}, 422, "FEATURE_TYPE", "age"),
        ({"body": {"rows": []}}, 422, "NO_ROWS", "row"),
        ({"body": {"rows": "no"}}, 422, "", "rows"),
    ],
)
def test_a_bad_request_gets_a_problem_that_names_it(
    service: Service, run: dict[str, Any], rows: Any, change: dict[str, Any], status: int, code: str, names: str
) -> None:
    row = {**rows[0], **change.get("add", {})}
    row.pop(change.get("drop", ""), None)
    body = change.get("body", {"rows": [row]})
    answer = ask(service, "predict", body, change.get("model", MODEL), **change.get("headers", {}))
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["status"] == status and problem["detail"]
    assert code in problem["code"] and names in problem["detail"]


def test_a_predict_key_may_not_operate(service: Service, run: dict[str, Any]) -> None:
    answer = service.http.post(f"/models/{MODEL}/promote", headers=service.predict, json={"version": 1})
    assert (answer.status_code, answer.json()["code"]) == (403, "FORBIDDEN")


def test_nothing_but_health_answers_without_a_key(service: Service) -> None:
    assert service.http.get("/health").status_code == 200
    for path in ("/models", "/openapi.json", "/docs", f"/models/{MODEL}/card"):
        assert service.http.get(path).status_code == 401, path


def test_the_same_table_again_ends_at_the_same_version(service: Service, run: dict[str, Any], table: Path) -> None:
    again = service.ended(MODEL, service.upload(MODEL, table, SPEC))
    assert (again["state"], again["version"], again.get("reused")) == ("READY", 1, True)
    versions = service.http.get(f"/models/{MODEL}/versions", headers=service.predict).json()["versions"]
    assert [version["version"] for version in versions] == [1]


def test_rollback_reaches_new_requests_and_a_pin_holds(
    service: Service, run: dict[str, Any], table: Path, rows: Any
) -> None:
    other = service.ended(MODEL, service.upload(MODEL, table, SPEC.replace("epochs = 8", "epochs = 9")))
    assert other["state"] == "READY" and other["version"] == 2
    promoted = service.http.post(
        f"/models/{MODEL}/promote", headers=service.operate, json={"version": 2, "why": "to have two"}
    )
    assert promoted.status_code == 200, promoted.text
    back = service.http.post(f"/models/{MODEL}/rollback", headers=service.operate, json={"why": "complaints"})
    assert back.status_code == 200 and back.json()["version"] == 1 and back.json()["pinned"]
    import time

    time.sleep(5.5)  # what the hot path remembers of the alias
    assert ask(service, "predict", {"row": rows[0]}).json()["version"] == 1


def test_a_bad_table_is_rejected_with_its_reason_and_kept(service: Service, tmp_path: Path) -> None:
    page = tmp_path / "table.csv"
    page.write_text("<!doctype html><html><body>Not found</body></html>")
    run = service.ended("rejected-story", service.upload("rejected-story", page))
    assert run["state"] == "REJECTED"
    assert run["reason"]["code"] and run["reason"]["message"] and run["reason"]["remedy"] and run["reason"]["where"]


def test_bad_rows_are_set_aside_and_the_rest_is_used(service: Service, table: Path, tmp_path: Path) -> None:
    lines = table.read_text().splitlines()
    lines[10] += ",one,cell,too,many"
    lines[20] = "thirty," + lines[20].split(",", 1)[1]
    broken = tmp_path / "broken.csv"
    broken.write_text("\n".join(lines[:800]))
    run = service.ended("broken-story", service.upload("broken-story", broken, SPEC))
    assert run["state"] == "READY", run
    assert (run["rows"]["read"], run["rows"]["quarantined"]) == (799, 2)


def test_the_log_of_a_finished_job_can_be_read(service: Service, run: dict[str, Any]) -> None:
    answer = service.http.get(f"/models/{MODEL}/runs/{run['run']}/logs", headers=service.operate)
    assert answer.status_code == 200, answer.text
    assert any(f"is version {run['version']} of {MODEL}" in line["message"] for line in answer.json()["lines"])
