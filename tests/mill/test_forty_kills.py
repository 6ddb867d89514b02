"""Forty trainings killed at random moments, half by SIGTERM, half by SIGKILL: forty equal versions, little work lost.

Those are short, so that there can be forty; a few of default settings, which take minutes, are killed as well. On the
local stack: real uploads, real jobs, real signals. Every fifth training is killed a second time and goes on in another
job, from the On-Demand queue. `pytest -m slow tests/mill/test_forty_kills.py -s` prints the table.
"""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.conftest import ENDED, Service, service  # noqa: F401 - a fixture

from tidemill.core.registry import Registry
from tidemill.core.storage import Storage

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(5400)]
RUNS = int(os.environ.get("TIDEMILL_KILLS", "40"))
ROWS = 800
TWICE = 5  # every fifth is killed again
PATIENCE_S = 900.0
LOST_S = 60.0
DEFAULTS = '[data]\ntarget = "income"\n'
TRAIN = '[train]\nfamily = "mlp"\nepochs = 60\npatience = 60\nmembers = 2\n'
SPEC = DEFAULTS + TRAIN + "[search]\nconfigurations = 2\nfolds = 1\n"
LONG_RUNS = 6


@dataclass
class Story:
    """One training: what was done to it, and what became of it."""

    model: str
    kills: list[tuple[str, float, str, float]] = field(default_factory=list)  # signal, after s, stage, lost s
    run: dict[str, Any] = field(default_factory=dict)


@dataclass
class Mill:
    """The stack, seen by one who kills its jobs."""

    stack: Any
    service: Service
    registry: Registry
    artifacts: Storage
    table: Path
    spec: str = SPEC

    def start(self, model: str) -> str:
        """Upload the table for a model; its run once there is one."""
        upload = self.service.upload(model, self.table, self.spec)
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            for run in self.registry.runs(model):
                if upload in run["upload"]["key"]:
                    return str(run["run"])
            time.sleep(0.1)
        raise AssertionError(f"nobody took the upload for {model}")

    def run(self, model: str, run: str) -> dict[str, Any]:
        return self.registry.run(model, run)

    def is_over(self, model: str, run: str) -> bool:
        now = self.run(model, run)
        return now["state"] in ENDED and (now["state"] != "READY" or "decision" in now)

    def process_of(self, model: str, run: str) -> tuple[int, float] | None:
        """The process of a run's job, and when it started."""
        for job in self.stack.client("batch").list_jobs(jobQueue=queue_of(self.run(model, run)))["jobSummaryList"]:
            if job["jobName"] == f"{model}-{run}" and (pid := pid_of(job["jobId"])) and job.get("startedAt"):
                return pid, job["startedAt"] / 1000
        return None

    def last_checkpoint(self, model: str, run: str) -> float:
        """When the newest complete checkpoint was written."""
        times = [
            entry["LastModified"].timestamp()
            for entry in self.artifacts.keys(f"checkpoints/{model}/{run}/")
            if entry["Key"].endswith("/MANIFEST.json")
        ]
        return max(times, default=0.0)

    def kill(self, story: Story, run: str, name: str, after_s: float, seen: set[int]) -> bool:
        """Kill the run's process some seconds after it started; False where it had ended before."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and not self.is_over(story.model, run):
            found = self.process_of(story.model, run)
            if found is None or found[0] in seen:
                time.sleep(0.05)
                continue
            pid, started = found
            time.sleep(max(0.0, started + after_s - time.time()))
            stage = str((self.run(story.model, run).get("progress") or {}).get("stage", "starting"))
            if pid not in seen and is_there(pid):
                seen.add(pid)
                os.kill(pid, getattr(signal, name))
                killed = time.time()
                wait_until_gone(pid)
                kept = max(started, self.last_checkpoint(story.model, run))
                story.kills.append((name, killed - started, stage, max(0.0, killed - kept)))
                return True
        return False

    def wait(self, story: Story, run: str) -> None:
        deadline = time.monotonic() + PATIENCE_S
        while not self.is_over(story.model, run):
            assert time.monotonic() < deadline, self.run(story.model, run)
            time.sleep(0.1)
        story.run = self.run(story.model, run)

    def made(self, story: Story) -> tuple[Any, str]:
        """The metrics of a run's version, and the hash of its graph."""
        prefix = self.registry.version(story.model, int(story.run["version"]))["bundle"]
        files = {
            entry["name"]: entry["sha256"] for entry in self.artifacts.read_json(prefix + "MANIFEST.json")["files"]
        }
        return self.artifacts.read_json(prefix + "metrics.json"), files["model.onnx"]


