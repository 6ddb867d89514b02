"""The batch job: `python -m tidemill.training.job` trains one run, from its dataset to a registered version.

Exit codes, which the job definition's retry rules and Promote read: 0 done (or another job does it), 64 the data
cannot be trained on, 70 a bug, 75 interrupted with the state saved (try again).
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import Any

from tidemill.core import backbones, clients
from tidemill.core.errors import Conflict, NotFound, TidemillError
from tidemill.core.manifest import NAME as MANIFEST
from tidemill.core.progress import Progress
from tidemill.core.registry import TERMINAL, Item, Registry
from tidemill.core.settings import Settings
from tidemill.core.spec import Spec
from tidemill.core.storage import Storage
from tidemill.training import crew
from tidemill.training.machine import log_stream, machine, row_ms
from tidemill.training.reasons import why

DONE, BAD_DATA, BUG, INTERRUPTED = 0, 64, 70, 75
IDLE, TRAIN = 0, 1  # what the first node of several tells the others
HEARTBEAT_S = 10.0  # well inside the lease
REPORT_EVERY_S = 0.5  # progress is for people; more often than this costs writes and tells nobody anything
LOG_EVERY_S = 30.0  # the log is read afterwards, or by somebody who wonders whether it still moves
RUN_APPEARS_S = 60.0  # a stack that was killed needs this long to remember its runs

log = logging.getLogger("tidemill.job")


class Lost(Exception):
    """Another job has taken the run, or somebody ended it: stop, and leave no trace."""


class Heart(threading.Thread):
    """Keeps the lease alive and the progress visible while the main thread trains."""

    def __init__(self, registry: Registry, run: Item) -> None:
        super().__init__(daemon=True)
        self.registry, self.run_item = registry, run
        self.progress: dict[str, Any] = {"stage": "starting", "step": 0, "steps": 0, "message": ""}
        self.stages: dict[str, float] = {}
        self.lost = False
        self._stage_since, self._told, self._logged = time.monotonic(), 0.0, 0.0
        self._halt, self._lock = threading.Event(), threading.Lock()

    def report(self, progress: Progress) -> None:
        """Take a report from the work; tell it now if the stage is new or the last word is old."""
        new_stage = progress.stage != self.progress["stage"]
        if new_stage:
            self._close_stage()
        if new_stage or time.monotonic() - self._logged > LOG_EVERY_S:
            self._logged = time.monotonic()
            log.info("%s %s", progress.stage, progress.message)
        told = {"stage": progress.stage, "step": progress.step, "steps": progress.steps}
        self.progress = {**told, "message": progress.message}
        if new_stage or time.monotonic() - self._told > REPORT_EVERY_S:
            self.beat()

    def beat(self) -> None:
        """Write lease and progress once."""
        with self._lock:
            self._told = time.monotonic()
            if not self.registry.report(
                self.run_item["model"], self.run_item["run"], self.run_item["epoch"], self.progress
            ):
                self.lost = True

    def run(self) -> None:
        """Beat until stopped; a beat that fails for a passing reason is tried again at the next."""
        while not self._halt.wait(HEARTBEAT_S):
            try:
                self.beat()
            except Exception:
                log.warning("The heartbeat failed; the next one comes in %d s.", HEARTBEAT_S, exc_info=True)

    def close(self) -> None:
        """Stop beating."""
        self._close_stage()
        self._halt.set()

    def _close_stage(self) -> None:
        now = time.monotonic()
        stage = self.progress["stage"]
        self.stages[stage] = round(self.stages.get(stage, 0.0) + now - self._stage_since, 3)
        self._stage_since = now


def main(environment: Mapping[str, str] = os.environ) -> int:
    """Train the run named in the environment; the process's exit code."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s", stream=sys.stdout)
    for noisy in ("botocore", "boto3", "urllib3", "jax"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    settings = Settings.from_environment(environment)
    artifacts = Storage(settings.artifacts_bucket)
    registry = Registry(settings.table, artifacts)
    stop, several = threading.Event(), crew.meet(environment)
    previous = signal.signal(signal.SIGTERM, lambda number, frame: _asked_to_stop(stop, number, frame))
    model, run = environment["TIDEMILL_MODEL"], environment["TIDEMILL_RUN"]
    code = BUG
    try:
        if several and not several.leads():
            code = follow(model, run, registry, artifacts, stop, environment)
        else:
            code = work(model, run, registry, artifacts, stop, environment=environment)
    except Exception as error:
        if clients.passes(error):
            log.warning("AWS does not answer; the next attempt takes the run.", exc_info=True)
            code = INTERRUPTED
        elif not several:
            raise
        else:
            log.exception("This node failed.")
    finally:
        signal.signal(signal.SIGTERM, previous)
    if several:
        several.leave(code)
    return code


def work(
    model: str,
    run_id: str,
    registry: Registry,
    artifacts: Storage,
    stop: threading.Event,
    *,
    environment: Mapping[str, str] = os.environ,
) -> int:
    """Take the run, make its bundle unless it stands already, register it; the exit code."""
    run = _take(model, run_id, registry, environment)
    if run is None:
        crew.agreed(environment, IDLE)
        return DONE if _known(model, run_id, registry) else INTERRUPTED
    heart = Heart(registry, run)
    heart.start()
    folder = Path(tempfile.mkdtemp(prefix="tidemill-job-", dir=environment.get("TIDEMILL_WORK_DIR") or None))
    try:
        _make(run, registry, artifacts, heart, stop, folder, environment)
    except Lost:
        log.info("Another job has run %s; stopping.", run_id)
        return DONE
    except TidemillError as error:
        return _ended_badly(run, registry, heart, error)
    except Exception as error:
        if clients.passes(error):
            log.warning("AWS does not answer; the next attempt goes on.", exc_info=True)
            return INTERRUPTED
        log.exception("The job failed.")
        if crew.lost_one(error, environment):
            return INTERRUPTED
        _end(run, registry, "FAILED", why(error))
        return BUG
    finally:
        heart.close()
        shutil.rmtree(folder, ignore_errors=True)
    return DONE


def follow(
    model: str,
    run_id: str,
    registry: Registry,
    artifacts: Storage,
    stop: threading.Event,
    environment: Mapping[str, str],
) -> int:
    """What every other node does: the same work, of which only the first keeps anything; the exit code."""
    if crew.agreed(environment, IDLE) == IDLE:
        return DONE
    folder = Path(tempfile.mkdtemp(prefix="tidemill-job-", dir=environment.get("TIDEMILL_WORK_DIR") or None))
    try:
        run = registry.run(model, run_id)
        backbone = _fetch_backbone(run, artifacts, None, folder, environment)
        _train(run, artifacts, None, stop, folder, folder / "bundle", backbone, environment)
    except TidemillError as error:
        log.info("%s", error.message)
        return INTERRUPTED if error.code == "INTERRUPTED" else BAD_DATA
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return DONE


def _take(model: str, run_id: str, registry: Registry, environment: Mapping[str, str]) -> Item | None:
    """The run under this job's lease, or None when it is not to be had."""
    job = environment.get("AWS_BATCH_JOB_ID", "").partition("#")[0] or f"local-{os.getpid()}"  # of nodes: job#0
    stream = log_stream(environment)
    deadline = time.monotonic() + RUN_APPEARS_S
    while not _known(model, run_id, registry):
        if time.monotonic() > deadline:
            log.error("Run %s of model %s is not in the registry.", run_id, model)
            return None
        time.sleep(1.0)
    under = machine(environment)
    fields = {**({"log_stream": stream} if stream else {}), **({"machine": under} if under else {})}
    run = registry.lease(model, run_id, job, f"{job}/{uuid.uuid4().hex}", **fields)
    if run is None:
        log.info("Run %s is %s and not this job's.", run_id, registry.run(model, run_id)["state"])
    return run


def _make(
    run: Item,
    registry: Registry,
    artifacts: Storage,
    heart: Heart,
    stop: threading.Event,
    folder: Path,
    environment: Mapping[str, str],
) -> None:
    model, run_id = run["model"], run["run"]
    existing = registry.version_of(model, run["fingerprint"])
    prefix = "" if existing is not None else _complete(run, artifacts)
    crew.agreed(environment, IDLE if existing is not None or prefix else TRAIN)
    if existing is not None:
        registry.adopt(model, run_id, existing)
        return
    bundle = folder / "bundle"
    if prefix:
        artifacts.read_folder(prefix, bundle)
    else:
        prefix = _prefix(run, run["epoch"])
        backbone = _fetch_backbone(run, artifacts, heart, folder, environment)
        _train(run, artifacts, heart, stop, folder, bundle, backbone, environment)
        heart.report(Progress("storing", message="writing the bundle"))
        artifacts.write_folder(bundle, prefix)
    heart.report(Progress("registering"))
    heart.close()
    fields = _version_fields(run, bundle, prefix, heart)
    number = registry.register(model, run_id, run["epoch"], run["fingerprint"], fields)
    log.info("Run %s is version %d of %s.", run_id, number, model)


def _prefix(run: Item, epoch: int) -> str:
    """Where an epoch's bundle lies: one for each, so that a job that lost its run writes into none that serves."""
    return f"bundles/{run['model']}/{run['run']}/" + (f"{epoch}/" if epoch > 1 else "")


def _complete(run: Item, artifacts: Storage) -> str:
    """Where the latest earlier holder of the run has left a complete bundle; empty where none has."""
    if run["epoch"] == 1:
        return ""
    there = {str(item["Key"]) for item in artifacts.keys(_prefix(run, 1))}
    places = (_prefix(run, epoch) for epoch in range(run["epoch"] - 1, 0, -1))
    return next((place for place in places if place + MANIFEST in there), "")


def _fetch_backbone(
    run: Item, artifacts: Storage, heart: Heart | None, folder: Path, environment: Mapping[str, str]
) -> Path | None:
    """The folder with the backbone that the run's specification names; raises NotFound (UNKNOWN_BACKBONE)."""
    name = Spec.from_json(run["spec"]).train.backbone
    if not name:
        return None
    if heart is not None:
        heart.report(Progress("reading", message=f"reading the backbone {name}"))
    data = Storage(environment.get("TIDEMILL_DATA_BUCKET", ""), artifacts.client)
    return backbones.fetch(data, name, folder / "backbone")


def _train(
    run: Item,
    artifacts: Storage,
    heart: Heart | None,  # of the node that speaks for the job
    stop: threading.Event,
    folder: Path,
    bundle: Path,
    backbone: Path | None,
    environment: Mapping[str, str],
) -> None:
    from tidemill.training.checkpoint import Interrupted
    from tidemill.training.fit import fit_bundle

    if heart is not None:
        heart.report(Progress("reading", message="reading the dataset"))
    dataset = folder / "dataset"
    artifacts.read_folder(f"datasets/{run['model']}/{run['dataset']}/", dataset)
    checkpoints, prefix = folder / "checkpoints", f"checkpoints/{run['model']}/{run['run']}/"
    checkpoints.mkdir()
    if heart is not None:
        crew.agreed(environment, _resume(artifacts, prefix, checkpoints))
    elif number := crew.agreed(environment, 0):
        artifacts.read_folder(f"{prefix}{number:09d}/", checkpoints / f"{number:09d}")

    def keep(path: Path) -> None:
        if heart is not None:
            artifacts.write_folder(path, f"{prefix}{path.name}/")

    def progress(report: Progress) -> None:
        if heart is None:
            return
        heart.report(report)
        if heart.lost:
            raise Lost
        if stop.is_set() and report.stage != "training":  # in training the search saves its state and stops itself
            raise Interrupted(None, report.stage, "it goes on from the last checkpoint")

    fit_bundle(
        dataset,
        Spec.from_json(run["spec"]),
        bundle,
        backbone_dir=backbone,
        checkpoint_dir=checkpoints,
        progress=progress,
        on_checkpoint=keep,
        stop=stop.is_set,
        run={name: run[name] for name in ("model", "run", "dataset", "fingerprint", "trigger") if name in run},
    )


def _resume(artifacts: Storage, prefix: str, checkpoints: Path) -> int:
    """Fetch the newest complete checkpoint of an earlier attempt; its number, 0 if there is none."""
    complete = [item["Key"] for item in artifacts.keys(prefix) if item["Key"].endswith("/" + MANIFEST)]
    for key in sorted(complete, reverse=True):
        name = key[len(prefix) : -len(MANIFEST) - 1]
        try:
            artifacts.read_folder(key[: -len(MANIFEST)], checkpoints / name)
        except TidemillError as error:
            log.warning("Checkpoint %s is damaged (%s); trying an older one.", name, error.message)
            shutil.rmtree(checkpoints / name, ignore_errors=True)
            continue
        log.info("Resuming from checkpoint %s.", name)
        return int(name)
    return 0


def _version_fields(run: Item, bundle: Path, prefix: str, heart: Heart) -> Item:
    metrics = json.loads((bundle / "metrics.json").read_text())
    primary = metrics["metrics"][metrics["primary"]]
    return {
        "bundle": prefix,
        "dataset": run["dataset"],
        "order": run["order"],
        "task": metrics["task"],
        "target": run.get("target", ""),
        "rows": run.get("rows", {}),
        **({"monitor": run["monitor"]} if "monitor" in run else {}),
        "stages": heart.stages,
        "predict_ms": row_ms(bundle),
        **({"trigger": run["trigger"]} if "trigger" in run else {}),
        "primary": {"name": metrics["primary"], **{key: primary[key] for key in ("value", "low", "high", "baseline")}},
    }


def _ended_badly(run: Item, registry: Registry, heart: Heart, error: TidemillError) -> int:
    if error.code == "INTERRUPTED":
        log.info("Interrupted: %s", error.message)
        return INTERRUPTED
    if isinstance(error, Conflict) or heart.lost:
        log.info("Another job has run %s: %s", run["run"], error.message)
        return DONE
    log.error("%s %s", error.message, error.remedy)
    _end(run, registry, "FAILED", error.reason())
    return BAD_DATA if error.status < 500 else BUG


def _end(run: Item, registry: Registry, state: str, reason: Item) -> None:
    """Give the run its end, if it is still this job's to end."""
    current = registry.run(run["model"], run["run"])
    if current["state"] in TERMINAL or current["epoch"] != run["epoch"]:
        return
    try:
        registry.advance(run["model"], run["run"], state, allowed=["RUNNING"], reason=reason)
    except Conflict:
        log.info("Run %s has another end already.", run["run"])


def _known(model: str, run_id: str, registry: Registry) -> bool:
    try:
        registry.run(model, run_id)
    except NotFound:
        return False
    return True


def _asked_to_stop(stop: threading.Event, number: int, frame: FrameType | None) -> None:
    stop.set()


if __name__ == "__main__":
    sys.exit(main())
