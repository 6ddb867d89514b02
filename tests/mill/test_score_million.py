"""A million rows through requests/ on the local stack: no row lost, memory flat, killed in the middle, equal bytes."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.csv as pc
import pytest
from tests.serving import bundle_factory
from tests.serving.scoring_factory import SCHEMA

from tidemill.core.keys import new_key
from tidemill.core.registry import Registry
from tidemill.core.scorings import Scorings
from tidemill.core.storage import Storage
from tidemill.core.uploads import Upload, notification_of

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(900)]
ROWS = 1_000_000
SPOILED_EVERY = 997  # rows whose age is a word
FLAT_MB = 64  # what memory may grow by after a quarter of the rows
PATIENCE_S = 400


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A million people, one in 997 with an age that is none."""
    path = tmp_path_factory.mktemp("million") / "people.csv"
    columns = bundle_factory.columns(ROWS)
    age = columns["age"].astype(np.int64).astype(str).astype(object)
    age[::SPOILED_EVERY] = "unknowable"
    hired = pa.array(columns["hired"].astype("datetime64[s]")).cast(pa.string())
    people = pa.table(
        {
            "id": pa.array(np.arange(ROWS)),
            "age": pa.array(age.tolist()),
            "hours": pa.array(columns["hours"], from_pandas=True),
            "work": pa.array(columns["work"].tolist(), pa.string()),
            "hired": hired,
        }
    )
    pc.write_csv(people, path, pc.WriteOptions(quoting_style="none"))
    return path


@pytest.fixture
def model(registry: Registry, artifacts: Storage, new_model: Callable[[], str], tmp_path: Path) -> str:
    """A model in service."""
    name, run = new_model(), "r-000000000001"
    registry.receive(name, run, "2026-01-01", {"key": f"uploads/{name}/u1/a.csv"})
    registry.advance(name, run, "PREPARED", allowed=["RECEIVED"], dataset="d-1", spec={}, fingerprint="f1")
    registry.lease(name, run, "job", "attempt")
    fields = {"bundle": f"bundles/{name}/{run}/", "dataset": "d-1", "order": "2026-01-01"}
    registry.register(name, run, 1, "f1", fields)
    artifacts.write_folder(bundle_factory.make(tmp_path / "bundle"), fields["bundle"])
    artifacts.write_json(f"datasets/{name}/d-1/schema.json", SCHEMA)
    registry.promote(name, 1, by="test", why="test")
    return name


@pytest.fixture
def http(stack: Any, registry: Registry) -> Iterator[httpx.Client]:
    """The API with a predict key."""
    key = new_key("predict", "million")
    registry.put_key(key.digest, key.item)
    with httpx.Client(base_url=stack.api_url, headers={"x-api-key": key.secret}, timeout=120, trust_env=False) as made:
        yield made


def workers(server: Path) -> list[int]:
    """The processes that run the Score function of one stack: children of its server, and no other stack's."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            environment = (folder / "environ").read_bytes()
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            command = Path(f"/proc/{parent}/cmdline").read_bytes().split(b"\0")
        except (OSError, ValueError, IndexError):
            continue
        if b"TIDEMILL_JOB_QUEUE=tidemill-scoring" in environment and str(server.resolve()).encode() in command:
            found.append(int(folder.name))
    return found


def resident_mb(pid: int) -> float:
    """The memory of a process; 0 where it has gone."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


class Watch(threading.Thread):
    """Notes the memory of Score's processes beside the rows they have read."""

    def __init__(self, read: Callable[[], dict[str, Any]], server: Path) -> None:
        super().__init__(daemon=True)
        self.server = server
        self.read, self.seen, self.ended = read, list[tuple[int, float]](), threading.Event()

    def run(self) -> None:
        """Look twice a second."""
        while not self.ended.wait(0.5):
            rows = (self.read().get("progress") or {}).get("rows", {}).get("in", 0)
            self.seen.append((rows, max(map(resident_mb, workers(self.server)), default=0.0)))

    def peak_mb(self, least: float, most: float) -> float:
        """The most memory while the share of rows read was between two."""
        return max((mb for rows, mb in self.seen if least * ROWS <= rows <= most * ROWS), default=0.0)


def send(http: httpx.Client, model: str, path: Path) -> str:
    """Send the file by the form; the upload's id."""
    form = http.post("/uploads", json={"model": model, "filename": path.name, "purpose": "score"}).json()
    with path.open("rb") as file:
        sent = httpx.post(form["url"], data=form["fields"], files={"file": file}, timeout=300, trust_env=False)
    assert sent.status_code in (200, 201, 204), sent.text
    return str(form["upload"])


def wait(read: Callable[[], dict[str, Any]], until: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        item = read()
        if item and until(item):
            return item
        time.sleep(0.1)
    raise AssertionError(f"waited for {PATIENCE_S} s: {item}")


def rows_read(item: dict[str, Any]) -> int:
    return int((item.get("progress") or {}).get("rows", {}).get("in", 0))


def is_done(item: dict[str, Any]) -> bool:
    return item["state"] in ("DONE", "REJECTED", "FAILED")


def test_a_million_rows_killed_in_the_middle_come_back_whole_and_byte_for_byte_the_same(
    http: httpx.Client, model: str, table: Path, stack: Any, registry: Registry, artifacts: Storage
) -> None:
    scorings = Scorings(registry)

    def reader(upload: str) -> Callable[[], dict[str, Any]]:
        return lambda: next((item for item in scorings.of(model) if f"/{upload}/" in item["request"]["key"]), {})

    started, read = time.monotonic(), reader(send(http, model, table))
    watch = Watch(read, stack.state)
    watch.start()
    whole = wait(read, is_done)
    took = time.monotonic() - started
    watch.ended.set()

    read = reader(send(http, model, table))
    halfway = wait(read, lambda item: rows_read(item) >= 0.4 * ROWS)
    killed = workers(stack.state)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    assert killed and not is_done(read()), "it was to be killed in the middle"
    time.sleep(1)
    left = read()
    # The queue gives the message back when its visibility ends, half an hour here; this is the same message, sooner.
    body = notification_of(Upload(**left["request"]))
    stack.client("sqs").send_message(QueueUrl=stack.outputs["ScoreQueueUrl"], MessageBody=body)
    resumed = wait(read, is_done)

    spoiled = -(-ROWS // SPOILED_EVERY)
    for item in (whole, resumed):
        assert item["state"] == "DONE", item
        assert item["rows"] == {"in": ROWS, "out": ROWS - spoiled, "rejected": spoiled}
    assert whole["files"] == resumed["files"], "sizes and hashes"
    lines = artifacts.read_bytes(whole["results"] + "predictions.csv").count(b"\n")
    rejects = artifacts.read_bytes(whole["results"] + "rejects.csv").count(b"\n")
    assert (lines - 1, rejects - 1) == (ROWS - spoiled, spoiled)
    early, late = watch.peak_mb(0.1, 0.3), watch.peak_mb(0.7, 1.0)
    assert early > 0, watch.seen
    assert late - early <= FLAT_MB, f"{early:.0f} MB early, {late:.0f} MB late: {watch.seen}"
    print(
        f"\n{ROWS:,} rows: {rows_read(halfway):,} read when killed, {left['progress']['parts']} parts kept; "
        f"{took:.0f} s from sending to DONE undisturbed ({ROWS / took:,.0f} rows/s through the local stack); "
        f"memory {early:.0f} MB early, {late:.0f} MB late; {spoiled:,} set aside"
    )
