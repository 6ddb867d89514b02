"""Starting, stopping and losing the local stack."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill.core.progress import Progress
from tidemill.local import stack as local
from tidemill.local.errors import DeployFailed, PortInUse, ServerFailed, StackBusy
from tidemill.local.stack import Stack
from tidemill.local.state import Folder, identity, locked, read_json, write_json

pytestmark = pytest.mark.stack
Start = Callable[..., Stack]
Eventually = Callable[..., Any]


def get(stack: Stack, path: str) -> Any:
    """GET a path of the sample's API."""
    connection = http.client.HTTPConnection("127.0.0.1", stack.port, timeout=30)
    connection.request("GET", stack.api_url.removeprefix(stack.endpoint) + path)
    answer = json.loads(connection.getresponse().read())
    connection.close()
    return answer


def test_starting_twice_returns_the_same_stack(sample: Stack) -> None:
    reports: list[Progress] = []
    again = local.up(sample.root, sample.state, port=1, report=reports.append)
    assert (again.pid, again.port, again.outputs) == (sample.pid, sample.port, sample.outputs)
    assert reports == []
    found = local.status(sample.state)
    assert found is not None
    assert (found.pid, found.outputs, found.clean) == (sample.pid, sample.outputs, True)


def test_two_starts_at_once_make_one_server(bare: Path, start: Start) -> None:
    found: list[Stack] = []
    threads = [threading.Thread(target=lambda: found.append(start(bare))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 2
    assert found[0].pid == found[1].pid


def test_another_program_on_the_port_is_named(bare: Path, start: Start) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=str(port)):
            start(bare, port=port)


def test_a_lock_held_too_long_is_an_error(tmp_path: Path) -> None:
    folder = Folder(tmp_path)
    with locked(folder), pytest.raises(StackBusy), locked(folder, patience_s=0.2):
        pass


def test_the_secrets_are_the_owners_alone(sample: Stack) -> None:
    assert stat.S_IMODE((sample.state / "credentials.json").stat().st_mode) == 0o600
    assert stat.S_IMODE(sample.state.stat().st_mode) == 0o700
    assert sample.secrets.admin not in (sample.state / "stack.json").read_text()
    assert sample.secrets.secret_access_key not in repr(sample)


def test_functions_see_neither_our_secrets_nor_the_persons(sample: Stack) -> None:
    seen = json.dumps(get(sample, "/environment"))
    assert "canary" not in seen
    for secret in (sample.secrets.admin, sample.secrets.root_secret_access_key, sample.secrets.secret_access_key):
        assert secret not in seen


def test_a_clean_stop_keeps_everything_and_changed_code_reaches_the_same_api(
    project: Path, start: Start, eventually: Eventually
) -> None:
    stack = start(project)
    assert get(stack, "/x")["greeting"] == "hello from the layer"  # a worker is warm
    stack.client("dynamodb").put_item(TableName=stack.outputs["TableName"], Item={"pk": {"S": "kept"}})
    assert local.down(stack.state)
    assert not local.down(stack.state)
    assert local.status(stack.state) is None
    assert eventually(lambda: not _group_lives(stack.pid), within_s=5)
    assert list((stack.state / "tmp").glob("ministack-*")) == []
    code = project / "functions" / "api.py"
    code.write_text(code.read_text().replace('"greeting": GREETING', '"greeting": GREETING.upper()'))
    layer = project / "layer" / "python" / "shared_words.py"
    layer.write_text(layer.read_text().replace("hello", "goodbye"))
    again = start(project, port=stack.port)
    assert again.clean
    assert again.api_url == stack.api_url
    found = again.client("dynamodb").scan(TableName=again.outputs["TableName"])["Items"]
    assert found == [{"pk": {"S": "kept"}}]
    assert get(again, "/x")["greeting"] == "GOODBYE FROM THE LAYER"


def test_a_killed_server_leaves_the_objects_and_the_rest_is_made_anew(
    project: Path, tmp_path: Path, start: Start, eventually: Eventually
) -> None:
    stack = start(project)
    job, mark = _long_job(stack, tmp_path / "mark")
    assert eventually(lambda: mark.exists() and mark.read_text())
    s3, bucket = stack.client("s3"), stack.outputs["DataBucketName"]
    nameless = stack.outputs["NamelessBucketName"]
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"kept/{number}/a b.csv", Body=b"x" * number)
    s3.put_object(Bucket=bucket, Key="kept/0/a b.csv", Body=b"second version")
    s3.put_object(Bucket=nameless, Key="key", Body=b"body")
    stack.client("dynamodb").put_item(TableName=stack.outputs["TableName"], Item={"pk": {"S": "lost"}})
    get(stack, "/models")
    os.kill(stack.pid, signal.SIGKILL)
    assert eventually(lambda: identity(int(mark.read_text())) is None)  # the job did not outlive it
    again = start(project)
    assert not again.clean
    assert (again.outputs["DataBucketName"], again.outputs["NamelessBucketName"]) == (bucket, nameless)
    s3 = again.client("s3")
    keys = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert len([item for item in keys if item["Key"].startswith("kept/")]) == 20
    assert s3.get_object(Bucket=bucket, Key="kept/0/a b.csv")["Body"].read() == b"second version"
    assert s3.get_object(Bucket=nameless, Key="key")["Body"].read() == b"body"
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert again.client("dynamodb").scan(TableName=again.outputs["TableName"])["Items"] == []
    assert get(again, "/models")["greeting"]
    s3.put_object(Bucket=bucket, Key="uploads/m/new.csv", Body=b"x")  # the wiring works again
    table = again.outputs["TableName"]
    assert eventually(lambda: again.client("dynamodb").scan(TableName=table)["Items"])
    assert not start(project).clean  # until somebody says the registry was rebuilt
    assert _look(again, job)["status"] == "RUNNING"  # as it was: nothing starts before the registry is back
    local.settled(again.state)
    assert start(project).clean
    assert eventually(lambda: _look(again, job)["status"] == "SUCCEEDED")
    assert _look(again, job)["attempts"][0]["statusReason"].startswith("Host EC2")


