"""A job that is asked to stop stops, wherever it is, with the exit code for "again"; the next attempt goes on."""

from __future__ import annotations

import json
import threading
from typing import Any

import pytest
from tests.faults.test_crashes import check, handle, job_event, start, waiting
from tests.faults.world import World

from tidemill.core.progress import Progress
from tidemill.training import fit, job

pytestmark = [pytest.mark.stack, pytest.mark.timeout(300)]


def submitted(world: World, model: str) -> dict[str, Any]:
    """A run up to its job."""
    handle(start(world, model))
    for message in waiting(world):
        handle(message)
    (found,) = waiting(world)
    return found


@pytest.mark.parametrize("stage", ["features", "evaluating", "exporting", "writing"])
def test_asked_to_stop_between_stages_a_job_ends_as_interrupted_and_goes_on(
    world: World, new_model: Any, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    model, stop, really = new_model(), threading.Event(), fit.fit_bundle

    def fit_bundle(*given: Any, progress: Any, **more: Any) -> Any:
        progress(Progress("training"))
        stop.set()
        progress(Progress("training", message="the search stops by itself, where its state is saved"))
        progress(Progress(stage))
        raise AssertionError("it went on")

    found = submitted(world, model)
    monkeypatch.setattr(fit, "fit_bundle", fit_bundle)
    names = {"AWS_BATCH_JOB_ID": found["job"]}
    given = (model, found["run"], world.registry, world.artifacts)
    assert job.work(*given, stop, environment=names) == job.INTERRUPTED
    assert world.registry.run(model, found["run"])["state"] == "RUNNING", "the next attempt takes it over"
    monkeypatch.setattr(fit, "fit_bundle", really)
    assert job.work(*given, threading.Event(), environment=names) == job.DONE
    handle(job_event(found))
    check(world, model)


def test_an_interrupted_run_is_told_of_and_goes_to_the_on_demand_queue(world: World, new_model: Any) -> None:
    model = new_model()
    found = submitted(world, model)
    world.registry.lease(model, found["run"], found["job"], found["job"] + "/1")
    message = job_event(found, "FAILED")
    body = json.loads(message["body"])
    body["detail"] |= {"container": {"exitCode": 75}, "statusReason": "Essential container in task exited"}
    message["body"] = json.dumps(body)
    handle(message)
    handle(message)  # told twice, given back once
    told = [event for event in world.events if event["detail-type"] == "RunInterrupted"]
    assert len(told) == 2 and told[0]["detail"]["retries"] == 1 == told[1]["detail"]["retries"]
    for event in waiting(world)[:1]:
        handle(event)
    (again,) = waiting(world)
    assert world.batch[again["job"]]["jobQueue"].endswith("-on-demand")
    assert world.registry.run(model, found["run"])["job"] == again["job"]
    handle(again)
    handle(message)  # and late, about a job the run no longer depends on
    handle(job_event(again))
    check(world, model)
