"""The rules of local Batch, and its runner with real processes but no server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tidemill.local import runner as running
from tidemill.local.definitions import Catalogue, Definition, load_catalogue, save_catalogue
from tidemill.local.jobs import CONTAINER_EXITED, ENDED, HOST_LOST, TIMED_OUT, Ending, Job, Table, new_job, retried
from tidemill.local.runner import Runner
from tidemill.local.state import Folder, identity

QUEUE = "arn:aws:batch:us-east-1:111122223333:job-queue/q"
DEFINITION = "arn:aws:batch:us-east-1:111122223333:job-definition/d:1"
RULES = [
    {"onStatusReason": "Host EC2*", "action": "RETRY"},
    {"onReason": "CannotPull*", "action": "retry"},
    {"onExitCode": "75", "action": "RETRY"},
    {"onExitCode": "*", "onReason": "*", "action": "EXIT"},
    {"onStatusReason": "*", "action": "EXIT"},
]


@pytest.mark.parametrize(
    ("ending", "made", "again"),
    [
        (Ending(None, HOST_LOST), 1, True),
        (Ending(None, HOST_LOST), 5, False),  # the attempts are used up
        (Ending(75, CONTAINER_EXITED), 1, True),
        (Ending(7, CONTAINER_EXITED), 1, False),
        (Ending(750, CONTAINER_EXITED), 1, False),
        (Ending(None, "Task failed to start", "CannotPullContainerError: no such image"), 1, True),
        (Ending(None, "Task failed to start", "Other"), 1, False),
        (Ending(1, TIMED_OUT, final=True), 1, False),
        (Ending(0, CONTAINER_EXITED), 1, False),
    ],
)
def test_the_first_rule_that_fits_decides(ending: Ending, made: int, again: bool) -> None:
    assert retried(ending, {"attempts": 5, "evaluateOnExit": RULES}, made) is again


def test_where_no_rule_fits_the_job_is_tried_again() -> None:
    rules = [{"onExitCode": "1", "action": "EXIT"}]
    assert retried(Ending(2, CONTAINER_EXITED), {"attempts": 2, "evaluateOnExit": rules}, 1)
    assert retried(Ending(2, CONTAINER_EXITED), {"attempts": 2}, 1)


def test_a_request_overrides_command_environment_and_parameters() -> None:
    definition = Definition("d", ("python", "Ref::a", "Ref::b", "Ref::c"), {"X": "1", "Y": "1"}, {"a": "A", "b": "B"})
    request = {
        "jobName": "n",
        "parameters": {"b": "mine"},
        "containerOverrides": {"environment": [{"name": "Y", "value": "2"}]},
    }
    job = new_job(request, definition, QUEUE, DEFINITION)
    assert job["container"]["command"] == ["python", "A", "mine", "Ref::c"]
    assert job["container"]["environment"] == [{"name": "X", "value": "1"}, {"name": "Y", "value": "2"}]
    other = new_job({"jobName": "n", "containerOverrides": {"command": ["true"]}}, definition, QUEUE, DEFINITION)
    assert other["container"]["command"] == ["true"]


class Heard:
    """An outbox that only remembers."""

    def __init__(self) -> None:
        self.states: list[str] = []
        self.lines: list[str] = []

    def tell(self, job: Job) -> None:
        self.states.append(job["status"])

    def open_log(self, stream: str) -> None:
        self.stream = stream

    def write_log(self, _: str, lines: list[str]) -> None:
        self.lines += lines


Bench = Callable[..., tuple[Job, Heard]]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "state").create()
    save_catalogue(made, Catalogue(("q",), (Definition("d", ("true",)),), (str(tmp_path),)))
    return made


def job_of(code: str, *, command: tuple[str, ...] = (), **fields: Any) -> Job:
    """A job that runs a piece of Python."""
    words = command or ("python", "-c", code)
    return new_job({"jobName": "n"}, Definition("d", words, **fields), QUEUE, DEFINITION)


def play(
    folder: Folder, job: Job, act: Callable[[Runner, Job], Awaitable[None]] | None = None, within_s: float = 30
) -> Heard:
    """Run a job to its end, with something happening on the way."""
    heard = Heard()

    async def scene() -> None:
        scheduler = Runner(folder, Table(folder.batch / "jobs"), heard, "http://127.0.0.1:1")  # type: ignore[arg-type]
        task = asyncio.create_task(scheduler.run())
        scheduler.submit(job)
        if act:
            await act(scheduler, job)
        deadline = time.monotonic() + within_s
        while job["status"] not in ENDED and not scheduler._stopping and time.monotonic() < deadline:
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    asyncio.run(scene())
    return heard


async def until_running(job: Job, heard_file: Path | None = None) -> None:
    """Wait for RUNNING, and for the job's first output where a file is named."""
    for _ in range(1000):
        if job["status"] == "RUNNING" and (heard_file is None or (heard_file.exists() and heard_file.read_text())):
            return
        await asyncio.sleep(0.01)