def _long_job(stack: Stack, mark: Path) -> tuple[str, Path]:
    """A job that sleeps at its first attempt and ends well at its second."""
    code = (
        f"import os, pathlib, time; mark = pathlib.Path({str(mark)!r}); again = mark.exists()\n"
        "mark.write_text(str(os.getpid())); again or time.sleep(60)"
    )
    call = {"jobName": "long", "jobQueue": "sample", "jobDefinition": "sample"}
    overrides = {"command": ["python", "-c", code]}
    return stack.client("batch").submit_job(**call, containerOverrides=overrides)["jobId"], mark


def _look(stack: Stack, job: str) -> Any:
    return stack.client("batch").describe_jobs(jobs=[job])["jobs"][0]


def test_a_stale_mark_of_another_process_is_no_running_stack(bare: Path, start: Start) -> None:
    stack = start(bare)
    local.down(stack.state)
    write_json(stack.state / "running.json", {"pid": os.getpid(), "identity": "another boot:1", "port": stack.port})
    assert local.status(stack.state) is None
    again = start(bare)
    assert again.pid != os.getpid()
    assert identity(os.getpid()) is not None  # and nobody was killed for it


def test_a_resource_that_fails_is_named_and_mending_it_is_enough(bare: Path, start: Start) -> None:
    template = bare / "template.yaml"
    good = template.read_text()
    bad = "NotificationConfiguration: { QueueConfigurations: [{ Event: x, Queue: y }] }"
    template.write_text(good.replace("Properties: {", f"Properties: {{ {bad}, "))
    with pytest.raises(DeployFailed, match="Bucket failed"):
        start(bare)
    template.write_text(good)
    assert start(bare).outputs["BucketName"].startswith("bare-")


def test_a_server_that_does_not_start_shows_the_end_of_its_log(
    bare: Path, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(ServerFailed, match=r"server\.log"):
        start(bare)


def test_the_server_ends_when_its_folder_is_gone(
    bare: Path, tmp_path: Path, start: Start, eventually: Eventually
) -> None:
    stack = start(bare)
    (stack.state / "running.json").rename(tmp_path / "gone")
    assert eventually(lambda: identity(stack.pid) is None, within_s=15)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return any(
        int(fields[2]) == group and fields[0] != "Z"
        for path in Path("/proc").glob("[0-9]*/stat")
        if (fields := _fields(path))
    )


def _fields(path: Path) -> list[str]:
    try:
        return path.read_text().rpartition(")")[2].split()
    except OSError:
        return []


def test_a_torn_file_reads_as_nothing(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{")
    assert read_json(tmp_path / "x.json") is None
