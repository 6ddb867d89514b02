"""What functions do seldom, done with the rights of their own roles: what takes hours, what goes wrong, what is left.

`tests/fire/test_rights.py` writes down every verdict of the stack on these calls, beside those of the other tests that
go through deployed doors, and asks of each right whether one of them needs it.
"""

from __future__ import annotations

import gzip
import importlib
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from tests.faults.test_crashes import SPEC, table
from tests.fire.rights.twin import acting
from tests.pipeline.conftest import Service, until
from tests.serving import bundle_factory
from tests.serving.scoring_factory import SCHEMA, csv_of, people

from tidemill.core import clients, jobs, schedules
from tidemill.core.clock import now
from tidemill.core.events import Bus
from tidemill.core.registry import Registry
from tidemill.core.scorings import Scorings, job_of, scoring_of
from tidemill.core.settings import Settings
from tidemill.core.spec import Spec
from tidemill.core.storage import Storage
from tidemill.core.submit import submit
from tidemill.core.sweep import Sweep
from tidemill.core.uploads import Upload, notification_of

pytestmark = [pytest.mark.fire, pytest.mark.stack, pytest.mark.timeout(300)]
QUEUED = ("preprocess", "train", "promote", "score", "retrain", "monitor", "sweep")


def received(registry: Registry, model: str, number: int, settings: Settings) -> Upload:
    """An upload that has a run, and nothing else."""
    key = f"uploads/{model}/u{number}/a.csv"
    upload = Upload(settings.data_bucket, key, 1, "e", f"0{number}", now(), f"v{number}")
    registry.receive(model, upload.run, upload.order, upload.to_json())
    return upload


def prepared(registry: Registry, model: str, number: int, settings: Settings, **spec: Any) -> Upload:
    upload = received(registry, model, number, settings)
    about = {
        "dataset": "d-none",
        "spec": Spec.from_json(spec).to_json(),
        "fingerprint": f"f{number}",
        "rows": {"read": 100},
    }
    registry.advance(model, upload.run, "PREPARED", allowed=["RECEIVED"], **about)
    return upload


def idle_jobs(batch: Any, settings: Settings, model: str) -> list[str]:
    """Jobs of a run that is not there, more than the stack starts at once."""
    about = {"jobQueue": settings.job_queue, "jobDefinition": settings.job_definition}
    told = {"model": model, "run": "r-nobody"}
    return [batch.submit_job(jobName=f"{model}-{n}", parameters=told, **about)["jobId"] for n in range(4)]


@pytest.fixture
def model(registry: Registry, artifacts: Storage, new_model: Callable[[], str], settings: Any, tmp_path: Path) -> str:
    """A model in service, whose files are all there."""
    name = new_model()
    upload = prepared(registry, name, 1, settings)
    registry.lease(name, upload.run, "job", "attempt")
    fields = {"bundle": f"bundles/{name}/{upload.run}/", "dataset": "d-1", "order": upload.order}
    registry.register(name, upload.run, 1, "f1", fields)
    artifacts.write_folder(bundle_factory.make(tmp_path / "bundle"), fields["bundle"])
    artifacts.write_json(f"datasets/{name}/d-1/schema.json", SCHEMA)
    registry.promote(name, 1, by="test", why="test")
    return name


def own(settings: Settings) -> tuple[Registry, Storage, Storage]:
    """Registry and buckets as the function sees them that this process is."""
    artifacts = Storage(settings.artifacts_bucket)
    return Registry(settings.table, artifacts), Storage(settings.data_bucket), artifacts