def test_a_job_that_ends_well_passes_every_state(folder: Folder) -> None:
    job = job_of("import sys; print('one'); print('two', file=sys.stderr)")
    heard = play(folder, job)
    assert heard.states == ["SUBMITTED", "RUNNABLE", "STARTING", "RUNNING", "SUCCEEDED"]
    assert heard.lines == ["one", "two"]
    assert (folder.logs / "jobs" / f"{job['jobId']}.log").read_text() == "one\ntwo\n"
    assert job["container"]["exitCode"] == 0
    assert job["createdAt"] <= job["startedAt"] <= job["stoppedAt"]
    assert job["container"]["logStreamName"].startswith("d/default/")


def test_a_job_that_fails_is_tried_again_as_often_as_allowed(folder: Folder) -> None:
    job = job_of("import sys; sys.exit(3)", attempts=2)
    heard = play(folder, job)
    assert heard.states == ["SUBMITTED", *["RUNNABLE", "STARTING", "RUNNING"] * 2, "FAILED"]
    assert [attempt["container"]["exitCode"] for attempt in job["attempts"]] == [3, 3]
    assert job["statusReason"] == CONTAINER_EXITED


def test_exit_ends_a_job_that_had_attempts_left(folder: Folder) -> None:
    job = job_of("import sys; sys.exit(64)", attempts=5, rules=tuple(RULES))
    play(folder, job)
    assert (job["status"], len(job["attempts"])) == ("FAILED", 1)


def test_the_attempt_is_told_its_number(folder: Folder) -> None:
    code = (
        "import os, sys; n = os.environ['AWS_BATCH_JOB_ATTEMPT']; print('attempt', n); sys.exit(0 if n == '2' else 75)"
    )
    job = job_of(code, attempts=5, rules=tuple(RULES))
    heard = play(folder, job)
    assert (job["status"], heard.lines) == ("SUCCEEDED", ["attempt 1", "attempt 2"])


def test_a_signal_becomes_128_and_its_number(folder: Folder) -> None:
    job = job_of("import os; os.kill(os.getpid(), 9)")
    play(folder, job)
    assert job["container"]["exitCode"] == 137


TOLD = """
import os, sys, time
told = {name[14:]: value for name, value in os.environ.items() if name.startswith("AWS_BATCH_JOB_")}
print(told["NODE_INDEX"], told["NUM_NODES"], told["ID"][-2:], "MAIN_NODE_PRIVATE_IPV4_ADDRESS" in told, flush=True)
time.sleep(1.0 if told["NODE_INDEX"] == "0" else 60)
sys.exit(0 if told["NODE_INDEX"] == "0" else 1)
"""


def test_every_node_is_told_its_number_and_ends_with_the_main_one(folder: Folder) -> None:
    request = {"jobName": "n", "nodeOverrides": {"numNodes": 3}}
    job = new_job(request, Definition("d", ("python", "-c", TOLD), nodes=2), QUEUE, DEFINITION)
    heard = play(folder, job)
    assert sorted(heard.lines) == ["0 3 #0 False", "[node 1] 1 3 #1 True", "[node 2] 2 3 #2 True"]
    assert (job["status"], job["container"]["exitCode"]) == ("SUCCEEDED", 0)
    assert job["stoppedAt"] - job["startedAt"] < 30_000