def queue_of(run: dict[str, Any]) -> str:
    return "tidemill-training-on-demand" if run.get("retries") else "tidemill-training"


def pid_of(job: str) -> int | None:
    """The process that has this job's id in its environment and started the others that have."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"AWS_BATCH_JOB_ID={job}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append(int(folder.name))
        except OSError:
            continue
    return min(found, default=None)


def is_there(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:1]
    except OSError:
        return False


def wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 40
    while is_there(pid) and time.monotonic() < deadline:
        time.sleep(0.05)


@pytest.fixture(scope="module")
def mill(stack: Any, service: Service, resource: Any, root: Path, tmp_path_factory: Any) -> Mill:  # noqa: F811
    artifacts = Storage(stack.outputs["ArtifactsBucketName"], stack.client("s3"))
    registry = Registry(stack.outputs["TableName"], artifacts, resource)
    table = tmp_path_factory.mktemp("kills") / "adult.csv"
    lines = (root / "tests/data/adult-3000.csv").read_text().splitlines(keepends=True)
    table.write_text("".join(lines[: ROWS + 1]))
    return Mill(stack, service, registry, artifacts, table)


def undisturbed(mill: Mill, model: str) -> tuple[Story, float]:
    """A training nobody touches, and how many seconds its job took."""
    story = Story(model)
    run = mill.start(model)
    mill.wait(story, run)
    job = mill.stack.client("batch").describe_jobs(jobs=[story.run["job"]])["jobs"][0]
    return story, (job["stoppedAt"] - job["startedAt"]) / 1000


def test_forty_killed_trainings_end_as_forty_equal_versions(mill: Mill) -> None:
    undisturbed(mill, "kills-warm")  # what is compiled once for all
    kill_many(mill, "kills", RUNS)


def test_killed_trainings_of_minutes_lose_at_most_one(mill: Mill, root: Path) -> None:
    kill_many(replace(mill, table=root / "tests/data/adult-3000.csv", spec=DEFAULTS), "long", LONG_RUNS)


def kill_many(mill: Mill, name: str, count: int) -> None:
    """Kill so many trainings; each must end as one that nobody touched."""
    draw, stories = random.Random(5), list[Story]()
    reference, took_s = undisturbed(mill, f"{name}-none")
    metrics, graph = mill.made(reference)
    while len(stories) < count:
        story, seen = Story(f"{name}-{len(stories):02d}-{draw.randrange(1000)}"), set[int]()
        run = mill.start(story.model)
        if not mill.kill(story, run, ("SIGTERM", "SIGKILL")[len(stories) % 2], draw.uniform(0, took_s), seen):
            continue  # it was done before: another takes its place
        if len(stories) % TWICE == 0:
            mill.kill(story, run, "SIGTERM", draw.uniform(0, took_s), seen)
        mill.wait(story, run)
        stories.append(story)
        print(told(story), flush=True)
        assert story.run["state"] == "READY", story
        assert story.run["decision"]["promoted"]
        assert [item["version"] for item in mill.registry.versions(story.model)] == [1]
        assert mill.made(story) == (metrics, graph), story
        assert all(kill[3] <= LOST_S for kill in story.kills), story
    lost = [kill[3] for story in stories for kill in story.kills]
    print(f"{len(stories)} trainings of {took_s:.1f} s, {len(lost)} kills; most work lost {max(lost):.1f} s")


def told(story: Story) -> str:
    line = "{} after {:5.1f} s in {:<10} lost {:4.1f} s"
    kills = "; ".join(line.format(*kill) for kill in story.kills)
    where = "on demand" if story.run.get("retries") else "same job"
    return f"{story.model:<14} {story.run['state']} version {story.run.get('version')} ({where}) {kills}"