@pytest.mark.parametrize("name", QUEUED)
def test_a_message_that_fails_is_hidden_for_a_while(stack: Any, name: str, caplog: Any) -> None:
    """With the right to do so; a message without a body, and a table that is not there, stand for any fault."""
    work = importlib.import_module(name)
    record = {"messageId": "1", "receiptHandle": "none", "body": None, "attributes": {"ApproximateReceiveCount": "1"}}
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000)
    with acting(stack, name.capitalize(), TIDEMILL_TABLE="nowhere"):
        answer = work.handler({"Records": [record]}, context)
    assert answer == {"batchItemFailures": [{"itemIdentifier": "1"}]}
    assert "ReceiptHandleIsInvalid" in caplog.text, "it was allowed, and only the receipt was made up"


def test_runs_go_to_the_queues_of_their_kind(stack: Any, registry: Registry, settings: Any, new_model: Any) -> None:
    model = new_model()
    alone = prepared(registry, model, 1, settings)
    several = prepared(registry, model, 2, settings, job={"nodes": 2})
    again = prepared(registry, model, 3, settings)
    registry.table.update(f"MODEL#{model}", f"RUN#{again.run}", "SET retries = :two", {":two": 2})
    with acting(stack, "Train"):
        here = Settings.from_environment()
        mine, _, _ = own(here)
        for upload in (alone, several, again):
            state = submit(model, upload.run, mine, Bus(here.bus), here)["state"]
            assert state in ("SUBMITTED", "RUNNING"), "the job may have begun by now"


def test_a_run_that_waits_behind_others_says_so(
    service: Service, stack: Any, registry: Registry, settings: Any, new_model: Any
) -> None:
    model = new_model()
    upload, batch = prepared(registry, model, 1, settings), stack.client("batch")
    waiting = idle_jobs(batch, settings, model)
    registry.advance(model, upload.run, "SUBMITTED", allowed=["PREPARED"], job=waiting[-1])
    run = service.http.get(f"/models/{model}/runs/{upload.run}", headers=service.operate).json()
    assert run["wait"]["code"] == "QUEUE_ORDER", run
    with acting(stack, "Api"):
        assert jobs_before(clients.client("batch"), waiting[-1]) > 0
    for job in waiting:
        batch.terminate_job(jobId=job, reason="The test is over.")


def jobs_before(batch: Any, job: str) -> int:
    """How many jobs stand before one, as AWS makes it known: by its list, not by a reason as local Batch does."""
    (about,) = jobs.described(batch, [job]).values()
    return jobs._before(batch, about)


def test_a_file_too_large_for_the_function_is_scored_by_the_job(
    stack: Any, model: str, uploads: Storage, artifacts: Storage, registry: Registry
) -> None:
    """The function hands over when its time is short; the job makes every row of it."""
    import score

    key = f"requests/{model}/u1/people.csv"
    silent(stack, uploads, lambda: uploads.write_bytes(key, csv_of(people(300))))
    request = announced(uploads, key)
    record = {"messageId": "1", "receiptHandle": "r", "body": notification_of(request), "attributes": {}}
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 1_000)
    with acting(stack, "Score"):
        score._scorer.cache_clear()
        assert score.handler({"Records": [record]}, context) == {"batchItemFailures": []}
    score._scorer.cache_clear()
    scorings, scoring = Scorings(registry), scoring_of(request)
    assert scorings.get(model, scoring)["job"]
    until(lambda: scorings.get(model, scoring)["state"] == "DONE")
    assert artifacts.read_bytes(f"results/{model}/{scoring}/predictions.csv").count(b"\n") == 301


def test_a_backbone_that_is_gone_when_the_job_wants_it_is_missed_by_name(
    service: Service, uploads: Storage, new_model: Any
) -> None:
    model = new_model()
    lines = [f"this is {'good' if n % 2 else 'bad'} thing {n},{n % 2}" for n in range(120)]
    spec = b'[data]\ntarget = "mood"\n[train]\nfamily = "backbone"\nbackbone = "nobody"\n'
    uploads.write_bytes(f"uploads/{model}/tidemill.toml", spec)  # dropped in the bucket: no API to say it at once
    uploads.write_bytes(f"uploads/{model}/u1/moods.csv", "\n".join(["text,mood", *lines]).encode())
    run = service.ended(model, "u1")
    assert run["state"] == "FAILED" and "nobody" in run["reason"]["message"], run.get("reason")


