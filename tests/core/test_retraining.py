"""Training again: from what, when, why not, and never twice from the same."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.core.test_labelled import Shelf, lines
from tests.doubles.plane import MemoryTable

from tidemill.core.attempts import attempts
from tidemill.core.errors import NotFound
from tidemill.core.rebuild import rebuild
from tidemill.core.retraining import recipe_of, retrain
from tidemill.core.schedules import pause
from tidemill.core.spec import Spec
from tidemill.core.uploads import TRIGGER, Upload
from tidemill.core.wakes import Wake, wakes_of
from tidemill.serving.promotion import may_have_seen, must_be_better

MODEL = "churn"
CSV = "size,churn\n" + "".join(f"{row % 17},{'yes' if row % 17 > 8 else 'no'}\n" for row in range(200))
SCHEMA = {
    **{"target": "churn", "task": "binary", "labels": ["no", "yes"]},
    "columns": [
        {"name": "size", "kind": "number", "role": "feature"},
        {"name": "churn", "kind": "category", "role": "target"},
    ],
}


class Table(MemoryTable):
    """The two updates that are used here: a counter and its reset."""

    def update(self, pk: str, sk: str, expression: str, values: dict[str, Any], **_: Any) -> dict[str, Any]:
        item = self.items.setdefault((pk, sk), {"pk": pk, "sk": sk, "waiting": 0})
        (value,) = values.values()
        item["waiting"] = item["waiting"] + value if expression.startswith("ADD") else value
        return item


class Bucket(Shelf):
    """A data bucket: etags, metadata, and objects that are written once."""

    bucket = "data"

    def __init__(self, **held: bytes) -> None:
        super().__init__(**held)
        self.client, self.metadata = self, dict[str, Any]()

    def read_bytes(self, key: str) -> bytes:
        if key not in self.held:
            raise NotFound(key)
        return self.held[key]

    def read_json(self, key: str) -> Any:
        return json.loads(self.read_bytes(key))

    def read_file(self, key: str, path: Path) -> dict[str, Any]:
        path.write_bytes(self.read_bytes(key))
        return {"etag": str(len(self.held[key]))}

    def write_bytes(self, key: str, body: bytes, kind: str = "") -> None:
        self.held[key] = body

    def write_json(self, key: str, value: Any) -> None:
        self.held[key] = json.dumps(value).encode()

    def put_object(self, **put: Any) -> None:
        assert put["IfNoneMatch"] == "*"
        if put["Key"] in self.held:
            raise ClientError({"Error": {"Code": "PreconditionFailed"}}, "PutObject")
        self.held[put["Key"]], self.metadata[put["Key"]] = put["Body"].read(), put["Metadata"]


@dataclass
class Mill:
    """A model with one upload that made version 1, which serves."""

    spec: dict[str, Any] = field(default_factory=lambda: Spec().to_json())

    def __post_init__(self) -> None:
        self.table = Table()
        self.data = Bucket(uploads__churn__u1__churn__csv=b"")
        self.data.held = {"uploads/churn/u1/churn.csv": CSV.encode()}
        self.artifacts = Bucket()
        self.artifacts.held = {f"datasets/{MODEL}/d-1/schema.json": json.dumps(SCHEMA).encode()}
        upload = Upload("data", "uploads/churn/u1/churn.csv", len(CSV), str(len(CSV)), "01", "2026-01-01T00:00:00Z")
        first = {"run": "r-1", "model": MODEL, "state": "READY", "upload": upload.to_json(), "dataset": "d-1"}
        self.runs = [{**first, "spec": self.spec, "rows": {"read": 200}, "version": 1}]
        self.serving = {"version": 1, "run": "r-1"}
        self.registry: Any = SimpleNamespace(
            table=self.table,
            journal=None,
            alias=lambda _: self.serving,
            runs=lambda _: self.runs,
            run=lambda _, run: next(item for item in self.runs if item["run"] == run),
        )

    def label(self, *rows: tuple[int, str], request: str = "a") -> int:
        """Requests of one row each with what they turned out to be."""
        records = [
            {"request": f"{request}{n}", "at": f"2026-02-{n:02d}", "index": [0], "columns": {"size": [s]}}
            for n, (s, _) in enumerate(rows, 1)
        ]
        labels = [{"request": f"{request}{n}", "row": 0, "label": label} for n, (_, label) in enumerate(rows, 1)]
        self.artifacts.held[f"traffic/{MODEL}/{request}.jsonl.gz"] = gzip.compress(lines(*records))
        self.artifacts.held[f"labels/{MODEL}/{request}.jsonl"] = lines(*labels)
        return len(labels)

    def wake(self, why: Any = "schedule", **more: Any) -> Any:
        return retrain(Wake(MODEL, why, **more), self.registry, self.data, self.artifacts)  # type: ignore[arg-type]

    def uploads(self) -> list[str]:
        return [key for key in self.data.held if key.endswith("data.parquet")]

    def run_of(self, key: str, state: str = "READY", version: int = 2) -> dict[str, Any]:
        """Play Preprocess and the job: the upload becomes a run."""
        upload = replace(Upload(**self.runs[0]["upload"]), key=key).to_json()
        trigger = json.loads(self.data.metadata[key][TRIGGER])
        run = {"run": f"r-{len(self.runs) + 1}", "model": MODEL, "state": state, "upload": upload, "trigger": trigger}
        spec = Spec.from_toml(self.data.held[key.rpartition("/")[0] + "/tidemill.toml"].decode()).to_json()
        self.runs.insert(0, {**run, "dataset": "d-2", "spec": spec, "version": version})
        return self.runs[0]


@pytest.fixture
def mill() -> Mill:
    return Mill()


def schedule(**said: Any) -> Mill:
    return Mill(Spec.from_json({"schedule": said}).to_json())


def test_rows_and_labels_become_an_upload_that_says_why_and_of_what(mill: Mill) -> None:
    mill.label((3, "no"), (12, "yes"))
    attempt = mill.wake()
    (key,) = mill.uploads()
    assert (attempt["state"], attempt["why"]) == ("STARTED", "schedule")
    assert key == f"uploads/{MODEL}/retrain/{attempt['upload']}/data.parquet"
    assert attempt["rows"] == {"base": 200, "labelled": 2, "unmatched": 0, "hidden": 0}
    trigger = json.loads(mill.data.metadata[key][TRIGGER])
    assert {name: trigger[name] for name in ("why", "base", "champion", "changed", "labelled", "new")} == {
        **{"why": "schedule", "base": "r-1", "champion": 1, "changed": [], "labelled": 2, "new": 2}
    }
    spec = Spec.from_toml(mill.data.held[f"uploads/{MODEL}/retrain/{attempt['upload']}/tidemill.toml"].decode())
    assert (spec.data.target, spec.data.task) == ("churn", "binary")


def test_nothing_new_starts_nothing_and_says_so(mill: Mill) -> None:
    attempt = mill.wake()
    assert (attempt["state"], attempt["reason"]["code"]) == ("REFUSED", "NOTHING_NEW")
    assert "tidemill feedback" in attempt["reason"]["remedy"] and not mill.uploads()
    assert "drifted" in mill.wake("drift")["reason"]["message"]


def test_the_same_rows_are_learned_from_once_and_new_labels_again(mill: Mill) -> None:
    mill.label((3, "no"))
    first = mill.wake()
    assert mill.wake()["reason"]["code"] == "NOTHING_NEW"
    mill.run_of(mill.uploads()[0])
    assert mill.wake("hand", ask="1")["reason"]["code"] == "NOTHING_NEW"
    mill.label((12, "yes"), request="b")
    second = mill.wake()
    assert second["state"] == "STARTED" and second["upload"] != first["upload"]
    assert (second["trigger"]["labelled"], second["trigger"]["new"]) == (2, 1)
    assert second["base"] == "r-1", "the base is what a person sent, not what was made of it"


def test_a_message_that_comes_again_after_a_crash_finds_what_it_left(mill: Mill) -> None:
    mill.label((3, "no"))
    first = mill.wake()
    del mill.table.items[f"MODEL#{MODEL}", f"RETRAIN#{first['at']}"]  # the process died before it wrote this down
    mill.run_of(mill.uploads()[0])
    again = mill.wake()
    assert (again["state"], again["upload"]) == ("STARTED", first["upload"])
    assert len(mill.uploads()) == 1
    asked = [mill.wake("hand", ask="7") for _ in range(2)]
    assert asked[0] == asked[1], "a question has one answer"


def test_rows_whose_training_failed_may_be_tried_again_but_not_for_ever(mill: Mill) -> None:
    mill.label((3, "no"))
    names = []
    for _ in range(5):
        names.append(mill.wake("hand", ask=str(len(names)))["upload"])
        mill.run_of(f"uploads/{MODEL}/retrain/{names[-1]}/data.parquet", "FAILED")
    assert len(set(names)) == 5
    assert mill.wake("hand")["reason"]["code"] == "KEEPS_FAILING"


def test_while_a_persons_upload_is_being_read_it_is_waited_for(mill: Mill) -> None:
    mill.label((3, "no"))
    later = {**mill.runs[0], "run": "r-9", "state": "RECEIVED", "dataset": None}
    mill.runs.insert(0, later)
    assert mill.wake("hand")["reason"]["code"] == "UPLOAD_ARRIVING"
    later.update(state="REJECTED")
    assert mill.wake("hand")["base"] == "r-1", "a rejected upload is nobody's data"


@pytest.mark.parametrize("change", ["deleted", "overwritten"])
def test_an_upload_that_is_no_longer_there_is_said_to_be_gone(mill: Mill, change: str) -> None:
    mill.label((3, "no"))
    mill.data.held.pop("uploads/churn/u1/churn.csv")
    if change == "overwritten":
        mill.data.held["uploads/churn/u1/churn.csv"] = b"something else"
    reason = mill.wake()["reason"]
    assert reason["code"] == "SOURCE_DELETED" and "uploads/churn/u1/churn.csv" in reason["message"]


def test_another_recipe_is_something_new_and_a_persons(mill: Mill) -> None:
    mill.data.held[f"uploads/{MODEL}/tidemill.toml"] = b'[train]\nfamily = "linear"\n'
    attempt = mill.wake("hand")
    assert attempt["state"] == "STARTED" and attempt["trigger"]["changed"] == ["recipe"]
    assert not mill.uploads(), "without labels the file is the upload itself"
    assert mill.data.held[f"uploads/{MODEL}/retrain/{attempt['upload']}/churn.csv"] == CSV.encode()
    mill.data.held[f"uploads/{MODEL}/tidemill.toml"] = b"[nonsense]\n"
    assert mill.wake("hand")["reason"]["code"] == "BAD_SPEC"


# ------------------------------------------------------------------ what wakes it


def test_drift_is_heeded_where_it_is_of_the_version_in_service_and_wished_for() -> None:
    mill = schedule(on_drift=False)
    mill.label((3, "no"))
    assert mill.wake("drift", version=1) is None and not attempts(MODEL, mill.registry)
    mill = schedule()
    mill.label((3, "no"))
    assert mill.wake("drift", version=7) is None, "of a version that was replaced since"
    assert mill.wake("drift", version=1, report="reports/churn/1.json")["trigger"]["report"] == "reports/churn/1.json"


def test_enough_new_labels_start_a_training_and_fewer_leave_no_trace() -> None:
    mill = schedule(min_new_labels=3)
    assert mill.wake("labels", labels=mill.label((3, "no"), (12, "yes"))) is None
    assert mill.wake("labels", labels=2) is None, "the same file told twice is counted exactly before anything starts"
    assert not attempts(MODEL, mill.registry)
    started = mill.wake("labels", labels=mill.label((1, "no"), request="b"))
    assert started["state"] == "STARTED" and started["trigger"]["new"] == 3
    assert mill.wake("labels", labels=mill.label((2, "no"), request="c")) is None, "they count from the last training"
    assert Mill().wake("labels", labels=10_000) is None, "0: labels alone start nothing"


def test_a_paused_model_starts_nothing_by_itself_and_still_obeys_a_person() -> None:
    mill = schedule(paused=True)
    mill.label((3, "no"))
    for _ in range(3):
        assert mill.wake() is None
    (said,) = attempts(MODEL, mill.registry)
    assert (said["reason"]["code"], said["again"]) == ("PAUSED", 2), "a clock's refusals are counted, not listed"
    mill.table.put({"pk": f"MODEL#{MODEL}", "sk": "SCHEDULE", "model": MODEL, "paused": False})
    assert mill.wake()["state"] == "STARTED", "the switch beats the specification"
    mill.table.put({"pk": f"MODEL#{MODEL}", "sk": "SCHEDULE", "model": MODEL, "paused": True})
    assert mill.wake("hand")["reason"]["code"] == "NOTHING_NEW", "a person is answered"


def test_a_model_without_a_version_in_service_starts_nothing_by_itself(mill: Mill) -> None:
    mill.label((3, "no"))
    mill.serving = None  # type: ignore[assignment]
    assert mill.wake() is None and mill.wake("drift") is None
    assert mill.wake("hand")["trigger"]["champion"] is None


def test_messages_are_read_for_what_they_wish() -> None:
    bucket: Any = Bucket()
    bucket.held["labels/churn/1.jsonl"] = lines({"request": "a", "row": 0, "label": "no"}, {"request": "b", "label": 1})
    notice = {
        "eventName": "ObjectCreated:Put",
        "s3": {"bucket": {"name": "x"}, "object": {"key": "labels/churn/1.jsonl"}},
    }
    drift = {"model": "churn", "version": 4, "columns": ["size"], "report": "reports/churn/1.json"}
    cases = [
        ({"wake": "retrain", "model": "churn", "why": "schedule"}, Wake("churn", "schedule")),
        ({"wake": "clocks", "model": "churn"}, Wake("churn", "clocks")),
        ({"detail-type": "DriftDetected", "detail": drift}, Wake("churn", "drift", report=drift["report"], version=4)),
        (
            {"detail-type": "ModelPromoted", "detail": {"model": "churn", "version": 2}},
            Wake("churn", "clocks", version=2),
        ),
        ({"Records": [notice]}, Wake("churn", "labels", labels=2)),
    ]
    for message, wish in cases:
        assert wakes_of(json.dumps(message), bucket) == [wish]
    assert wakes_of(json.dumps({"Event": "s3:TestEvent"}), bucket) == []
    assert wakes_of(json.dumps({"wake": "retrain", "model": "../x"}), bucket) == []


def test_attempts_and_the_switch_come_back_with_a_lost_table(mill: Mill) -> None:
    mill.registry.journal = mill.artifacts
    mill.label((3, "no"))
    mill.wake()
    mill.wake("hand", ask="1")
    mill.wake("hand", ask="2")
    pause(MODEL, mill.registry, paused=True, by="key 1")
    empty: Any = SimpleNamespace(table=Table())
    counts, _ = rebuild(empty, mill.artifacts)  # type: ignore[arg-type]
    assert counts == {"retrain": 3, "switch": 1}
    kept = {key: item for key, item in mill.table.items.items() if key[1] != "LABELS"}  # a hint, counted anew
    assert empty.table.items == kept


# ------------------------------------------------------------------ what the gate makes of it


def test_only_what_nobody_changed_must_be_better_than_what_serves(mill: Mill) -> None:
    mill.label((3, "no"))
    mill.wake()
    again = mill.run_of(mill.uploads()[0])
    assert must_be_better(again) and not must_be_better(mill.runs[-1])
    mill.serving = {"version": 2, "run": again["run"]}
    mill.label((5, "no"), request="b")
    assert mill.wake()["trigger"]["changed"] == [], "trained again from the same base"
    upload = replace(Upload(**mill.runs[-1]["upload"]), key="uploads/churn/u2/new.csv")
    mill.data.held[upload.key] = CSV.encode()
    mill.runs.insert(0, {**mill.runs[-1], "run": "r-8", "upload": upload.to_json()})
    newer = mill.wake()
    assert newer["base"] == "r-8" and newer["trigger"]["changed"] == ["data"]
    assert not must_be_better({"trigger": newer["trigger"]})


def test_a_champion_of_another_split_may_have_seen_the_rows() -> None:
    ours, theirs = ({"spec": Spec.from_json({"split": {"seed": seed}}).to_json()} for seed in (1, 2))
    assert "[split] seed" in may_have_seen(ours, theirs)
    assert may_have_seen(ours, ours) == may_have_seen(ours, None) == ""


def test_a_recipe_is_what_decides_about_the_model_and_not_its_clocks() -> None:
    plain = Spec().to_json()
    assert recipe_of(plain) == recipe_of({}) == recipe_of(Spec.from_json({"schedule": {"paused": True}}).to_json())
    assert recipe_of(plain) != recipe_of(Spec.from_json({"train": {"seed": 1}}).to_json())
