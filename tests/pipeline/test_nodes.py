"""A run on two machines, as AWS Batch starts such a job: the model of one machine, and no run lost with a node."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.conftest import Service, until

pytestmark = [pytest.mark.slow, pytest.mark.stack, pytest.mark.timeout(900)]
ADULT = Path(__file__).parent.parent / "data" / "adult-3000.csv"
SPEC = """
[train]
family = "mlp"
epochs = {epochs}
patience = {epochs}
members = 3
[search]
configurations = 4
folds = 1
[job]
nodes = {nodes}
"""


def train(service: Service, model: str, nodes: int, epochs: int) -> dict[str, Any]:
    run = service.ended(model, service.upload(model, ADULT, SPEC.format(nodes=nodes, epochs=epochs)), 600)
    assert run["state"] == "READY", run.get("reason")
    return run


def processes(job: str) -> dict[int, int]:
    """The process of each node of a job, by its number."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            told = dict(part.partition("=")[::2] for part in path.read_text(errors="replace").split("\0"))
        except OSError:
            continue
        if told.get("AWS_BATCH_JOB_ID", "").startswith(job + "#"):
            found[int(told["AWS_BATCH_JOB_NODE_INDEX"])] = int(path.parent.name)
    return found


def test_two_machines_make_the_model_of_one(service: Service, new_model: Any, artifacts: Any) -> None:
    figures = []
    for nodes in (1, 2):
        model = new_model()
        run = train(service, model, nodes, 6)
        figures.append(artifacts.read_json(f"bundles/{model}/{run['run']}/metrics.json")["metrics"])
        print(f"\n{nodes} nodes: {json.dumps({name: found['value'] for name, found in figures[-1].items()})}")
    for name, alone in figures[0].items():
        # Sums are taken in another order, and training magnifies the last bits: not bit-equal, but well within chance.
        assert figures[1][name]["value"] == pytest.approx(alone["value"], abs=0.02), name


@pytest.mark.parametrize("lost", [0, 1])
def test_a_run_that_loses_a_machine_goes_on_from_its_checkpoint(
    service: Service, new_model: Any, stack: Any, lost: int
) -> None:
    model = new_model()
    upload = service.upload(model, ADULT, SPEC.format(nodes=2, epochs=200))

    def training() -> str | None:
        answer = service.http.get(f"/models/{model}/runs", headers=service.operate, params={"upload": upload})
        runs = answer.json().get("runs", [])
        progress = (runs[0].get("progress") or {}) if runs else {}
        return str(runs[0]["job"]) if progress.get("stage") == "training" and progress.get("step", 0) > 5 else None

    job = until(training)
    found = processes(job)
    assert sorted(found) == [0, 1]
    os.kill(found[lost], signal.SIGKILL)
    run = service.ended(model, upload, 600)
    assert run["state"] == "READY", run.get("reason")
    (told,) = stack.client("batch").describe_jobs(jobs=[job])["jobs"]
    codes = [attempt["container"].get("exitCode") for attempt in told["attempts"]]
    print(f"\nnode {lost} killed: exit codes {codes}")
    assert len(codes) == 2 and codes[-1] == 0