def test_the_overrides_of_nodes_reach_their_containers() -> None:
    told = {"targetNodes": "0:", "containerOverrides": {"environment": [{"name": "RUN", "value": "r-1"}]}}
    request = {"jobName": "n", "nodeOverrides": {"numNodes": 4, "nodePropertyOverrides": [told]}}
    job = new_job(request, Definition("d", ("true",), nodes=2), QUEUE, DEFINITION)
    assert job["nodeProperties"] == {"numNodes": 4, "mainNode": 0}
    assert job["container"]["environment"] == [{"name": "RUN", "value": "r-1"}]
    assert "nodeProperties" not in new_job({"jobName": "n"}, Definition("d", ("true",)), QUEUE, DEFINITION)


def test_a_command_that_does_not_exist_says_so(folder: Folder) -> None:
    job = job_of("", command=("no-such-command",))
    heard = play(folder, job)
    assert job["container"]["exitCode"] == 127
    assert "no-such-command" in heard.lines[0]


def test_too_long_an_attempt_is_ended_and_not_tried_again(folder: Folder) -> None:
    job = job_of("import time; time.sleep(60)", attempts=3, timeout_s=1)
    play(folder, job)
    assert (job["status"], job["statusReason"], len(job["attempts"])) == ("FAILED", TIMED_OUT, 1)


def test_a_job_that_ignores_sigterm_is_killed_with_all_it_started(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "GRACE_S", 0.5)
    code = (
        "import signal, subprocess, sys, time; signal.signal(15, signal.SIG_IGN)\n"
        "print(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid, flush=True); time.sleep(60)"
    )
    job = job_of(code)

    async def act(scheduler: Runner, job: Job) -> None:
        await until_running(job, folder.logs / "jobs" / f"{job['jobId']}.log")
        scheduler.terminate(job, "enough")

    heard = play(folder, job, act)
    assert (job["status"], job["statusReason"], job["container"]["exitCode"]) == ("FAILED", "enough", 137)
    assert identity(int(heard.lines[0])) is None


def test_a_job_may_save_its_work_on_sigterm(folder: Folder) -> None:
    code = (
        "import signal, sys, time\n"
        "def stop(*_): print('saved', flush=True); sys.exit(75)\n"
        "signal.signal(15, stop); print('ready', flush=True); time.sleep(60)"
    )
    job = job_of(code, attempts=5, rules=tuple(RULES))

    async def act(scheduler: Runner, job: Job) -> None:
        await until_running(job, folder.logs / "jobs" / f"{job['jobId']}.log")
        scheduler.terminate(job, "cancelled by a person")

    heard = play(folder, job, act)
    assert heard.lines == ["ready", "saved"]
    assert (job["status"], job["statusReason"]) == ("FAILED", "cancelled by a person")  # not tried again


def test_a_waiting_job_says_why_and_can_be_ended(folder: Folder) -> None:
    first, second = job_of("import time; time.sleep(60)"), job_of("")

    async def act(scheduler: Runner, _: Job) -> None:
        scheduler.submit(second)
        await until_running(first)
        assert second["status"] == "RUNNABLE"
        assert "one at a time" in second["statusReason"]
        scheduler.terminate(second, "not needed")
        scheduler.terminate(first, "seen enough")

    play(folder, first, act)
    assert (second["status"], second["attempts"]) == ("FAILED", [])


def test_a_stopped_stack_puts_the_job_back_without_counting_the_attempt(folder: Folder) -> None:
    job = job_of("import time; print('on', flush=True); time.sleep(60)")

    async def act(scheduler: Runner, job: Job) -> None:
        await until_running(job, folder.logs / "jobs" / f"{job['jobId']}.log")
        await scheduler.stop()

    play(folder, job, act)
    assert (job["status"], job["attempts"]) == ("RUNNABLE", [])
    assert Table(folder.batch / "jobs").waiting()[0]["jobId"] == job["jobId"]


def test_a_killed_server_counts_as_a_lost_host(folder: Folder) -> None:
    lost = job_of("print('again')", attempts=2)
    lost["status"] = "RUNNING"
    Table(folder.batch / "jobs").save(lost)

    async def scene() -> Job:
        table = Table(folder.batch / "jobs")
        scheduler = Runner(folder, table, Heard(), "http://127.0.0.1:1")  # type: ignore[arg-type]
        task = asyncio.create_task(scheduler.run())
        job = table.jobs[lost["jobId"]]
        while job["status"] not in ENDED:
            await asyncio.sleep(0.02)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        return job

    job = asyncio.run(scene())
    assert job["status"] == "SUCCEEDED"
    assert job["attempts"][0]["statusReason"] == HOST_LOST
    assert "exitCode" not in job["attempts"][0]["container"]


