"""Monitor on the local stack: quiet windows stay quiet, drift is told once, labels count, nothing is said twice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tests.serving import bundle_factory as factory
from tests.serving.test_gate import bundle, truth_of

from tidemill.core import feedback, monitored, reference, reports
from tidemill.core import manifest as manifests
from tidemill.core.keys import new_key
from tidemill.core.rebuild import rebuild
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage
from tidemill.serving import monitoring
from tidemill.serving.predictor import Predictor
from tidemill.serving.traffic import Seen, Traffic

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]
OPEN = {"enabled": True, "sample": 1.0, "rows": 1_000, "private": ["hired"]}
ROWS = 400


class Told:
    """A bus that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def tell(self, name: str, detail: dict[str, Any]) -> None:
        self.events.append({"name": name, **detail})


@dataclass
class Mill:
    """A model in service whose requests the test makes up."""

    model: str
    folder: Path
    registry: Registry
    artifacts: Storage
    bus: Told = field(default_factory=Told)
    asked: int = 0

    def ask(self, columns: Any) -> str:
        """One request with these rows, as Predict would log it; its id."""
        self.asked += 1
        request, rows = f"req-{self.asked}", factory.rows_of(columns)
        note = {"request": request, "model": self.model, "version": 1, "route": "predict", "status": 200, "ms": 1.0}
        answers = Predictor.load(self.folder).predict(rows)
        log = Traffic(self, self.artifacts.bucket)  # an environment of its own: the first request writes at once
        log.keep({**note, "rows": len(rows)}, Seen(OPEN, "champion", tuple(rows[0]), rows, answers))
        return request

    def put_object(self, bucket: str, key: str, body: bytes, content_type: str) -> None:
        self.artifacts.write_bytes(key, body, content_type)

    def watch(self) -> dict[str, Any]:
        bus: Any = self.bus
        return monitoring.watch(self.model, self.registry, self.artifacts, bus, topic="", settle_s=0)

    def report(self) -> dict[str, Any]:
        found: dict[str, Any] = self.artifacts.read_json(
            reports.key_of(self.model, reports.one(self.registry, self.model, "latest")["time"], "json")
        )
        return found


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle with a reference of 5,000 people, and test rows whose labels its own probabilities drew."""
    folder = bundle(tmp_path_factory.mktemp("made") / "bundle")
    table = factory.columns(5_000, seed=11)
    scores = Predictor.load(folder).predict_columns(table)
    truth = truth_of(folder, table)
    reference.save(folder / "reference.npz", reference.fit(table, ("income", truth), list(factory.LABELS), scores))
    manifests.write(folder, "bundle", model="income", run="r-1")
    return folder


@pytest.fixture
def mill(made: Path, registry: Registry, artifacts: Storage, new_model: Callable[[], str]) -> Mill:
    name, run = new_model(), "r-000000000001"
    registry.receive(name, run, "1", {"key": f"uploads/{name}/u/a.csv", "time": "t"})
    registry.advance(name, run, "PREPARED", allowed=["RECEIVED"], dataset="d", spec={}, fingerprint="f")
    registry.lease(name, run, "job", "attempt")
    fields = {"bundle": f"bundles/{name}/{run}/", "dataset": "d", "order": "1", "task": "binary", "target": "income"}
    registry.register(name, run, 1, "f", {**fields, "monitor": OPEN})
    artifacts.write_folder(made, fields["bundle"])
    registry.promote(name, 1, by="test", why="", pin=False)
    return Mill(name, made, registry, artifacts)


def subscribed(stack: Any) -> str:
    """A queue that gets what people are told; its URL."""
    sqs, topic = stack.client("sqs"), stack.outputs["NotifyTopicArn"]
    url: str = sqs.create_queue(QueueName=f"letters-{time.time_ns()}")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    may = {"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"}, "Action": "sqs:SendMessage"}
    policy = {"Version": "2012-10-17", "Statement": [{**may, "Resource": arn}]}
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": json.dumps(policy)})
    stack.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn)
    return url


def people(seed: int, rows: int = ROWS, shift: float = 0.0) -> Any:
    table = factory.columns(rows, seed=seed)
    return {**table, "hours": table["hours"] + shift}


def test_twenty_quiet_windows_raise_at_most_one_alarm(mill: Mill) -> None:
    alarms = []
    for seed in range(20):
        mill.ask(people(1_000 + seed))
        done = mill.watch()
        assert done["done"] == "report", done
        alarms.append(done["drifted"])
    assert sum(bool(names) for names in alarms) <= 1, alarms
    report = mill.report()
    assert report["private"] == ["hired"] and [item["name"] for item in report["columns"]] == ["age", "hours", "work"]
    assert report["window"]["rows"] == ROWS and report["window"]["distinct"] > 0.9 * ROWS


def test_drift_is_named_and_told_once_while_the_same_columns_drift(mill: Mill) -> None:
    for seed in range(3):
        mill.ask(people(2_000 + seed, shift=9.0))
        assert "hours" in mill.watch()["drifted"]
    assert len(mill.bus.events) == 1
    told = mill.bus.events[0]
    assert (told["name"], told["model"], told["version"]) == ("DriftDetected", mill.model, 1)
    assert "hours" in told["columns"] and mill.artifacts.exists(reports.key_of(mill.model, told["report"], "html"))
    work = people(2_010, shift=9.0)
    work["work"] = np.where(np.arange(ROWS) % 3 == 0, "<script>", work["work"]).astype(object)
    mill.ask(work)
    assert mill.watch()["told"] and {"hours", "work"} <= set(mill.bus.events[1]["columns"])
    page = mill.artifacts.read_bytes(reports.key_of(mill.model, mill.bus.events[1]["report"], "html")).decode()
    assert "&lt;script&gt;" in page and "<script" not in page and "levels that training never saw" in page


def test_too_few_rows_wait_for_the_next_window_and_none_is_counted_twice(mill: Mill) -> None:
    mill.ask(people(3_000, rows=150))
    assert mill.watch() == {"model": mill.model, "done": "waiting", "rows": 150, "least": 200}
    mill.ask(people(3_001, rows=100))
    assert mill.watch()["done"] == "report" and mill.report()["window"]["rows"] == 250
    assert mill.watch()["rows"] == 0, "the same message again finds nothing new"


def test_the_estimate_holds_what_labels_then_show_and_labels_show_what_it_cannot_see(mill: Mill) -> None:
    table = people(4_000, rows=900)
    truth = truth_of(mill.folder, table, seed=4)
    request = mill.ask(table)
    answers = {"task": "binary", "labels": list(factory.LABELS)}

    def label(values: Any) -> None:
        given = [{"request": request, "row": at, "label": value} for at, value in enumerate(values)]
        feedback.write(mill.artifacts, mill.model, feedback.checked(given, answers), "test")

    label(truth)
    mill.watch()
    told = mill.report()["performance"]
    assert told["estimated"]["low"] <= told["real"]["value"] <= told["estimated"]["high"]
    assert told["real"]["rows"] == 900 and not told["drifted"] and "at their word" in told["note"]
    mill.ask(table)
    label(np.where(truth == factory.LABELS[0], factory.LABELS[1], factory.LABELS[0]))
    assert "performance" in mill.watch()["drifted"]
    told = mill.report()["performance"]
    assert told["real"]["value"] < told["estimated"]["low"], "the estimate sees nothing of it"


def test_of_two_monitors_at_once_one_writes_and_a_lost_announcement_is_made_up_for(
    mill: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    mill.ask(people(5_000, shift=9.0))
    seen = reports.state(mill.registry, mill.model)
    with monkeypatch.context() as patch:  # it dies before it has told anybody
        patch.setattr(monitoring, "announce", lambda *_: None)
        assert mill.watch()["done"] == "report"
    assert mill.bus.events == []
    item = {**reports.one(mill.registry, mill.model, "latest"), "time": "20990101T000000000Z"}
    assert not reports.record(mill.registry, item, seen.get("report"), None), "the other looked at an older state"
    assert mill.watch()["done"] == "waiting" and len(mill.bus.events) == 1
    mill.watch()
    assert len(mill.bus.events) == 1


def test_a_column_marked_private_later_is_private_without_training_again(mill: Mill) -> None:
    later = {**OPEN, "private": ["age", "hired"]}
    monitored.settle(mill.registry, mill.model, 1, later)
    alias = mill.registry.alias(mill.model)
    assert alias is not None and alias["monitor"] == later == mill.registry.version(mill.model, 1)["monitor"]
    kept = mill.artifacts.read_json(f"registry/models/{mill.model}/aliases/{alias['rev']:06d}.json")
    assert kept["monitor"] == later
    monitored.settle(mill.registry, mill.model, 9, OPEN)  # no such version: nothing happens
    assert mill.registry.alias(mill.model) == alias


def test_reports_come_back_with_the_registry(mill: Mill, resource: Any) -> None:
    mill.ask(people(6_000, shift=9.0))
    mill.watch()
    before = reports.listed(mill.registry, mill.model)
    for sk in (f"REPORT#{before[0]['time']}", "MONITOR"):
        mill.registry.table.table.delete_item(Key={"pk": f"MODEL#{mill.model}", "sk": sk})
    assert reports.listed(mill.registry, mill.model) == []
    rebuild(Registry(mill.registry.table.name, None, resource), mill.artifacts)
    assert reports.listed(mill.registry, mill.model) == before
    assert reports.state(mill.registry, mill.model)["drifting"] == before[0]["drifted"]


def test_predictions_feedback_and_reports_through_the_deployed_doors(mill: Mill, stack: Any) -> None:
    """Every function with its own role: Predict logs, Api takes labels, Monitor reads both, Api shows the report."""
    key = new_key("predict", "test")
    mill.registry.put_key(key.digest, key.item)
    path, told = f"/models/{mill.model}", dict[str, Any]()
    letters = subscribed(stack)
    with httpx.Client(base_url=stack.api_url, headers={"x-api-key": key.secret}, timeout=60, trust_env=False) as http:
        assert http.get(f"{path}/reports/latest").json()["code"] == "UNKNOWN_REPORT"
        answer = http.post(f"{path}/predict", json={"rows": factory.rows_of(people(7_000, rows=300, shift=9.0))})
        assert answer.status_code == 200, answer.text
        label = {"request": answer.headers["x-request-id"], "row": 7, "label": factory.LABELS[0]}
        taken = [http.post(f"{path}/feedback", json={"labels": [label]}) for _ in range(2)]
        assert [item.status_code for item in taken] == [200, 200], taken[0].text
        assert taken[0].json() == taken[1].json() and taken[0].json()["labels"] == 1
        wrong = http.post(f"{path}/feedback", json={"labels": [{**label, "label": "rich"}]})
        assert (wrong.status_code, wrong.json()["code"]) == (422, "UNKNOWN_LABEL")
        time.sleep(monitoring.SETTLE_S)
        wake = json.dumps({"wake": "monitor", "model": mill.model})
        stack.client("sqs").send_message(QueueUrl=stack.outputs["MonitorQueueUrl"], MessageBody=wake)
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline and not told.get("reports"):
            time.sleep(0.5)
            told = http.get(f"{path}/reports").json()
        assert told["reports"][0]["rows"] == 300 and "hours" in told["reports"][0]["drifted"], told
        report = http.get(f"{path}/reports/latest").json()
        assert report["performance"]["real"]["rows"] == 1 and report["private"] == ["hired"]
        letter = stack.client("sqs").receive_message(QueueUrl=letters, WaitTimeSeconds=20)["Messages"][0]["Body"]
        assert f"version 1 of {mill.model}" in letter and "hours" in letter and report["time"] in letter
        page = http.get(f"{path}/reports/{report['time']}/page")
        assert page.headers["content-type"].startswith("text/html") and "<svg" in page.text
        assert http.get(f"{path}/reports/20200101T000000000Z").json()["code"] == "UNKNOWN_REPORT"
