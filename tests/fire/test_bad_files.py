"""Every bad file through the public door: its class, its code, its own check, its time, its memory, nothing lost."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.fire.badinputs import telling
from tests.fire.badinputs.checks import CHECKS, STILL
from tests.fire.badinputs.uploading import LONGEST_S, MOST_MEMORY, Entrance, Found, as_upload

from tidemill.core.endings import ending_of
from tidemill.core.events import Bus
from tidemill.core.registry import Registry
from tidemill.core.storage import Storage
from tidemill.serving.promotion import job_ended

pytestmark = [pytest.mark.fire, pytest.mark.stack, pytest.mark.timeout(1200)]
GIVEN = os.environ.get("TIDEMILL_BADINPUTS", "")
FILES = ("csv", "json", "parquet", "text", "xlsx", "zip", "image", "model")
OWN = [pytest.param(m, "made", id=f"made-{m}") for m in FILES]
FROM = [pytest.param(m, GIVEN, id=f"given-{m}") for m in FILES if GIVEN]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(
        "corpus"
    )  # by another process: ours is the floor of what Preprocess is seen to take
    code = f"import pathlib; from tests.fire import corpus; corpus.make(pathlib.Path({str(folder)!r}))"
    subprocess.run(
        [sys.executable, "-c", code], check=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    )
    return folder


@pytest.fixture(scope="module")
def entrance(stack: Any, resource: Any) -> Iterator[Entrance]:
    """A bucket that wakes nobody, and a table and a bus that the deployed functions do not know."""
    s3, table = stack.client("s3"), "bad-inputs"
    s3.create_bucket(Bucket="bad-uploads")
    stack.client("events").create_event_bus(Name="bad-inputs")
    keys = (("pk", "HASH"), ("sk", "RANGE"))
    stack.client("dynamodb").create_table(
        TableName=table,
        AttributeDefinitions=[{"AttributeName": key, "AttributeType": "S"} for key, _ in keys],
        KeySchema=[{"AttributeName": key, "KeyType": kind} for key, kind in keys],
        BillingMode="PAY_PER_REQUEST",
    )
    artifacts = Storage(stack.outputs["ArtifactsBucketName"], s3)
    environment = {
        **stack.credentials,
        "TIDEMILL_DATA_BUCKET": "bad-uploads",
        "TIDEMILL_ARTIFACTS_BUCKET": artifacts.bucket,
        "TIDEMILL_TABLE": table,
        "TIDEMILL_BUS": "bad-inputs",
        "TIDEMILL_QUEUE_URL": "http://queue.invalid/1/q",
    }
    import preprocess  # noqa: F401 - read once here, for every child

    yield Entrance(Registry(table, artifacts, resource), Storage("bad-uploads", s3), artifacts, environment)


@pytest.mark.parametrize(("modality", "source"), [*OWN, *FROM])
def test_every_file_ends_as_expected(
    modality: str, source: str, made: Path, entrance: Entrance, fire: Any, tmp_path: Path
) -> None:
    folder = made if source == "made" else Path(source)
    wrong = []
    for entry in json.loads((folder / "manifest.json").read_text()):
        if entry["modality"] != modality:
            continue
        try:
            with fire("bad inputs", entry["name"]) as case:
                found = entrance.send(*as_upload(entry, (folder / entry["name"]).read_bytes()), tmp_path / "log")
                case.memory_bytes = found.peak_bytes
                check(entry, found)
            assert case.seconds <= LONGEST_S
        except Exception as error:
            wrong.append(f"{entry['name']}: {type(error).__name__} {str(error)[:1500]}")
    assert not wrong, "\n".join(wrong)


def check(entry: dict[str, Any], found: Found) -> None:
    """The class and the code of the manifest, and what holds of every file."""
    name, rows = entry["name"], found.run.get("rows", {})
    assert found.peak_bytes <= MOST_MEMORY, f"{found.peak_bytes >> 20} MiB"
    assert (found.run["state"] == "REJECTED") == (entry["expected"] == "rejected"), found.run
    if entry["expected"] == "rejected":
        reason = found.run["reason"]
        assert reason["code"] == entry["reason"], reason
        assert reason["message"] and reason["remedy"] and len(reason["message"]) < 600
        assert json.loads(found.rejection)["reason"]["code"] == entry["reason"]
    else:
        assert found.run["state"] == "PREPARED"
        assert rows["read"] == rows["used"] + rows["quarantined"]
        if entry["reason"] != "OK" and not (name.endswith(STILL) and entry.get("bytes") == 62):
            assert entry["reason"] in found.codes, found.codes
        if entry["expected"] == "accepted":
            assert rows["quarantined"] == 0
    for line in found.log.splitlines():
        json.loads(line)  # one object a line, whatever the data held
        assert "\x1b" not in line
    if name in CHECKS:
        CHECKS[name](found)


def test_no_check_of_the_given_manifest_is_left_unasserted() -> None:
    if not GIVEN:
        pytest.skip("TIDEMILL_BADINPUTS names no folder")
    entries = json.loads((Path(GIVEN) / "manifest.json").read_text())
    told = {entry["name"] for entry in entries if entry["check"] and entry["modality"] in FILES}
    assert told - set(CHECKS) == set()


def test_the_generator_makes_every_kind_of_the_given_corpus(made: Path) -> None:
    if not GIVEN:
        pytest.skip("TIDEMILL_BADINPUTS names no folder")

    def told(folder: Path) -> set[tuple[str, ...]]:
        entries = json.loads((folder / "manifest.json").read_text())
        return {(entry["name"], entry["expected"], entry["reason"]) for entry in entries}

    assert told(Path(GIVEN)) - told(made) == set()


@pytest.mark.parametrize("source", ["made", *([GIVEN] if GIVEN else [])], ids=["made", "given"][: 1 + bool(GIVEN)])
def test_every_event_ends_as_expected(source: str, made: Path, entrance: Entrance, fire: Any, tmp_path: Path) -> None:
    folder, wrong = made if source == "made" else Path(source), []
    for entry in json.loads((folder / "manifest.json").read_text()):
        if entry["modality"] != "event":
            continue
        try:
            with fire("bad inputs", entry["name"]) as case:
                event = json.loads((folder / entry["name"]).read_text())
                tell = _job_event if isinstance(event, list) else _upload_event
                case.memory_bytes = tell(entry, event, entrance, tmp_path / "log")
        except Exception as error:
            wrong.append(f"{entry['name']}: {type(error).__name__} {str(error)[:1500]}")
    assert not wrong, "\n".join(wrong)


def _upload_event(entry: dict[str, Any], event: dict[str, Any], entrance: Entrance, log: Path) -> int:
    """Each message by itself, in order; the runs that there are afterwards, one for an upload."""
    model, bodies = telling.prepared(entrance, entry["name"], event)
    ended = [entrance.wake(body, log) for body in bodies]
    word, runs = entry["reason"], entrance.registry.runs(model)
    failed = [{"itemIdentifier": "m1"}] if word == "POISON" else []  # given back, so that it ends as a dead letter
    assert [(status, answer) for status, _, answer in ended] == [(0, {"batchItemFailures": failed})] * len(bodies)
    if word == "SOURCE_FORBIDDEN":
        listed = [
            json.loads(entrance.artifacts.read_bytes(item["Key"]))
            for item in entrance.artifacts.keys("rejections/_unnamed/")
        ]
        assert runs == [] and "SOURCE_FORBIDDEN" in [item["reason"]["code"] for item in listed]
    elif word in ("IGNORED", "POISON"):
        assert runs == []
    elif entry["expected"] == "rejected":
        assert [(run["state"], run["reason"]["code"]) for run in runs] == [("REJECTED", word)]
    elif word == "SUPERSEDED":
        assert [(run["state"], run["reason"]["code"], run.get("dataset")) for run in runs] == [(word, word, None)]
    else:
        assert {run["state"] for run in runs} == {"PREPARED"} and len({run["dataset"] for run in runs}) == 1
        assert len(runs) == (2 if "004_sequencer" in entry["name"] else 1)
    return max(peak for _, peak, _ in ended)


def _job_event(entry: dict[str, Any], event: list[dict[str, Any]], entrance: Entrance, log: Path) -> int:
    """What a job that ended badly died of, and whether its work goes on in another job."""
    expected = {"RETRIED": ("INTERRUPTED", True), "OK": None}.get(entry["reason"], (entry["reason"], False))
    for told in event:
        body = json.dumps(told)
        assert job_ended(told["detail"], entrance.registry, entrance.artifacts, Bus("bad-inputs")) is None, body
        if expected and told["detail"]["status"] == "FAILED":
            ending = ending_of(told["detail"])
            assert (ending.code, ending.again) == expected
    return 0