def test_no_job_starts_before_the_stack_is_settled(folder: Folder) -> None:
    folder.unsettled.touch()
    job = job_of("")

    async def act(_: Runner, job: Job) -> None:
        await asyncio.sleep(0.6)
        assert job["status"] == "RUNNABLE"
        folder.unsettled.unlink()

    play(folder, job, act)
    assert job["status"] == "SUCCEEDED"


def test_a_mounted_volume_becomes_a_folder_that_is_empty_at_every_attempt(folder: Folder) -> None:
    code = (
        "import os, pathlib, sys; work = pathlib.Path(os.environ['WORK'])\n"
        "print(work.is_absolute(), work.parent.is_dir()); work.mkdir(); sys.exit(1)"
    )
    definition = Definition("d", ("python", "-c", code), {"WORK": "/work/deep"}, attempts=2, mounts=("/work",))
    job = new_job({"jobName": "n"}, definition, QUEUE, DEFINITION)
    heard = play(folder, job)
    assert heard.lines == ["True True", "True True"]
    assert not (folder.scratch / "jobs" / job["jobId"]).exists()


def test_the_environment_holds_no_key(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary")
    monkeypatch.setenv("PERSONAL_TOKEN", "canary")
    heard = play(
        folder,
        job_of("import os; print('canary' in str(os.environ), 'AWS_CONTAINER_AUTHORIZATION_TOKEN' in os.environ)"),
    )
    assert heard.lines == ["False True"]


def test_very_long_lines_and_strange_bytes_are_kept(folder: Folder) -> None:
    heard = play(folder, job_of("import sys; sys.stdout.buffer.write(b'x' * 200_000 + b'\\n\\xff\\n')"))
    assert sum(line.count("x") for line in heard.lines) == 200_000
    assert heard.lines[-1] == "\ufffd"


def test_old_jobs_are_forgotten_and_torn_files_removed(folder: Folder) -> None:
    old = job_of("")
    old.update(status="SUCCEEDED", stoppedAt=1)
    Table(folder.batch / "jobs").save(old)
    (folder.batch / "jobs" / "torn.json").write_text("{")
    assert Table(folder.batch / "jobs").jobs == {}
    assert list((folder.batch / "jobs").glob("*.json")) == []


def test_the_catalogue_survives_the_disk(folder: Folder) -> None:
    made = Catalogue(
        ("q",), (Definition("d", ("a", "b"), {"X": "1"}, {}, 2, ({"action": "EXIT"},), 60, "r", "", ("/w",)),), ("p",)
    )
    save_catalogue(folder, made)
    assert load_catalogue(folder) == made


@pytest.mark.parametrize("how", ["kernel", "watch"])
def test_a_command_dies_with_the_process_that_started_it(tmp_path: Path, how: str) -> None:
    """The parent is killed; the command, tied by the kernel or by the watching launcher, must be gone soon after."""
    import subprocess

    from tidemill.local import launch

    pid_file = tmp_path / "pid"
    command = [
        sys.executable,
        "-c",
        f"import os, time; open({str(pid_file)!r}, 'w').write(str(os.getpid())); time.sleep(60)",
    ]
    code = (
        "import importlib.util, os, subprocess, sys, time\n"
        f"spec = importlib.util.spec_from_file_location('launch', {launch.__file__!r})\n"
        "launch = importlib.util.module_from_spec(spec); spec.loader.exec_module(launch)\n"
        "me = os.getpid()\n"
        "if os.fork() == 0:\n"
        f"    os.setsid(); launch.{'exec_tied' if how == 'kernel' else 'watch'}(me, {command!r}); os._exit(0)\n"
        "time.sleep(60)"
    )
    if how == "kernel" and not sys.platform.startswith("linux"):
        pytest.skip("only Linux has PR_SET_PDEATHSIG")
    parent = subprocess.Popen([sys.executable, "-c", code])
    for _ in range(200):
        if pid_file.exists() and pid_file.read_text():
            break
        time.sleep(0.05)
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    pid = int(pid_file.read_text())
    for _ in range(100):
        if identity(pid) is None:
            return
        time.sleep(0.05)
    os.kill(pid, signal.SIGKILL)
    pytest.fail("the command outlived its parent")