def test_a_backbone_is_sent_and_shown(service: Service, new_model: Any) -> None:
    name = new_model()
    ask = {"model": name, "filename": "model.safetensors", "purpose": "backbone"}
    form = service.http.post("/uploads", headers=service.operate, json=ask).json()
    sent = httpx.post(form["url"], data=form["fields"], files={"file": b"0" * 64}, trust_env=False)
    assert sent.status_code in (200, 201, 204), sent.text
    shown = service.http.get("/backbones", headers=service.operate).json()["backbones"]
    assert name in [backbone["name"] for backbone in shown]


def test_a_damaged_checkpoint_costs_no_run(
    service: Service, stack: Any, uploads: Storage, artifacts: Storage, new_model: Any
) -> None:
    """A job that finds one of an earlier attempt reads it, and begins anew."""
    model = new_model()
    key = f"uploads/{model}/u1/table.csv"
    silent(stack, uploads, lambda: uploads.write_bytes(key, table()))
    uploads.write_bytes(f"uploads/{model}/tidemill.toml", SPEC)
    upload = announced(uploads, key)
    place = f"checkpoints/{model}/{upload.run}/000000003/"
    artifacts.write_bytes(place + "state.json", b"{")
    artifacts.write_bytes(place + "MANIFEST.json", b"{}")
    stack.client("sqs").send_message(QueueUrl=stack.outputs["PreprocessQueueUrl"], MessageBody=notification_of(upload))
    run = service.ended(model, "u1")
    assert run["state"] == "READY", run.get("reason")


def test_a_version_whose_files_are_gone_is_not_promoted(
    stack: Any, registry: Registry, settings: Any, new_model: Any
) -> None:
    model = new_model()
    upload = prepared(registry, model, 1, settings)
    registry.lease(model, upload.run, "job", "attempt")
    registry.register(model, upload.run, 1, "f1", {"bundle": f"bundles/{model}/gone/", "dataset": "d", "order": "1"})
    event = {"detail-type": "VersionRegistered", "detail": {"model": model, "run": upload.run, "version": 1}}
    told("promote", stack, json.dumps(event))
    assert registry.run(model, upload.run)["decision"]["code"] == "INCOMPLETE_BUNDLE"


def test_a_file_that_was_deleted_is_missed_by_function_and_job(
    stack: Any, model: str, settings: Any, registry: Registry
) -> None:
    import score

    scorings = Scorings(registry)
    gone = Upload(settings.data_bucket, f"requests/{model}/u1/gone.csv", 9, "e", "0A", now())
    score._scorer.cache_clear()
    told("score", stack, notification_of(gone))
    score._scorer.cache_clear()
    assert scorings.get(model, scoring_of(gone))["reason"]["code"] == "REQUEST_GONE"
    other = replace(gone, sequencer="0B")
    scorings.receive(other)
    names = replace(settings, job_queue="tidemill-scoring", job_definition="tidemill-scoring")
    job_of(scorings.get(model, scoring_of(other)), names, stack.client("batch"))
    until(lambda: scorings.get(model, scoring_of(other))["state"] == "REJECTED")


def test_a_training_whose_data_were_deleted_says_so(
    stack: Any, registry: Registry, artifacts: Storage, model: str
) -> None:
    artifacts.write_bytes(f"traffic/{model}/2026-01-02/1.jsonl.gz", gzip.compress(b""))
    told("retrain", stack, json.dumps({"wake": "retrain", "model": model, "why": "hand", "ask": "a-1"}))
    attempts = registry.table.query(f"MODEL#{model}", "RETRAIN#")
    assert [item["reason"]["code"] for item in attempts], attempts


def told(name: str, stack: Any, body: str) -> None:
    """Give a function, in its own role, one message; it must do it."""
    work = importlib.import_module(name)
    record = {"messageId": "1", "receiptHandle": "r", "body": body, "attributes": {"ApproximateReceiveCount": "1"}}
    context = SimpleNamespace(get_remaining_time_in_millis=lambda: 900_000)
    with acting(stack, name.capitalize()):
        assert work.handler({"Records": [record]}, context) == {"batchItemFailures": []}


def announced(uploads: Storage, key: str) -> Upload:
    """What S3 would have told of an object."""
    head = uploads.client.head_object(Bucket=uploads.bucket, Key=key)
    version = str(head.get("VersionId") or "")
    return Upload(uploads.bucket, key, head["ContentLength"], head["ETag"].strip('"'), "0A", now(), version)


def test_clocks_are_made_and_deleted_with_the_specification(stack: Any, registry: Registry, model: str) -> None:
    wind(stack, registry, model)


def wind(stack: Any, registry: Registry, model: str) -> None:
    """Have Retrain make a clock, change it and delete it, as the champion's specification changes."""
    alias = registry.alias(model)
    assert alias is not None
    with acting(stack, "Retrain"):
        here = Settings.from_environment()
        mine, _, _ = own(here)
        place = {"GroupName": here.schedule_group, "Name": schedules.name_of("retrain", model)}
        for clock in ("rate(7 days)", "rate(8 days)", ""):
            said = Spec.from_json({"schedule": {"retrain": clock}}).to_json()
            registry.table.update(f"MODEL#{model}", f"RUN#{alias['run']}", "SET spec = :spec", {":spec": said})
            schedules.keep(model, mine, here)
            found = schedules._found(stack.client("scheduler"), *place.values())
            assert (found or {}).get("ScheduleExpression", "") == clock


def silent(stack: Any, uploads: Storage, write: Callable[[], Any]) -> None:
    """Write to the data bucket while it tells nobody: the event is lost."""
    s3 = uploads.client
    told = s3.get_bucket_notification_configuration(Bucket=uploads.bucket)
    told.pop("ResponseMetadata")
    s3.put_bucket_notification_configuration(Bucket=uploads.bucket, NotificationConfiguration={})
    try:
        write()
    finally:
        s3.put_bucket_notification_configuration(Bucket=uploads.bucket, NotificationConfiguration=told)


def test_a_sweep_makes_good_whatever_was_lost(
    stack: Any, registry: Registry, uploads: Storage, settings: Any, model: str, new_model: Any
) -> None:
    """Lost uploads and requests, runs in each state, a job that nobody needs: each is sent on, or ended."""
    lost, late, batch = new_model(), new_model(), stack.client("batch")
    silent(stack, uploads, lambda: uploads.write_bytes(f"uploads/{lost}/u/table.csv", b"a,b\n1,2\n"))
    silent(stack, uploads, lambda: uploads.write_bytes("uploads/Not_A_Name/u/table.csv", b"a,b\n1,2\n"))
    silent(stack, uploads, lambda: uploads.write_bytes(f"requests/{model}/u9/rows.csv", b"a\n1\n"))
    received(registry, late, 1, settings)
    prepared(registry, late, 2, settings)
    gone = prepared(registry, late, 3, settings)
    registry.advance(late, gone.run, "SUBMITTED", allowed=["PREPARED"], job="job-nobody")
    idle_jobs(batch, settings, late)
    did: list[str] = []
    with acting(stack, "Sweep"):
        here = Settings.from_environment()
        for minutes in range(20, 500, 50):
            at = datetime.now(UTC) + timedelta(minutes=minutes)
            sweep = Sweep(*own(here), here, clients.client("sqs"), clients.client("batch"), at=at)
            sweep.run()
            did += sweep.did
    for wanted in ("uploads found", "requests found", "RECEIVED sent again", "PREPARED sent again", "given up",
                   "orphan jobs ended", "clocks sent again"):  # fmt: skip
        assert any(wanted in line for line in did), (wanted, did)
